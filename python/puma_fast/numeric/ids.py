"""Which samples are meant: positions or a mask, checked once and in the same words for every verb."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from puma_fast.numeric.arrays import as_array

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import ArrayLike, NDArray


def positions(
    ids: ArrayLike,
    n: int,
    *,
    name: str = "ids",
    data: str = "X",
    look_up: Callable[[NDArray[Any]], NDArray[np.int64]] | None = None,
) -> NDArray[np.int64]:
    """Find the positions of the samples called `ids`, in the order given.

    Parameters
    ----------
    ids : array_like of shape (m,)
        Names of samples, or a mask of n booleans.
    n : int
        Number of samples.
    name, data : str
        What the ids and the samples are called in messages.
    look_up : callable, optional
        Finds the positions of names; without it names are positions.

    Returns
    -------
    ndarray of shape (m,), int64

    Raises
    ------
    ValueError
        None, duplicate or unknown ones.
    """
    wanted = np.atleast_1d(as_array(name, ids))
    if wanted.size == 0:
        msg = f"{name} is empty: give at least one sample"
        raise ValueError(msg)
    if wanted.dtype == bool:
        if wanted.shape != (n,):
            msg = f"{name} is a mask of shape {wanted.shape}; {data} has {n} samples"
            raise ValueError(msg)
        if not wanted.any():
            msg = f"{name} is a mask that marks no sample: give at least one"
            raise ValueError(msg)
        return np.flatnonzero(wanted)
    if wanted.ndim != 1:
        msg = f"{name} must be one-dimensional, got shape {wanted.shape}; pass {name}.ravel()"
        raise ValueError(msg)
    found = _in_range(name, wanted, n) if look_up is None else look_up(wanted)
    each, counts = np.unique(found, return_counts=True)
    if counts.max() > 1:
        twice = wanted[np.flatnonzero(found == each[counts.argmax()])[0]]
        msg = f"{name} holds {twice!s} more than once; pass numpy.unique({name})"
        raise ValueError(msg)
    return found


def _in_range(name: str, wanted: NDArray[Any], n: int) -> NDArray[np.int64]:
    if wanted.dtype.kind not in "iu":
        msg = f"{name} must be integer positions, got dtype {wanted.dtype}; use astype(int) or a mask"
        raise ValueError(msg)
    outside = (wanted < 0) | (wanted >= n)
    if outside.any():
        msg = f"{name} holds {wanted[outside][0]}; positions run from 0 to {n - 1}"
        raise ValueError(msg)
    return wanted.astype(np.int64)
