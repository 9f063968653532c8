"""Exact order of scores: the best k, all of them sorted, those within bounds, or what pruning keeps.

Samples are compared by (score, position): equal scores go by position, lowest first, and -0.0 equals 0.0.
No two samples are equal in this order, so every result is unique, whatever the number of threads or shards.
Scores in a mapped file (`numpy.memmap`, ``numpy.load(..., mmap_mode="r")``) are read where they lie, from
the first to the last, in constant memory (`suspects` keeps one bit for each sample).
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Literal

from puma_fast import _core
from puma_fast.numeric.arrays import (
    as_count,
    as_flag,
    as_floats,
    as_ids,
    as_labels,
    as_number,
    as_threads,
    is_mapped,
)
from puma_fast.numeric.shard import as_shard
from puma_fast.progress import reporting

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray

    from puma_fast.numeric.shard import Shard
    from puma_fast.progress import Progress

    Nan = Literal["raise", "last", "first"]
    """What becomes of NaN: refused, or put after or before every number."""

MOST_GROUPS = 2**22
"""Groups of one call of `group_sums`, at most: 2 GB of exact sums for each thread."""


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
        `k` below 0 or above n; a NaN with ``nan="raise"``; scores that are not one-dimensional.
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
    values = as_floats("scores", scores, ndim=1)
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
    values = as_floats("scores", scores, ndim=1)
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
    values = as_floats("influence", influence, ndim=1)
    others = as_floats("confidence", confidence, ndim=1)
    count = as_count("k", k)
    left_out = count if k_confident is None else as_count("k_confident", k_confident)
    mapped = is_mapped(values), is_mapped(others)
    shard, threads = as_shard(shard), as_threads(n_threads)
    with reporting("suspects", progress, shard) as report:
        return _core.suspects(values, count, others, left_out, nan, mapped, shard, report, threads)


def difference(a: ArrayLike, b: ArrayLike) -> NDArray[np.int64]:
    """Give the positions of the selection `a` that are not in the selection `b`, ascending, each once.

    Parameters
    ----------
    a, b : array_like of int, shapes (m,) and (k,)
        Positions of samples, from 0 on, in any order.

    Returns
    -------
    ndarray, shape (d,), int64
        Positions.

    Raises
    ------
    ValueError
        A negative position.
    TypeError
        Positions that are no integers.

    See Also
    --------
    intersection : Those that are in both.
    suspects : The difference of two selections by scores, at once.

    Examples
    --------
    >>> import puma_fast as pf
    >>> influence, confidence = [-3.0, -2.0, 0.5, 1.0], [0.99, 0.3, 0.5, 0.9]
    >>> pf.difference(pf.bottom_k(influence, 2), pf.top_k(confidence, 2))
    array([1])
    """
    return _core.compare(as_ids("a", a), as_ids("b", b), False)


def intersection(a: ArrayLike, b: ArrayLike) -> NDArray[np.int64]:
    """Give the positions that are in both selections, ascending, each once.

    Parameters
    ----------
    a, b : array_like of int, shapes (m,) and (k,)
        Positions of samples, from 0 on, in any order.

    Returns
    -------
    ndarray, shape (d,), int64
        Positions.

    Raises
    ------
    ValueError, TypeError
        As for `difference`.

    See Also
    --------
    difference : Those of one that are not in the other.

    Examples
    --------
    >>> import puma_fast as pf
    >>> pf.intersection([5, 2, 9], [9, 5, 7])
    array([5, 9])
    """
    return _core.compare(as_ids("a", a), as_ids("b", b), True)


def group_sums(
    scores: ArrayLike,
    groups: ArrayLike,
    *,
    n_groups: int,
    shard: Shard | None = None,
    n_threads: int | None = None,
    progress: Progress = None,
) -> NDArray[np.float64]:
    """Sum the scores of each group, exactly and rounded once.

    With influences as scores, the price of thousands of removal requests in one pass.

    Parameters
    ----------
    scores : array_like, shape (n,)
        Finite numbers.
    groups : array_like of int, shape (n,)
        The group of each score, from 0 to ``n_groups - 1``.
    n_groups : int
        How many groups there are. Each takes some 544 bytes on each thread.
    shard : Shard, optional
        This process's place among several that hold consecutive rows; every shard gets the sums of all.
    n_threads : int, optional
        Threads; by default ``RAYON_NUM_THREADS``, else all that this process may use. The result does not
        depend on it.
    progress : bool or callable, optional
        As in :func:`puma_fast.solve_weights`; what is counted is ``"sample"``, over all passes.

    Returns
    -------
    ndarray, shape (n_groups,), float64
        The sums: of all doubles the nearest to the exact sum, ties to even. 0 for a group without scores.

    Raises
    ------
    ValueError
        A group outside its range; `groups` of another length; a NaN or an infinity.
    TypeError
        Not real numbers; groups that are no integers.

    Notes
    -----
    A sum is kept as the digits of one long integer, as in Neal, "Fast exact summation using small and large
    superaccumulators", arXiv 1505.05571; integers add up the same in any order.

    Examples
    --------
    >>> import puma_fast as pf
    >>> pf.group_sums([1e16, 3.0, 1.0, -1e16], [0, 1, 0, 0], n_groups=2)
    array([1., 3.])
    """
    values = as_floats("scores", scores, ndim=1)
    count, threads = as_count("n_groups", n_groups), as_threads(n_threads)
    if count > MOST_GROUPS:
        msg = (
            f"n_groups must be at most {MOST_GROUPS}, got {count}: an exact sum is half a kilobyte; number "
            "the groups that there are, by numpy.unique(groups, return_inverse=True)"
        )
        raise ValueError(msg)
    numbers, shard = as_ids("groups", groups), as_shard(shard)
    with reporting("adding", progress, shard) as report:
        return _core.group_sums(values, numbers, count, shard, report, threads)


def apportion(sizes: ArrayLike, total: int) -> NDArray[np.int64]:
    """Share `total` out in proportion to `sizes`, in whole numbers, by largest remainders.

    Parameters
    ----------
    sizes : array_like of int, shape (c,)
        What each class has; its share does not exceed it.
    total : int
        What is shared out, at most the sum of the sizes.

    Returns
    -------
    ndarray, shape (c,), int64
        The shares, which add up to `total`; of equal remainders the first class's goes first.

    Raises
    ------
    ValueError
        A `total` beyond the sum of the sizes.

    Examples
    --------
    >>> from puma_fast.numeric.order import apportion
    >>> apportion([50, 30, 20], 7)
    array([4, 2, 1])
    """
    return _core.apportion(
        [as_count("sizes", size) for size in as_ids("sizes", sizes)], as_count("total", total)
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
        A NaN with ``nan="raise"``; scores that are not one-dimensional.
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
    values = as_floats("scores", scores, ndim=1)
    largest, threads = as_flag("descending", descending), as_threads(n_threads)
    with reporting("sorting", progress) as report:
        return _core.argsort(values, largest, nan, report, threads)


def prune(
    margins: ArrayLike,
    *,
    ratio: float,
    largest: bool = True,
    nan: Nan = "raise",
    labels: ArrayLike | None = None,
    min_per_class: int = 0,
    protect: ArrayLike = (),
    shard: Shard | None = None,
    n_threads: int | None = None,
    progress: Progress = None,
) -> NDArray[np.int64]:
    """Give the positions that stay when a share of the samples goes, class by class.

    The array part of :func:`puma_fast.prune_by_margin`, for any score.

    Parameters
    ----------
    margins : array_like, shape (n,)
        The score by which samples go.
    ratio : float
        The share that goes, from 0 to 1: exactly ``round(ratio * n)`` samples, halves to even.
    largest : bool, default True
        The largest go first; False: the smallest. Of equal ones the lowest position goes first.
    nan, labels, min_per_class, protect, shard, n_threads, progress
        As for :func:`puma_fast.prune_by_margin`.

    Returns
    -------
    ndarray, shape (n - round(ratio * n),), int64
        Positions kept, ascending.

    Raises
    ------
    ValueError, TypeError
        As for :func:`puma_fast.prune_by_margin`.

    Examples
    --------
    >>> from puma_fast.numeric.order import prune
    >>> prune([0.4, 0.3, 0.2, 0.1], ratio=0.5)
    array([2, 3])
    >>> prune([0.4, 0.3, 0.2, 0.1], ratio=0.5, labels=["cat", "cat", "dog", "dog"])
    array([1, 3])
    """
    if min_per_class and labels is None:
        msg = f"min_per_class needs labels, the samples' classes, got min_per_class={min_per_class} without"
        raise ValueError(msg)
    values = as_floats("margins", margins, ndim=1)
    share, first = as_number("ratio", ratio, infinite=True), as_flag("largest", largest)
    classes = None if labels is None else as_labels("labels", labels)
    least, stay = as_count("min_per_class", min_per_class), as_ids("protect", protect)
    mapped, shard, threads = is_mapped(values), as_shard(shard), as_threads(n_threads)
    with reporting("pruning", progress, shard) as report:
        return _core.prune(values, share, first, nan, classes, least, stay, mapped, shard, report, threads)
