"""What scores are keyed by and passes read: a data set of n samples."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from puma_fast.batches import moved
from puma_fast.data.kept import Kept
from puma_fast.data.names import look_up, on_the_host, positions_by_name
from puma_fast.data.reading import Reader
from puma_fast.data.repeatable import require_repeatable
from puma_fast.data.source import Source
from puma_fast.distributed import Ranks
from puma_fast.marks import mark
from puma_fast.numeric.arrays import as_array, as_count
from puma_fast.numeric.ids import positions
from puma_fast.progress import bar

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager
    from typing import Literal

    from numpy.typing import ArrayLike, NDArray

BATCH_SIZE = 256
"""Samples per batch where neither the user nor a DataLoader says otherwise."""

LARGEST_BATCH = 4096
"""Where `batch_size="auto"` begins on a device with a memory of its own."""


class Samples:
    """A data set read by position.

    Parameters
    ----------
    data : tuple or mapping of tensors or arrays, Dataset or DataLoader
        Tensors share their first dimension n. Of a DataLoader the dataset, `collate_fn`, batch size
        and workers are taken; its order is not: sample j is position j of the dataset.
    name : str
        The argument's name, for messages.
    ids : array_like of shape (n,), optional
        Other names for the samples than their positions; no two alike. An `IterableDataset` needs
        them: they also say how long it is.
    batch_size : int or "auto", optional
        Samples per batch; by default the DataLoader's, else 256. "auto": as many as fit into the memory of
        `device`, found by backing off; 256 on the CPU, whose memory gives no such answer.
    device : torch.device or str, default "cpu"
        Where batches are moved.
    progress : bool, optional
        Show a bar for passes of over two seconds; by default only on a terminal.
    ranks : Ranks, optional
        Who shares the passes over these samples; by default nobody.

    Raises
    ------
    TypeError
        A one-shot iterator, an IterableDataset without `ids`, or a kind that is not known.
    ValueError
        No samples, tensors of different lengths, random items, `ids` that do not fit, or a DataLoader
        that draws from a part of its dataset or does not batch.
    """

    def __init__(
        self,
        data: Any,
        *,
        name: str = "data",
        ids: ArrayLike | None = None,
        batch_size: int | Literal["auto"] | None = None,
        device: torch.device | str = "cpu",
        progress: bool | None = None,
        ranks: Ranks | None = None,
    ) -> None:
        self.name = name
        self.ranks = ranks or Ranks()
        self.device = torch.device(device)
        self.progress = progress
        self.kept = Kept()
        self._backs_off = isinstance(batch_size, str) and batch_size == "auto"
        if self._backs_off:
            batch_size = BATCH_SIZE if self.device.type == "cpu" else LARGEST_BATCH
        if batch_size is not None:
            batch_size = as_count("batch_size", batch_size, least=1)
        self._source = Source.of(name, data, has_ids=ids is not None)
        self.batch_size: int = batch_size or self._source.batch_size or BATCH_SIZE
        names = None if ids is None else as_array("ids", on_the_host(ids))
        self.is_stream = self._source.is_stream
        self.n = names.size if self.is_stream and names is not None else self._source.length(name)
        self.ranks.require_equal(f"the number of samples in {name}", self.n, "give every rank the whole")
        if self.n == 0:
            msg = f"{name} holds no samples; give at least one"
            raise ValueError(msg)
        self._by_name = None if names is None else positions_by_name(names, self.n)
        self._reader = Reader(self._source, self.n, name, self.kept)
        if self._source.columns is None:
            require_repeatable(self._reader, self.batch_size, progress)
        self._mark = self._marked()

    def __len__(self) -> int:
        """Give the number of samples."""
        return self.n

    @property
    def names(self) -> list[Any] | None:
        """The samples' names in order; None where they go by position."""
        return None if self._by_name is None else list(self._by_name)

    def positions(self, ids: ArrayLike, *, name: str = "ids") -> NDArray[np.int64]:
        """Find the positions of the samples called `ids`: by position unless the data was given names.

        `puma_fast.numeric.ids.positions` says what is accepted and what is refused.
        """
        named = None if self._by_name is None else partial(look_up, self._by_name, name, self.name)
        return positions(on_the_host(ids), self.n, name=name, data=self.name, look_up=named)

    def batches(
        self,
        positions: NDArray[np.int64] | None = None,
        *,
        at_least: int = 1,
        description: str = "pass",
    ) -> Iterator[tuple[NDArray[np.int64], Any]]:
        """Read the samples in order, or those at `positions` in the order given.

        Parameters
        ----------
        positions : ndarray of shape (m,), int64, optional
            By default all n.
        at_least : int, default 1
            Cut the pass into so many batches or more, where there are so many samples.
        description : str
            What the progress bar says.

        Yields
        ------
        positions : ndarray of shape (B,), int64
            Where the batch's samples stand.
        batch
            As the collate function made it, on the device.
        """
        where = np.arange(self.n) if positions is None else positions
        size = max(1, min(self.batch_size, -(-len(where) // at_least)))
        chunks = [where[i : i + size] for i in range(0, len(where), size)]
        batches = zip(chunks, self._reader.batches(chunks), strict=True)
        with self.bar(description, total=len(chunks), unit="batch") as shown:
            for chunk, batch in batches:
                yield chunk, moved(batch, self.device)
                shown.update()

    def back_off(self, tried: int) -> bool:
        """Make batches smaller than the `tried` samples that did not fit; False where that is not to be."""
        if not self._backs_off or tried == 1:
            return False
        self.batch_size = tried // 2
        self.kept.clear()
        torch.cuda.empty_cache()
        return True

    def keeping(self) -> AbstractContextManager[None]:
        """Read a batch of the same samples once, as far as memory is granted, until this is left."""
        return self.kept.open()

    def bar(self, description: str, *, unit: str, total: int | None = None) -> AbstractContextManager[Any]:
        """Make a progress bar that is seen once the work takes over two seconds."""
        return bar(description, unit=unit, total=total, progress=self.progress)

    def scattered(self) -> NDArray[np.int64] | None:
        """Give all positions in one random order, always the same; None for a stream, which has its own."""
        return None if self.is_stream else np.random.default_rng(0).permutation(self.n)

    def first(self, count: int) -> Any:
        """Read the first `count` samples as one batch, to look at before long work."""
        chunk = np.arange(min(count, self.n))
        return moved(next(self._reader.here([chunk])), self.device)

    def changed(self) -> bool:
        """Tell whether tensors or arrays given as data were written since the last time this was asked.

        What a Dataset of the user's makes its items of cannot be seen; of a TensorDataset it can.
        """
        before, self._mark = self._mark, self._marked()
        return before != self._mark

    def _marked(self) -> tuple[object, ...]:
        return tuple(map(mark, self._source.tensors()))
