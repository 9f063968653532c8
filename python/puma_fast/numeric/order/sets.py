"""What two selections have in common, and what one has alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from puma_fast import _core
from puma_fast.numeric.arrays import as_ids

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray


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
