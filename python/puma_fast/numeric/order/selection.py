"""Samples that pass a test of their scores: within bounds, or among one score's first but not another's."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

from puma_fast import _core
from puma_fast.numeric.arrays import as_count, as_number, as_scores, as_threads, is_mapped
from puma_fast.numeric.shard import as_shard
from puma_fast.progress import reporting

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray

    from puma_fast.numeric.order.ranking import Nan
    from puma_fast.numeric.shard import Shard
    from puma_fast.progress import Progress


def select_scores(
    scores: ArrayLike,
    *,
    at_least: float = -inf,
    at_most: float = inf,
    nan: Nan = "raise",
    shard: Shard | None = None,
    n_threads: int | None = None,
    progress: Progress = None,
) -> NDArray[np.int64]:
    """Give the positions of the scores within bounds, ascending.

    Parameters
    ----------
    scores : array_like, shape (n,)
        One score per sample; infinities are numbers like any other.
    at_least, at_most : float, default -inf and inf
        The bounds, which belong to what is selected. For float32 scores they are rounded to float32, as in
        NumPy's comparisons.
    nan : {"raise", "last", "first"}, default "raise"
        What becomes of NaN: refused, or last (beyond every bound, not selected), or first (selected).
    shard : Shard, optional
        This process's place among several that hold consecutive rows; each gets what is selected of its
        own rows, as positions in the whole.
    n_threads : int, optional
        Threads; by default ``RAYON_NUM_THREADS``, else all that this process may use.
    progress : bool or callable, optional
        As in :func:`puma_fast.solve_weights`; what is counted is ``"sample"``, over all passes.

    Returns
    -------
    ndarray, shape (m,), int64
        Positions.

    Raises
    ------
    ValueError
        A bound that is NaN; a NaN among the scores with ``nan="raise"``; scores that are not
        one-dimensional.
    TypeError
        Bounds or scores that are not real numbers; scores that are not on the CPU.

    Examples
    --------
    >>> import puma_fast as pf
    >>> pf.select_scores([0.2, 0.9, 0.5], at_least=0.5)
    array([1, 2])
    """
    values = as_scores("scores", scores)
    low = as_number("at_least", at_least, infinite=True)
    high = as_number("at_most", at_most, infinite=True)
    shard, threads = as_shard(shard), as_threads(n_threads)
    with reporting("selecting", progress, shard) as report:
        return _core.select(values, low, high, nan, shard, report, threads)


def suspects(
    influence: ArrayLike,
    confidence: ArrayLike,
    k: int,
    *,
    k_confident: int | None = None,
    nan: Nan = "raise",
    shard: Shard | None = None,
    n_threads: int | None = None,
    progress: Progress = None,
) -> NDArray[np.int64]:
    """Give the samples that hurt most, but for those of which the model is surest.

    Parameters
    ----------
    influence : array_like, shape (n,)
        What more of the sample does for the criterion: the lowest hurt most.
    confidence : array_like, shape (n,)
        How sure the model is of the sample's label.
    k : int
        How many of the lowest influences are looked at, from 0 to n.
    k_confident : int, optional
        How many of the highest confidences are left out, from 0 to n; by default `k`.
    nan : {"raise", "last", "first"}, default "raise"
        What becomes of NaN: refused, or the last or the first to be looked at and to be left out.
    shard : Shard, optional
        This process's place among several that hold consecutive rows; each gets the suspects among its own
        rows, as positions in the whole.
    n_threads : int, optional
        Threads; by default ``RAYON_NUM_THREADS``, else all that this process may use.
    progress : bool or callable, optional
        As in :func:`puma_fast.solve_weights`; what is counted is ``"sample"``, over all passes.

    Returns
    -------
    ndarray, shape (m,), int64
        Positions, ascending, at most `k`: what ``difference(bottom_k(influence, k), top_k(confidence,
        k_confident))`` gives, without writing either selection down.

    Raises
    ------
    ValueError
        A number of samples below 0 or above n; a NaN with ``nan="raise"``; scores that are not
        one-dimensional or not equally many.
    TypeError
        Scores that are not real numbers or not on the CPU; a number of samples that is no integer.

    See Also
    --------
    bottom_k, top_k : The two selections.
    difference : What one selection has that another has not.

    Notes
    -----
    The filter of Algorithm 2 of [1]_, which looks for mislabelled samples: those are wrong with little
    confidence. One pass over each array finds its cut; whoever lies within the first is held against the
    second.

    References
    ----------
    .. [1] Wu, Hashemi, Srinivasa: "PUMA: Performance unchanged model augmentation for training data
       removal", AAAI 2022.

    Examples
    --------
    >>> import puma_fast as pf
    >>> pf.suspects([-3.0, -2.0, 0.5, 1.0], [0.99, 0.3, 0.5, 0.9], 2)
    array([1])
    """
    values = as_scores("influence", influence)
    others = as_scores("confidence", confidence)
    count = as_count("k", k)
    left_out = count if k_confident is None else as_count("k_confident", k_confident)
    mapped = is_mapped(values), is_mapped(others)
    shard, threads = as_shard(shard), as_threads(n_threads)
    with reporting("suspects", progress, shard) as report:
        return _core.suspects(values, count, others, left_out, nan, mapped, shard, report, threads)
