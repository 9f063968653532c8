"""Samples by position: whatever the user's data comes in, it is read in one order, again and again.

Scores are keyed by sample and a curvature product reads every sample once, so the data must give the
same sample at the same position each time. What cannot promise that (one-shot iterators, random
transforms) is refused by name before any long work.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    Dataset,
    DistributedSampler,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
)
from torch.utils.data import default_collate as torch_collate

from puma_fast.batches import IncomparableError, as_tensor, equal, map_leaves, map_tensors, moved
from puma_fast.distributed import Ranks
from puma_fast.kept import Kept
from puma_fast.marks import mark
from puma_fast.numeric.arrays import as_array, as_count
from puma_fast.numeric.ids import positions
from puma_fast.progress import bar
from puma_fast.restored import unchanged_randomness

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from typing import Literal

    from numpy.typing import ArrayLike, NDArray

BATCH_SIZE = 256
"""Samples per batch where neither the user nor a DataLoader says otherwise."""

LARGEST_BATCH = 4096
"""Where `batch_size="auto"` begins on a device with a memory of its own."""

_PROBES = 16
"""Items read twice to find random transforms: a fair coin per item escapes once in 65536 times."""


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
        self._collate: Callable[[list[Any]], Any] = torch_collate
        self._workers: dict[str, Any] = {}
        self.progress = progress
        self.kept = Kept()
        self._backs_off = isinstance(batch_size, str) and batch_size == "auto"
        if self._backs_off:
            batch_size = BATCH_SIZE if self.device.type == "cpu" else LARGEST_BATCH
        if batch_size is not None:
            batch_size = as_count("batch_size", batch_size, least=1)
        if isinstance(data, DataLoader):
            loaders_own = _refuse_partial(name, data)
            self._collate = data.collate_fn
            if data.num_workers:
                self._workers = {
                    "num_workers": data.num_workers,
                    "worker_init_fn": data.worker_init_fn,
                    "multiprocessing_context": data.multiprocessing_context,
                }
            batch_size = batch_size or loaders_own
            data = data.dataset
        self.batch_size: int = batch_size or BATCH_SIZE
        self._data = _accepted(name, data, has_ids=ids is not None)
        names = None if ids is None else as_array("ids", _on_the_host(ids))
        self.is_stream = isinstance(self._data, IterableDataset)
        self._columns = _columns(self._data)
        length = names.size if self.is_stream and names is not None else None
        self.n = _length(name, self._columns, self._data) if length is None else length
        self.ranks.require_equal(f"the number of samples in {name}", self.n, "give every rank the whole")
        if self.n == 0:
            msg = f"{name} holds no samples; give at least one"
            raise ValueError(msg)
        self._positions = None if names is None else _positions(names, self.n)
        if self._columns is None:
            self._check_repeatable()
        self._mark = self._marked()

    def __len__(self) -> int:
        """Give the number of samples."""
        return self.n

    @property
    def names(self) -> list[Any] | None:
        """The samples' names in order; None where they go by position."""
        return None if self._positions is None else list(self._positions)

    def positions(self, ids: ArrayLike, *, name: str = "ids") -> NDArray[np.int64]:
        """Find the positions of the samples called `ids`: by position unless the data was given names.

        `puma_fast.numeric.ids.positions` says what is accepted and what is refused.
        """
        names = self._positions
        look_up = None if names is None else partial(_look_up, names, name, self.name)
        return positions(_on_the_host(ids), self.n, name=name, data=self.name, look_up=look_up)

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
        batches = zip(chunks, self._read(chunks), strict=True)
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
        return moved(self._read_here(np.arange(min(count, self.n))), self.device)

    def changed(self) -> bool:
        """Tell whether tensors or arrays given as data were written since the last time this was asked.

        What a Dataset of the user's makes its items of cannot be seen; of a TensorDataset it can.
        """
        before, self._mark = self._mark, self._marked()
        return before != self._mark

    def _marked(self) -> tuple[object, ...]:
        tensors = getattr(self._data, "tensors", ()) if self._columns is None else self._columns
        return tuple(mark(each) for each in tensors if isinstance(each, Tensor))

    def _read_here(self, where: NDArray[np.int64]) -> Any:
        """Read one batch in this process: workers are slow to start, and are seeded alike every time."""
        return next(self._read([where], workers={}))

    def _read(
        self,
        chunks: list[NDArray[np.int64]],
        workers: Mapping[str, Any] | None = None,
    ) -> Iterator[Any]:
        if self._columns is not None:
            for chunk in chunks:
                # Consecutive positions are a slice: no copy.
                run = len(chunk) == chunk[-1] - chunk[0] + 1 and bool((np.diff(chunk) == 1).all())
                rows = slice(int(chunk[0]), int(chunk[-1]) + 1) if run else torch.from_numpy(chunk)

                def take(tensor: Tensor, rows: slice | Tensor = rows) -> Tensor:
                    return tensor[rows]

                yield map_tensors(take, self._data)
            return
        known = [self.kept.get(chunk) for chunk in chunks]
        left = [chunk for chunk, batch in zip(chunks, known, strict=True) if batch is None]
        fresh = self._loaded(left, self._workers if workers is None else workers)
        for chunk, batch in zip(chunks, known, strict=True):
            if batch is not None:
                yield batch
                continue
            read = next(fresh)
            self.kept.put(chunk, read)
            yield read
        # A stream looks at its end whether it is one.
        next(fresh, None)

    def _loaded(self, chunks: list[NDArray[np.int64]], workers: Mapping[str, Any]) -> Iterator[Any]:
        if not chunks:
            return
        if self.is_stream:
            yield from self._stream(chunks)
        else:
            loader = DataLoader(
                self._data,
                batch_sampler=[chunk.tolist() for chunk in chunks],
                collate_fn=self._collate,
                **workers,
                # Without one of its own, every iteration draws a seed from the user's generator.
                generator=torch.Generator(),
            )
            # The seed is drawn on torch's default device, and the generator's is the CPU.
            with torch.device("cpu"):
                batches = iter(loader)
            yield from batches

    def _stream(self, chunks: list[NDArray[np.int64]]) -> Iterator[Any]:
        """Read an iterable set from its start; positions may come in any order within a pass."""
        wanted = {int(position): None for chunk in chunks for position in chunk}
        kept: dict[int, Any] = {}
        ready = 0
        for position, item in enumerate(self._data):
            if position == self.n:
                msg = f"{self.name} gave more samples than its {self.n} ids; give one id per sample"
                raise ValueError(msg)
            if position in wanted:
                kept[position] = item
            while ready < len(chunks) and all(int(p) in kept for p in chunks[ready]):
                yield self._collate([kept.pop(int(p)) for p in chunks[ready]])
                ready += 1
            # Whoever has read the last sample looks whether it is the last.
            if ready == len(chunks) and position < self.n - 1:
                return
        if ready == len(chunks):
            return
        msg = (
            f"{self.name} gave fewer samples than its {self.n} ids; give one id per sample, and let its "
            "__iter__ begin anew each time"
        )
        raise ValueError(msg)

    def _check_repeatable(self) -> None:
        probes = min(self.n, _PROBES)
        # A stream is probed at its start, so that the check does not read all of it.
        last = probes - 1 if self.is_stream else self.n - 1
        where = np.linspace(0, last, probes).astype(np.int64)
        look = self.bar(f"two readings of {self.name}", unit="reading", total=2)
        with unchanged_randomness(), look as shown:
            try:
                once = self._read_here(where)
                shown.update()
                again = self._read_here(where)
                shown.update()
            except Exception as error:
                error.add_note(
                    f"Raised on reading {probes} samples of {self.name} into one batch: each of them must be "
                    "tensors, arrays or numbers of the same shapes, or pass a DataLoader with a collate_fn"
                )
                raise
            try:
                same = equal(once, again)
            except IncomparableError as error:
                msg = (
                    f"{self.name} gives batches that hold a {error}, so that two readings of them cannot be "
                    "compared, and random transforms would go unseen; give tensors, arrays, dataclasses or "
                    "objects that can be pickled"
                )
                raise TypeError(msg) from None
        if not same:
            why = ", or an __iter__ that goes on where the last one stopped" if self.is_stream else ""
            msg = (
                f"{self.name} reads differently the second time: random transforms or a shuffled order{why}. "
                "Pass the data without augmentation, so that a score belongs to a sample"
            )
            raise ValueError(msg)


