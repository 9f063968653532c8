"""What the numeric functions accept as an array, and how it reaches the core without a copy.

Kinds are checked here (is it numeric, on the CPU, of the right number of dimensions), values in Rust.
float32 and float64 arrays that are aligned and C-contiguous are borrowed as they are; anything else
is copied once, half precision and integers to float64. What lies in a mapped file is never copied: it may
be larger than memory.
"""

from __future__ import annotations

import operator
from mmap import mmap
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    FloatArray = NDArray[np.float32] | NDArray[np.float64]
    """An array of either float type that the core reads natively."""

    LabelArray = NDArray[np.uint8] | NDArray[np.int32] | NDArray[np.int64]
    """Labels of a type that the core reads natively."""


def as_array(name: str, value: Any) -> NDArray[Any]:
    """Give `value` as a NumPy array; a tensor on a device or with a graph is refused by `name`."""
    device = getattr(getattr(value, "device", None), "type", "cpu")
    if device != "cpu":
        msg = f"{name} is on the device {device!r}; the numeric functions run on the CPU: pass {name}.cpu()"
        raise TypeError(msg)
    if getattr(value, "requires_grad", False):
        msg = f"{name} is part of an autograd graph; pass {name}.detach()"
        raise TypeError(msg)
    try:
        return np.asarray(value)
    except TypeError:
        # NumPy has no bfloat16; double precision holds every value of it.
        if not hasattr(value, "double"):
            raise
        return np.asarray(value.double())


def is_mapped(array: NDArray[Any]) -> bool:
    """Tell whether `array` lies in a file mapped into memory, as `numpy.memmap` or a view of one."""
    base: Any = array
    while isinstance(base, np.ndarray):
        if isinstance(base, np.memmap):
            return True
        base = base.base
    return isinstance(base, mmap)


def _in_memory(name: str, array: NDArray[Any], dtype: Any) -> NDArray[Any]:
    """Give `array` natively as `dtype`, aligned and contiguous; never copy a whole file into memory."""
    native = np.require(array, dtype=np.dtype(dtype).newbyteorder("="), requirements=["C", "A"])
    if is_mapped(array) and not np.shares_memory(native, array) and array.size:
        msg = (
            f"{name} is a mapped file of {array.dtype}, strides {array.strides}, and would have to be copied "
            f"into memory whole; write it anew, contiguous, as {np.dtype(dtype)}, or pass numpy.array({name})"
        )
        raise TypeError(msg)
    return native


def as_floats(name: str, value: Any, *, ndim: int | tuple[int, ...]) -> FloatArray:
    """Give `value` as an aligned, C-contiguous float32 or float64 array of `ndim` dimensions.

    Parameters
    ----------
    name : str
        The argument's name, for messages.
    value : array_like
        Numbers; NumPy array, list, or CPU tensor.
    ndim : int or tuple of int
        The numbers of dimensions allowed.

    Returns
    -------
    ndarray
        The same memory where type and layout allow it, else a copy.

    Raises
    ------
    TypeError
        Not real numbers, or a tensor on another device.
    ValueError
        A wrong number of dimensions.

    Examples
    --------
    >>> import numpy as np
    >>> halves = np.array([0.5, 1.5], dtype=np.float32)
    >>> np.shares_memory(as_floats("halves", halves, ndim=1), halves)
    True
    >>> as_floats("counts", [1, 2], ndim=1).dtype
    dtype('float64')
    """
    array = as_array(name, value)
    if array.dtype.kind not in "fiub":
        msg = f"{name} must hold real numbers, got dtype {array.dtype}; convert it with astype(float)"
        raise TypeError(msg)
    allowed = (ndim,) if isinstance(ndim, int) else ndim
    if array.ndim not in allowed:
        wanted = " or ".join(f"{d}-dimensional" for d in allowed)
        msg = f"{name} must be {wanted}, got shape {array.shape}"
        raise ValueError(msg)
    dtype = array.dtype if array.dtype in (np.float32, np.float64) else np.float64
    return _in_memory(name, array, dtype)


