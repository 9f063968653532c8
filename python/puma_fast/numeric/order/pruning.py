"""What stays when a share of the samples goes, class by class, and how a share is divided among classes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from puma_fast import _core
from puma_fast.numeric.arrays import (
    as_count,
    as_flag,
    as_ids,
    as_labels,
    as_number,
    as_scores,
    as_threads,
    is_mapped,
)
from puma_fast.numeric.shard import as_shard
from puma_fast.progress import reporting

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray

    from puma_fast.numeric.order.ranking import Nan
    from puma_fast.numeric.shard import Shard
    from puma_fast.progress import Progress


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
    values = as_scores("margins", margins)
    share, first = as_number("ratio", ratio, infinite=True), as_flag("largest", largest)
    classes = None if labels is None else as_labels("labels", labels)
    least, stay = as_count("min_per_class", min_per_class), as_ids("protect", protect)
    mapped, shard, threads = is_mapped(values), as_shard(shard), as_threads(n_threads)
    with reporting("pruning", progress, shard) as report:
        return _core.prune(values, share, first, nan, classes, least, stay, mapped, shard, report, threads)


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