def _on_the_host(ids: Any) -> Any:
    """Fetch ids that are a tensor from a device that holds values; they are few."""
    return ids.cpu() if isinstance(ids, Tensor) and not ids.is_meta else ids


def _positions(ids: NDArray[Any], n: int) -> dict[Any, int]:
    """Map the samples' names to their positions."""
    if ids.shape != (n,):
        msg = f"ids must have one name for each of the {n} samples, got shape {ids.shape}"
        raise ValueError(msg)
    positions = {each: position for position, each in enumerate(ids.tolist())}
    if len(positions) < n:
        msg = "ids must be unique: two samples share a name; pass None to use positions"
        raise ValueError(msg)
    return positions


def _look_up(names: Mapping[Any, int], name: str, data: str, wanted: NDArray[Any]) -> NDArray[np.int64]:
    missing = [each for each in wanted.tolist() if each not in names]
    if missing:
        msg = f"{name} holds {missing[0]!r}, which is not among the ids of {data}"
        raise ValueError(msg)
    return np.array([names[each] for each in wanted.tolist()], dtype=np.int64)


def _columns(data: Any) -> list[Any] | None:
    """Give the arrays of data that comes as columns, nested or not; None where it does not.

    A tuple of mappings or of tuples alone may be one sample each, so it is no columns.
    """
    if isinstance(data, tuple) and not any(map(_is_array, data)):
        return None
    leaves: list[Any] = []
    if isinstance(data, (tuple, Mapping)):
        map_leaves(leaves.append, data, is_leaf=_is_array)
    return leaves if leaves and all(map(_is_array, leaves)) else None


