"""Batches of a source, at any positions in any order, the same ones each time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.utils.data import DataLoader

from puma_fast.batches import map_tensors

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from puma_fast.data.kept import Kept
    from puma_fast.data.source import Source


class Reader:
    """Reads batches of `n` samples of a source; what `kept` holds is not read again."""

    def __init__(self, source: Source, n: int, name: str, kept: Kept) -> None:
        self.source = source
        self.n = n
        self.name = name
        self.kept = kept

    def here(self, chunks: list[NDArray[np.int64]]) -> Iterator[Any]:
        """Read batches in this process: workers are slow to start, and are seeded alike every time."""
        return self._batches(chunks, workers={})

    def batches(self, chunks: list[NDArray[np.int64]]) -> Iterator[Any]:
        """Read the batch at the positions of each chunk."""
        return self._batches(chunks, self.source.workers)

    def _batches(self, chunks: list[NDArray[np.int64]], workers: dict[str, Any]) -> Iterator[Any]:
        if self.source.columns is not None:
            yield from map(self._rows, chunks)
            return
        known = [self.kept.get(chunk) for chunk in chunks]
        left = [chunk for chunk, batch in zip(chunks, known, strict=True) if batch is None]
        fresh = self._loaded(left, workers)
        for chunk, batch in zip(chunks, known, strict=True):
            if batch is not None:
                yield batch
                continue
            read = next(fresh)
            self.kept.put(chunk, read)
            yield read
        # A stream looks at its end whether it is one.
        next(fresh, None)

    def _rows(self, chunk: NDArray[np.int64]) -> Any:
        # Consecutive positions are a slice: no copy.
        run = len(chunk) == chunk[-1] - chunk[0] + 1 and bool((np.diff(chunk) == 1).all())
        rows = slice(int(chunk[0]), int(chunk[-1]) + 1) if run else torch.from_numpy(chunk)
        return map_tensors(lambda tensor: tensor[rows], self.source.data)

    def _loaded(self, chunks: list[NDArray[np.int64]], workers: dict[str, Any]) -> Iterator[Any]:
        if not chunks:
            return
        if self.source.is_stream:
            yield from self._stream(chunks)
        else:
            loader = DataLoader(
                self.source.data,
                batch_sampler=[chunk.tolist() for chunk in chunks],
                collate_fn=self.source.collate,
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
        for position, item in enumerate(self.source.data):
            if position == self.n:
                msg = f"{self.name} gave more samples than its {self.n} ids; give one id per sample"
                raise ValueError(msg)
            if position in wanted:
                kept[position] = item
            while ready < len(chunks) and all(int(p) in kept for p in chunks[ready]):
                yield self.source.collate([kept.pop(int(p)) for p in chunks[ready]])
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
