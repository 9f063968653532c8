"""Names of samples that the user gave them, and the positions that they stand for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray


def on_the_host(ids: Any) -> Any:
    """Fetch ids that are a tensor from a device that holds values; they are few."""
    return ids.cpu() if isinstance(ids, Tensor) and not ids.is_meta else ids


def positions_by_name(ids: NDArray[Any], n: int) -> dict[Any, int]:
    """Map the samples' names to their positions."""
    if ids.shape != (n,):
        msg = f"ids must have one name for each of the {n} samples, got shape {ids.shape}"
        raise ValueError(msg)
    positions = {each: position for position, each in enumerate(ids.tolist())}
    if len(positions) < n:
        msg = "ids must be unique: two samples share a name; pass None to use positions"
        raise ValueError(msg)
    return positions


def look_up(by_name: Mapping[Any, int], name: str, data: str, wanted: NDArray[Any]) -> NDArray[np.int64]:
    """Find the positions of the `wanted` names, which the argument `name` holds."""
    missing = [each for each in wanted.tolist() if each not in by_name]
    if missing:
        msg = f"{name} holds {missing[0]!r}, which is not among the ids of {data}"
        raise ValueError(msg)
    return np.array([by_name[each] for each in wanted.tolist()], dtype=np.int64)
