"""The first scores of the order, and all of them in order."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from puma_fast import _core
from puma_fast.numeric.arrays import as_count, as_flag, as_scores, as_threads, is_mapped
from puma_fast.numeric.shard import as_shard
from puma_fast.progress import reporting

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray

    from puma_fast.numeric.shard import Shard
    from puma_fast.progress import Progress

    Nan = Literal["raise", "last", "first"]
    """What becomes of NaN: refused, or put after or before every number."""


def top_k(
    scores: ArrayLike,
    k: int,
    *,
    largest: bool = True,
    sorted: bool = True,
    nan: Nan = "raise",
    shard: Shard | None = None,
    n_threads: int | None = None,
    progress: Progress = None,
) -> NDArray[np.int64]:
    """Give the positions of the `k` largest scores, best first.

    Parameters
    ----------
    scores : array_like, shape (n,)
        One score per sample; infinities are numbers like any other. float32 and float64 are read in place
        where they are contiguous, anything else is copied once.
    k : int
        How many, from 0 to n.
    largest : bool, default True
        False: the smallest; `bottom_k` is the name for it.
    sorted : bool, default True
        False: in the order of their positions, which for a large `k` takes a fraction of the time.
    nan : {"raise", "last", "first"}, default "raise"
        What becomes of NaN: refused, or put after every number (chosen only when the numbers run out) or
        before every number, whatever `largest` is.
    shard : Shard, optional
        This process's place among several that hold consecutive rows; every shard gets the positions
        in the whole of the best `k` of all, or without `sorted` of those among its own rows.
    n_threads : int, optional
        Threads; by default ``RAYON_NUM_THREADS``, else all that this process may use. The result does not
        depend on it.
    progress : bool or callable, optional
        As in :func:`puma_fast.solve_weights`; what is counted is ``"sample"``, over all passes.

    Returns
    -------
    ndarray, shape (k,), int64
        Positions; equal scores in the order of their positions.

    Raises
    ------
    ValueError
        `k` below 0 or above n; a NaN with ``nan="raise"``; scores that are not one-dimensional, or integers
        of 2**53 or more, which float64 would merge.
    TypeError
        Scores that are not real numbers or not on the CPU; a `k` that is no integer.

    See Also
    --------
    argsort : All positions in order.

    Notes
    -----
    A sample of the scores gives a bound that few but the best k pass, so the scores are read once, or
    twice where k is beyond n/64. In a mapped file and between shards histograms of the scores' leading
    bits find the same cut in three reads. `numpy.argpartition` with a stable order costs a full sort.

    Examples
    --------
    >>> import puma_fast as pf
    >>> pf.top_k([0.1, 0.9, 0.5, 0.9], 3)
    array([1, 3, 2])
    >>> pf.top_k([0.1, float("nan"), 0.5], 2, largest=False, nan="last")
    array([0, 2])
    """
    values = as_scores("scores", scores)
    count, threads = as_count("k", k), as_threads(n_threads)
    first, ranked = as_flag("largest", largest), as_flag("sorted", sorted)
    shard, mapped = as_shard(shard), is_mapped(values)
    with reporting("selecting", progress, shard) as report:
        return _core.top_k(values, count, first, nan, ranked, mapped, shard, report, threads)


def bottom_k(
    scores: ArrayLike,
    k: int,
    *,
    sorted: bool = True,
    nan: Nan = "raise",
    shard: Shard | None = None,
    n_threads: int | None = None,
    progress: Progress = None,
) -> NDArray[np.int64]:
    """Give the positions of the `k` smallest scores, smallest first: `top_k` with ``largest=False``.

    Parameters
    ----------
    scores : array_like, shape (n,)
        One score per sample.
    k : int
        How many, from 0 to n.
    sorted, nan, shard, n_threads, progress
        As for `top_k`.

    Returns
    -------
    ndarray, shape (k,), int64
        Positions; equal scores in the order of their positions.

    Raises
    ------
    ValueError, TypeError
        As for `top_k`.

    See Also
    --------
    suspects : Bottom-k of the influence without top-k of the confidence, PUMA's Algorithm 2.

    Examples
    --------
    >>> import puma_fast as pf
    >>> pf.bottom_k([0.1, -0.9, 0.5], 2)
    array([1, 0])
    """
    return top_k(
        scores,
        k,
        largest=False,
        sorted=sorted,
        nan=nan,
        shard=shard,
        n_threads=n_threads,
        progress=progress,
    )


def argsort(
    scores: ArrayLike,
    *,
    descending: bool = False,
    nan: Nan = "raise",
    n_threads: int | None = None,
    progress: Progress = None,
) -> NDArray[np.int64]:
    """Give the positions of all scores in order; a stable sort in both directions.

    Parameters
    ----------
    scores : array_like, shape (n,)
        One score per sample; infinities are numbers like any other. float32 and float64 are read in place
        where they are contiguous, anything else is copied once.
    descending : bool, default False
        The largest first. Equal scores keep their order here too, so this is not the ascending order read
        backwards.
    nan : {"raise", "last", "first"}, default "raise"
        What becomes of NaN: refused, or put after or before every number, in both directions.
    n_threads : int, optional
        Threads; by default ``RAYON_NUM_THREADS``, else all that this process may use. The result does not
        depend on it.
    progress : bool or callable, optional
        As in :func:`puma_fast.solve_weights`; what is counted is ``"sample"``, over all passes.

    Returns
    -------
    ndarray, shape (n,), int64
        Positions; ``scores[result]`` is sorted.

    Raises
    ------
    ValueError
        A NaN with ``nan="raise"``; scores that are not one-dimensional, or integers of 2**53 or more.
    TypeError
        Scores that are not real numbers or not on the CPU.

    See Also
    --------
    top_k : The first k alone, at the cost of one pass.

    Examples
    --------
    >>> import puma_fast as pf
    >>> pf.argsort([0.5, 0.1, 0.5])
    array([1, 0, 2])
    >>> pf.argsort([0.5, 0.1, 0.5], descending=True)
    array([0, 2, 1])
    """
    values = as_scores("scores", scores)
    largest, threads = as_flag("descending", descending), as_threads(n_threads)
    with reporting("sorting", progress) as report:
        return _core.argsort(values, largest, nan, report, threads)