def _accepted(name: str, data: Any, *, has_ids: bool) -> Any:
    """Bring the data to one of three forms (tensors, map-style, iterable), or refuse its kind."""
    if _columns(data) is not None:
        # A named tuple stays one, any mapping becomes a dict.
        plain = dict(data) if isinstance(data, Mapping) else data
        return map_leaves(as_tensor, plain, is_leaf=_is_array)
    if isinstance(data, tuple) and any(map(_is_array, data)):
        odd = next(item for item in data if not _is_array(item))
        msg = (
            f"{name} is a tuple of arrays and a {type(odd).__name__}, which may be columns or single "
            f"samples: make every item a tensor or array, or pass list({name})"
        )
        raise TypeError(msg)
    if isinstance(data, list) and data and all(map(_is_array, data)):
        msg = (
            f"{name} is a list of tensors, which may be inputs and targets or one sample each: pass "
            f"tuple({name}) for the one, a Dataset for the other"
        )
        raise TypeError(msg)
    if isinstance(data, IterableDataset):
        if has_ids:
            return data
        named = "pass ids= with one name per sample, in its order, or " if name == "data" else "pass "
        msg = f"{name} is an IterableDataset, whose samples have no positions: {named}a map-style Dataset"
        raise TypeError(msg)
    if hasattr(data, "__next__"):
        msg = f"{name} is an iterator that can be read only once; pass the Dataset, a DataLoader or tensors"
        raise TypeError(msg)
    if isinstance(data, Dataset) or (
        hasattr(data, "__getitem__")
        and hasattr(data, "__len__")
        and not isinstance(data, (str, bytes, Tensor, np.ndarray, Mapping))
    ):
        return data
    msg = (
        f"{name} must be a tuple or mapping of tensors, a map-style Dataset or a DataLoader, "
        f"got {type(data).__name__}"
    )
    raise TypeError(msg)


def _is_array(item: Any) -> bool:
    return hasattr(item, "__array__")


def _refuse_partial(name: str, loader: DataLoader[Any]) -> int | None:
    """Refuse a DataLoader that does not give each sample of its dataset once; give its batch size."""
    if isinstance(loader.dataset, IterableDataset):
        return loader.batch_size
    if loader.batch_sampler is None:
        msg = (
            f"{name} is a DataLoader with batch_size=None, whose items are batches already; "
            "pass a Dataset of single samples, or tensors"
        )
        raise ValueError(msg)
    batched = loader.batch_sampler
    sampler = batched.sampler if isinstance(batched, BatchSampler) else batched
    n = len(loader.dataset)  # type: ignore[arg-type]
    whole = (
        (isinstance(sampler, SequentialSampler) and len(sampler) == n)
        or (isinstance(sampler, RandomSampler) and not sampler.replacement and len(sampler) == n)
        or (isinstance(sampler, DistributedSampler) and len(sampler.dataset) == n)  # type: ignore[arg-type]
    )
    if not whole:
        msg = (
            f"{name} is a DataLoader that draws by a {type(sampler).__name__}, which need not give each "
            "sample of its dataset once; pass the dataset itself, or for a part of it "
            "torch.utils.data.Subset(dataset, indices), so that positions count what was trained on"
        )
        raise ValueError(msg)
    return batched.batch_size if isinstance(batched, BatchSampler) else None


def _length(name: str, columns: list[Any] | None, data: Any) -> int:
    if columns is None:
        return len(data)
    lengths = [len(item) if item.ndim else 0 for item in columns]
    if len(set(lengths)) > 1:
        msg = f"{name} holds tensors of different lengths {lengths}; each needs one row per sample"
        raise ValueError(msg)
    return lengths[0]
