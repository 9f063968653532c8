"""What the numeric functions accept as an array, and how it reaches the core without a copy.

Kinds are checked here (is it numeric, on the CPU, of the right number of dimensions), values in Rust.
float32 and float64 arrays that are aligned and C-contiguous are borrowed as they are; anything else
is copied once, half precision and integers to float64.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    FloatArray = NDArray[np.float32] | NDArray[np.float64]
    """An array of either float type that the core reads natively."""


def as_array(name: str, value: Any) -> NDArray[Any]:
    """Give `value` as a NumPy array; a tensor on a device or with a graph is refused by `name`."""
    device = getattr(getattr(value, "device", None), "type", "cpu")
    if device != "cpu":
        msg = f"{name} is on the device {device!r}; the numeric functions run on the CPU: pass {name}.cpu()"
        raise TypeError(msg)
    if getattr(value, "requires_grad", False):
        msg = f"{name} is part of an autograd graph; pass {name}.detach()"
        raise TypeError(msg)
    return np.asarray(value)


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
    return np.require(array, dtype=np.dtype(dtype).newbyteorder("="), requirements=["C", "A"])