def as_classes(name: str, value: Any) -> NDArray[Any]:
    """Give `value` as an array of classes, of any kind that can be sorted.

    Parameters
    ----------
    name : str
        The argument's name, for messages.
    value : array_like
        Classes.

    Returns
    -------
    ndarray
        As NumPy makes it.

    Raises
    ------
    ValueError
        A NaN or a NaT, which equals nothing.
    TypeError
        Kinds that have no common order, such as names and numbers.

    Examples
    --------
    >>> as_classes("y", [1.0, float("nan")])
    Traceback (most recent call last):
    ...
    ValueError: y[1] is nan, which is no class; drop the sample or give it a label
    """
    array = as_array(name, value)
    odd = np.argwhere(array != array)
    if len(odd):
        place = ", ".join(map(str, odd[0]))
        value = array[tuple(odd[0])]
        msg = f"{name}[{place}] is {value}, which is no class; drop the sample or give it a label"
        raise ValueError(msg)
    if array.dtype.kind == "O":
        try:
            np.unique(array)
        except TypeError as error:
            msg = f"{name} holds classes that cannot be sorted ({error}); give all of them one kind"
            raise TypeError(msg) from None
    return array


def as_labels(name: str, value: Any) -> LabelArray:
    """Give the class labels `value`, of any sortable kind, as one integer per sample.

    Parameters
    ----------
    name : str
        The argument's name, for messages.
    value : array_like, shape (n,)
        Integers keep their values; anything else is numbered in sorted order.

    Returns
    -------
    ndarray, shape (n,), uint8, int32 or int64
        Contiguous; equal exactly where the labels are.

    Raises
    ------
    ValueError
        Not one-dimensional, or a NaN, which equals nothing.
    """
    array = as_classes(name, value)
    if array.ndim != 1:
        msg = f"{name} must be 1-dimensional, one label for each sample, got shape {array.shape}"
        raise ValueError(msg)
    if array.dtype.kind not in "iub" or array.dtype == np.uint64:
        array = np.unique(array, return_inverse=True)[1]
    dtype = array.dtype if array.dtype in (np.uint8, np.int32) else np.int64
    return _in_memory(name, array, dtype)


def as_ids(name: str, value: Any) -> NDArray[np.int64]:
    """Give the positions `value` of samples as a contiguous int64 array; an empty list is no sample.

    Parameters
    ----------
    name : str
        The argument's name, for messages.
    value : array_like of int, shape (m,)
        Positions.

    Returns
    -------
    ndarray, shape (m,), int64
        The same memory where type and layout allow it, else a copy.

    Raises
    ------
    TypeError
        Not integers; a mask of booleans too, whose positions np.flatnonzero gives.
    ValueError
        Not one-dimensional.
    """
    array = as_array(name, value)
    if array.ndim != 1:
        msg = f"{name} must be 1-dimensional, got shape {array.shape}"
        raise ValueError(msg)
    if array.size and array.dtype.kind not in "iu":
        way_out = f"np.flatnonzero({name})" if array.dtype.kind == "b" else "integers"
        msg = f"{name} must hold positions of samples, got dtype {array.dtype}; pass {way_out}"
        raise TypeError(msg)
    return _in_memory(name, array, np.int64)


def as_count(name: str, value: Any, *, least: int = 0) -> int:
    """Give `value` as an int of at least `least`.

    Parameters
    ----------
    name : str
        The argument's name, for messages.
    value : int
        Any integer type; a float is refused, also one without decimals.
    least : int, default 0
        The smallest value allowed.

    Returns
    -------
    int
        The same number.

    Raises
    ------
    TypeError
        Not an integer.
    ValueError
        Below `least`, or beyond 64 bits.
    """
    try:
        count = operator.index(value)
    except TypeError:
        msg = f"{name} must be an integer, got {value!r} of type {type(value).__name__}"
        raise TypeError(msg) from None
    if not least <= count < 2**63:
        msg = f"{name} must be at least {least}{' and below 2**63' if count > least else ''}, got {count}"
        raise ValueError(msg)
    return count


def as_threads(n_threads: Any) -> int | None:
    """Give `n_threads` as the core takes it: None for its own choice, else a count of at least 1."""
    return None if n_threads is None else as_count("n_threads", n_threads, least=1)
