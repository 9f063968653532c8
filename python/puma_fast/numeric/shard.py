"""One data set cut over several processes, as the numeric functions see it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from puma_fast.numeric.arrays import as_count

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Shard:
    """A process's place among the shards of a data set, for the ``shard=`` of numeric functions.

    Shards hold consecutive rows, in the order of their index. Every one calls the same function with
    its own rows and the same settings, and each gets what one call on all rows would have given it:
    the same bits, however many shards there are and wherever the cuts lie.

    Parameters
    ----------
    index : int
        This shard's number, from 0.
    count : int
        How many shards there are.
    reduce : callable
        Takes an int64 array of shape (m,), returns its elementwise sum over all shards, wrapping
        around like NumPy's: ``torch.distributed.all_reduce`` with SUM, or mpi4py's ``Allreduce``. What is
        no such sum (a mean, or this shard's own values) is refused, by a 1 that every shard puts at the end.
        Its exceptions pass through to the caller.

    Examples
    --------
    >>> import puma_fast as pf
    >>> alone = pf.Shard(index=0, count=1, reduce=lambda values: values)
    >>> alone.count
    1
    """

    index: int
    count: int
    reduce: Callable[[NDArray[np.int64]], NDArray[np.int64]]

    def __post_init__(self) -> None:
        """Refuse a place that does not exist."""
        count = as_count("count", self.count, least=1)
        if as_count("index", self.index) >= count:
            msg = f"index must lie in 0 ... count - 1, got index={self.index!r} and count={self.count!r}"
            raise ValueError(msg)
        if not callable(self.reduce):
            msg = f"reduce must be a function of an int64 array, got {type(self.reduce).__name__}"
            raise TypeError(msg)


def as_shard(shard: Any) -> Shard | None:
    """Give `shard` as the core takes it: None where there are no others."""
    if shard is not None and not isinstance(shard, Shard):
        msg = f"shard must be a puma_fast.Shard, or left out, got {type(shard).__name__}"
        raise TypeError(msg)
    return shard
