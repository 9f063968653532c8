"""Batches, and what was made of them, kept for the next pass of the same call.

A curvature solve reads the data once per product; a Dataset that decodes its items from files would spend
most of the time on reading the same again, and a model on evaluating them. What is kept lasts for one call of
the user's, since nobody can see whether a Dataset was written between two.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from puma_fast.batches import PLAIN, can_move, map_leaves, map_tensors

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    from numpy.typing import NDArray

MEMORY = 2**30
"""Bytes kept of one data set, at most, and as many of what was made of it; what comes later is read or made
again each time."""


class Kept:
    """Batches by the positions of their samples, and what one maker at a time made of them."""

    def __init__(self) -> None:
        self._is_open = False
        self.clear()

    @contextmanager
    def open(self) -> Iterator[None]:
        """Keep batches until the outermost of these is left."""
        outermost, self._is_open = not self._is_open, True
        try:
            yield
        finally:
            if outermost:
                self._is_open = False
                self.clear()

    def clear(self) -> None:
        """Let go of everything."""
        self._batches: dict[bytes, Any] = {}
        self._bytes = 0
        self._maker: object = None
        self._made: dict[bytes, Any] = {}
        self._made_bytes = 0

    def room(self, *, leaving: float = 0.0) -> int:
        """Give the bytes that may be made on top of what is there, `leaving` a part of all to others."""
        return max(0, int(MEMORY * (1.0 - leaving)) - self._made_bytes) if self._is_open else 0

    def made(self, maker: object, positions: NDArray[np.int64]) -> Any:
        """Give what `maker` made of the batch at these positions, None where it is not there."""
        return self._made.get(positions.tobytes()) if self._maker == maker else None

    def keep(self, maker: object, positions: NDArray[np.int64], made: Any, nbytes: int) -> None:
        """Keep what `maker` made of a batch, where there is room; what another one made is let go."""
        if self._maker != maker:
            self._maker, self._made, self._made_bytes = maker, {}, 0
        if nbytes <= self.room():
            self._made[positions.tobytes()] = made
            self._made_bytes += nbytes

    def get(self, positions: NDArray[np.int64]) -> Any:
        """Give the batch of the samples at these positions, None where it is not there."""
        return self._batches.get(positions.tobytes())

    def put(self, positions: NDArray[np.int64], batch: Any) -> None:
        """Keep a batch where there is room, if it is tensors and numbers in containers that are copied.

        Containers are copied as a batch is moved, and torch lets no model write to a tensor that was handed
        in while it differentiates; an object of the user's could change unseen.
        """
        if not self._is_open:
            return
        leaves: list[Any] = []
        map_leaves(leaves.append, batch, is_leaf=can_move)
        tensors = [leaf for leaf in leaves if isinstance(leaf, Tensor) and leaf.layout == torch.strided]
        size = sum(each.nbytes for each in tensors)
        known = len(tensors) + sum(isinstance(leaf, PLAIN) for leaf in leaves) == len(leaves)
        if known and tensors and self._bytes + size <= MEMORY:
            self._bytes += size
            # What a loader's worker made lies in shared memory, of which each piece holds a file open; and
            # of a view all that it looks into would be kept.
            self._batches[positions.tobytes()] = map_tensors(torch.clone, batch)
