"""Nested batches: whatever a collate function gives, walked, moved and compared in one way.

A batch may be tensors in tuples, lists, mappings (also a library's own), dataclasses or objects of the
user's; what is no container is a leaf.
"""

from __future__ import annotations

import copy
import dataclasses
import types
from collections.abc import Mapping, MutableMapping, Set
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

if TYPE_CHECKING:
    from collections.abc import Callable

PLAIN = (str, bytes, bytearray, bool, int, float, complex, type(None), np.generic)
"""Leaves that are compared by their value and hold no tensors."""

_NAMED = (type, types.FunctionType, types.BuiltinFunctionType, types.ModuleType)
"""Leaves that are code: they are the same where they are the same object."""


class IncomparableError(TypeError):
    """Something whose content cannot be seen."""


def map_leaves(
    function: Callable[[Any], Any], batch: Any, *, is_leaf: Callable[[Any], bool] = lambda _: False
) -> Any:
    """Apply `function` to every leaf of a nested batch; its containers keep their types."""
    return _mapped(function, batch, is_leaf, frozenset())


def map_tensors(function: Callable[[Tensor], Tensor], batch: Any) -> Any:
    """Apply `function` to every tensor of a nested batch."""
    return map_leaves(lambda leaf: function(leaf) if isinstance(leaf, Tensor) else leaf, batch)


def as_tensor(array: Any) -> Tensor:
    """Give an array as a tensor that lies where the array does, whatever torch's default device is."""
    return array if isinstance(array, Tensor) else torch.as_tensor(array, device="cpu")


def moved(batch: Any, device: torch.device) -> Any:
    """Put a nested batch on a device as constants; what knows how to move is asked to, as a whole."""

    def there(leaf: Any) -> Any:
        if not isinstance(leaf, Tensor):
            return leaf.to(device) if can_move(leaf) else leaf
        tensor = leaf.detach().to(device)
        # Made under inference_mode, it could not take part in what is differentiated.
        return tensor.clone() if tensor.is_inference() else tensor

    return map_leaves(there, batch, is_leaf=can_move)


def described(batch: Any) -> str:
    """Say of what types and shapes a nested batch is."""
    if isinstance(batch, Tensor):
        return f"{str(batch.dtype).removeprefix('torch.')} {tuple(batch.shape)}"
    if isinstance(batch, Mapping):
        return "{" + ", ".join(f"{key}: {described(value)}" for key, value in batch.items()) + "}"
    if isinstance(batch, (tuple, list)):
        return "(" + ", ".join(map(described, batch)) + ")"
    return type(batch).__name__


def equal(one: Any, other: Any) -> bool:
    """Tell whether two nested batches hold the same (NaN equals NaN).

    Raises
    ------
    IncomparableError
        There is something that can be neither compared nor taken apart, as pickle takes things apart.
    """
    return _equal(one, other, set())


def _equal(one: Any, other: Any, seen: set[tuple[int, int]]) -> bool:
    if one is other or (id(one), id(other)) in seen:
        return True
    if type(one) is not type(other):
        return False
    if isinstance(one, Tensor):
        return _equal_tensors(one, other)
    if isinstance(one, np.ndarray):
        return _equal_arrays(one, other, seen)
    if isinstance(one, PLAIN):
        return bool(one == other) or bool(one != one and other != other)
    if isinstance(one, _NAMED):
        return bool(one == other)
    # Kept while their parts are compared, so that a ring of references ends.
    seen = seen | {(id(one), id(other))}
    if isinstance(one, Mapping):
        return one.keys() == other.keys() and all(_equal(one[key], other[key], seen) for key in one)
    if isinstance(one, (tuple, list)):
        return len(one) == len(other) and all(_equal(a, b, seen) for a, b in zip(one, other, strict=True))
    if isinstance(one, Set):
        return bool(one == other)
    return _equal(_state(one), _state(other), seen)


def _equal_tensors(one: Tensor, other: Tensor) -> bool:
    if one.shape != other.shape or one.dtype != other.dtype or one.layout != other.layout:
        return False
    if one.layout != torch.strided:
        one, other = one.to_dense(), other.to_dense()
    return bool(((one == other) | ((one != one) & (other != other))).all())


def _equal_arrays(one: np.ndarray[Any, Any], other: np.ndarray[Any, Any], seen: set[tuple[int, int]]) -> bool:
    if one.shape != other.shape or one.dtype != other.dtype:
        return False
    if one.dtype == object:
        return _equal(one.tolist(), other.tolist(), seen)
    return np.array_equal(one, other, equal_nan=one.dtype.kind in "fc")


def _state(item: Any) -> Any:
    """Take an object apart into what pickle would write of it."""
    try:
        made = item.__reduce_ex__(4)
    except Exception as error:
        msg = f"{type(item).__name__} ({error})"
        raise IncomparableError(msg) from None
    if isinstance(made, str):
        return made
    return tuple(part if i < 3 or part is None else list(part) for i, part in enumerate(made))


def _attributes(item: Any) -> dict[str, Any]:
    """Give what a dataclass or a user's plain object holds; nothing of a leaf."""
    if isinstance(item, (*PLAIN, *_NAMED, Tensor, np.ndarray, torch.nn.Module)):
        return {}
    if dataclasses.is_dataclass(item):
        return {each.name: getattr(item, each.name) for each in dataclasses.fields(item)}
    return dict(getattr(item, "__dict__", {}))


def can_move(item: Any) -> bool:
    """Tell whether an item is asked as a whole to go to a device."""
    return hasattr(item, "to") and not isinstance(item, type)


def _mapped(
    function: Callable[[Any], Any], item: Any, is_leaf: Callable[[Any], bool], above: frozenset[int]
) -> Any:
    # An object may hold itself, as a node of a graph does.
    if is_leaf(item) or id(item) in above:
        return function(item)
    above |= {id(item)}

    def down(value: Any) -> Any:
        return _mapped(function, value, is_leaf, above)

    if isinstance(item, MutableMapping):
        # A copy keeps what a library's own mapping knows beside its items.
        mapped = copy.copy(item)
        for key, value in item.items():
            mapped[key] = down(value)
        return mapped
    if isinstance(item, Mapping):
        return {key: down(value) for key, value in item.items()}
    if isinstance(item, tuple) and hasattr(item, "_fields"):
        return type(item)(*map(down, item))
    if isinstance(item, (tuple, list)):
        return type(item)(map(down, item))
    attributes = _attributes(item)
    if not attributes:
        return function(item)
    mapped = copy.copy(item)
    for name, value in attributes.items():
        # Not setattr: a frozen dataclass is copied, not changed.
        object.__setattr__(mapped, name, down(value))
    return mapped
