"""What functions accept as an array, a count, a number or a flag, refused in the same words everywhere.

Kinds are checked here (is it numeric, on the CPU, of the right number of dimensions), values in Rust.
float32 and float64 arrays that are aligned and C-contiguous are borrowed as they are; anything else
is copied once, half precision and integers to float64. What lies in a mapped file is never copied: it may
be larger than memory.
"""

from __future__ import annotations

import math
import operator
import reprlib
from collections.abc import Iterator, Mapping, Set
from mmap import mmap
from numbers import Real
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
    # NumPy would wrap these whole, as one object.
    if isinstance(value, (Set, Mapping, Iterator)):
        kind = type(value).__name__
        msg = f"{name} must be an array or a list, got a {kind}; pass list({name}) in the order that is meant"
        raise TypeError(msg)
    if hasattr(value, "filled") and np.ma.is_masked(value):
        msg = f"{name} has masked entries, which hold no value; pass {name}.filled(...) or leave them out"
        raise ValueError(msg)
    try:
        return np.asarray(value)
    except ValueError as error:
        msg = f"{name} cannot be read as an array; give rows of one length ({error})"
        raise ValueError(msg) from None
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
    if array.dtype.kind not in ("fiu" if array.ndim == 0 else "fiub"):
        msg = f"{name} must hold real numbers, got dtype {array.dtype}; convert it with astype(float)"
        raise TypeError(msg)
    allowed = (ndim,) if isinstance(ndim, int) else ndim
    if array.ndim not in allowed:
        wanted = " or ".join(f"{d}-dimensional" for d in allowed)
        msg = f"{name} must be {wanted}, got shape {array.shape}"
        raise ValueError(msg)
    dtype = array.dtype if array.dtype in (np.float32, np.float64) else np.float64
    return _in_memory(name, array, dtype)


def as_scores(name: str, value: Any) -> FloatArray:
    """Give `value` as `as_floats` does, in one dimension, and only where that keeps its order.

    Parameters
    ----------
    name : str
        The argument's name, for messages.
    value : array_like, shape (n,)
        Numbers.

    Returns
    -------
    ndarray, shape (n,), float32 or float64
        The same memory where type and layout allow it, else a copy.

    Raises
    ------
    TypeError
        Not real numbers, or a tensor on another device.
    ValueError
        Not one-dimensional; an integer of 2**53 or more, next to which float64 has no other.

    Examples
    --------
    >>> as_scores("scores", [2**53, 2**53 + 1])
    Traceback (most recent call last):
    ...
    ValueError: scores[0] is 9007199254740992, where float64 merges integers; take an offset off or use floats
    """
    array = as_array(name, value)
    scores = as_floats(name, array, ndim=1)
    if array.dtype.kind in "iu" and array.dtype.itemsize == 8:
        large = np.abs(scores) >= 2.0**53
        if large.any():
            first = int(large.argmax())
            place = f"{name}[{first}] is {array[first]}"
            msg = f"{place}, where float64 merges integers; take an offset off or use floats"
            raise ValueError(msg)
    return scores


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
    if array.dtype.kind in "iub":
        return array
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


def as_ids(name: str, value: Any, *, of: str = "samples") -> NDArray[np.int64]:
    """Give the positions `value` of samples as a contiguous int64 array; an empty list is no sample.

    Parameters
    ----------
    name : str
        The argument's name, for messages.
    value : array_like of int, shape (m,)
        Positions.
    of : str, default "samples"
        What they are positions of, for messages.

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
        is_mask = array.dtype.kind == "b" and of == "samples"
        way_out = f"np.flatnonzero({name})" if is_mask else "integers"
        msg = f"{name} must hold positions of {of}, got dtype {array.dtype}; pass {way_out}"
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
        Not an integer; True and False, too, count nothing.
    ValueError
        Below `least`, or beyond 64 bits.
    """
    try:
        count = operator.index(value)
    except TypeError:
        count = None
    if count is None or isinstance(value, bool):
        msg = f"{name} must be an integer, got {reprlib.repr(value)} of type {type(value).__name__}"
        raise TypeError(msg)
    if not least <= count < 2**63:
        limit = " and below 2**63" if count > least else ""
        msg = f"{name} must be at least {least}{limit}, got {reprlib.repr(count)}"
        raise ValueError(msg)
    return count


def as_number(
    name: str,
    value: Any,
    *,
    least: float = -math.inf,
    above: float | None = None,
    below: float | None = None,
    infinite: bool = False,
    hint: str = "",
) -> float:
    """Give `value` as a float within bounds.

    Parameters
    ----------
    name : str
        The argument's name, for messages.
    value : float
        Any real number, also as an array without dimensions.
    least : float
        The smallest value allowed.
    above, below : float, optional
        What it has to lie above and below.
    infinite : bool, default False
        Whether an infinity within the bounds is a value too.
    hint : str
        What else the message says: other values, the way out.

    Returns
    -------
    float
        The nearest one.

    Raises
    ------
    TypeError
        Not a real number; True and False are none.
    ValueError
        NaN, or out of bounds.

    Examples
    --------
    >>> as_number("share", 1, least=0)
    1.0
    """
    given = as_array(name, value)[()] if getattr(value, "ndim", None) == 0 else value
    is_number = isinstance(given, Real) and not isinstance(given, bool)
    if is_number:
        try:
            number = float(given)
        except OverflowError:
            number = math.inf if given > 0 else -math.inf
        if (
            number >= least
            and (above is None or number > above)
            and (below is None or number < below)
            and (infinite or math.isfinite(number))
        ):
            return number
    rule = "a number" if infinite else "a finite number"
    if above is not None and below is not None:
        rule = f"a number between {above:g} and {below:g}"
    elif above is not None:
        rule += f" above {above:g}"
    elif least > -math.inf:
        rule += f", at least {least:g}"
    msg = f"{name} must be {rule}{hint}, got {reprlib.repr(value)}"
    raise (ValueError if is_number else TypeError)(msg)


def as_flag(name: str, value: Any) -> bool:
    """Give `value` as a bool; what is only true or false by Python's rules ("no" is true) is refused."""
    if not isinstance(value, (bool, np.bool_)):
        msg = f"{name} must be True or False, got {reprlib.repr(value)}"
        raise TypeError(msg)
    return bool(value)


def as_progress(progress: Any) -> bool | None:
    """Give `progress` as bars take it: None for a bar on a terminal alone, else a flag."""
    return None if progress is None else as_flag("progress", progress)


def as_threads(n_threads: Any) -> int | None:
    """Give `n_threads` as the core takes it: None for its own choice, else a count of at least 1."""
    return None if n_threads is None else as_count("n_threads", n_threads, least=1)
