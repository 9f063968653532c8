"""Exact order of scores: the best k, all of them sorted, or the part of a data set that is kept.

Samples are compared by (score, position): equal scores go by position, lowest first, and -0.0 equals 0.0.
No two samples are equal in this order, so every result is unique, whatever the number of threads.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from puma_fast import _core
from puma_fast.numeric.arrays import as_count, as_floats, as_ids, as_labels, as_threads

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray

    Nan = Literal["raise", "last", "first"]
    """What becomes of NaN: refused, or put after or before every number."""


def top_k(
    scores: ArrayLike,
    k: int,
    *,
    largest: bool = True,
    nan: Nan = "raise",
    n_threads: int | None = None,
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
        False: the smallest.
    nan : {"raise", "last", "first"}, default "raise"
        What becomes of NaN: refused, or put after every number (chosen only when the numbers run out) or
        before every number, whatever `largest` is.
    n_threads : int, optional
        Threads; by default ``RAYON_NUM_THREADS``, else all that this process may use. The result does not
        depend on it.

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
    O(n + k log k) on average: a sample of the scores gives a bound that few but the best k pass, so the
    scores are read once. `numpy.argpartition` with a stable order costs a full sort.

    Examples
    --------
    >>> import puma_fast as pf
    >>> pf.top_k([0.1, 0.9, 0.5, 0.9], 3)
    array([1, 3, 2])
    >>> pf.top_k([0.1, float("nan"), 0.5], 2, largest=False, nan="last")
    array([0, 2])
    """
    values = as_floats("scores", scores, ndim=1)
    return _core.top_k(values, as_count("k", k), largest, nan, as_threads(n_threads))


def argsort(
    scores: ArrayLike,
    *,
    descending: bool = False,
    nan: Nan = "raise",
    n_threads: int | None = None,
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
    return _core.argsort(values, descending, nan, as_threads(n_threads))


def prune(
    margins: ArrayLike,
    *,
    ratio: float,
    largest: bool = True,
    nan: Nan = "raise",
    labels: ArrayLike | None = None,
    min_per_class: int = 0,
    protect: ArrayLike = (),
    n_threads: int | None = None,
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
    nan : {"raise", "last", "first"}, default "raise"
        What becomes of NaN: refused, or it goes last or first.
    labels : array_like, shape (n,), optional
        The samples' classes, which then shrink alike: class c gives less than one sample more or fewer than
        ``ratio * n_c``, by largest remainders, equal ones in favour of the class whose first sample comes
        first. The labels' names do not matter.
    min_per_class : int, default 0
        Samples that each class keeps, or all it has where that is fewer. What a class then cannot give,
        the others give in proportion to their sizes. Needs `labels`.
    protect : array_like of int, shape (m,), default none
        Positions of samples that stay. They count in n and n_c.
    n_threads : int, optional
        Threads; by default ``RAYON_NUM_THREADS``, else all that this process may use. The result does not
        depend on it.

    Returns
    -------
    ndarray, shape (n - round(ratio * n),), int64
        Positions kept, ascending.

    Raises
    ------
    ValueError
        A ratio outside [0, 1] or more than may go; `labels` of another length; a position to protect that
        no sample has; `min_per_class` without `labels`; a NaN with ``nan="raise"``.
    TypeError
        Not real numbers; positions that are no integers.

    Examples
    --------
    >>> from puma_fast.numeric.order import prune
    >>> prune([0.4, 0.3, 0.2, 0.1], ratio=0.5)
    array([2, 3])
    >>> prune([0.4, 0.3, 0.2, 0.1], ratio=0.5, labels=["cat", "cat", "dog", "dog"])
    array([1, 3])
    """
    if min_per_class and labels is None:
        msg = f"min_per_class needs labels, the samples' classes; got min_per_class={min_per_class} without"
        raise ValueError(msg)
    return _core.prune(
        as_floats("margins", margins, ndim=1),
        float(ratio),
        largest,
        nan,
        None if labels is None else as_labels("labels", labels),
        as_count("min_per_class", min_per_class),
        as_ids("protect", protect),
        as_threads(n_threads),
    )
