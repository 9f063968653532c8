"""Exact sums of scores, group by group."""

from __future__ import annotations

from typing import TYPE_CHECKING

from puma_fast import _core
from puma_fast.numeric.arrays import as_count, as_floats, as_ids, as_threads
from puma_fast.numeric.shard import as_shard
from puma_fast.progress import reporting

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray

    from puma_fast.numeric.shard import Shard
    from puma_fast.progress import Progress

MOST_GROUPS = 2**22
"""Groups of one call of `group_sums`, at most: 2 GB of exact sums for each thread."""


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
    numbers, shard = as_ids("groups", groups, of="groups"), as_shard(shard)
    with reporting("adding", progress, shard) as report:
        return _core.group_sums(values, numbers, count, shard, report, threads)
