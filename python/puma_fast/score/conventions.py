"""How a batch is used where the user does not say: what goes into the model, and what is the target."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from torch import Tensor
from torch.utils._pytree import tree_leaves

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import nn

TARGET_KEYS = ("labels", "label", "y")


def default_targets(batch: Any) -> Any:
    """Take the last item of a tuple, or the key labels, label or y."""
    if isinstance(batch, Mapping):
        for key in TARGET_KEYS:
            if key in batch:
                return batch[key]
        msg = (
            f"targets: the batch has the keys {sorted(batch)}, none of {TARGET_KEYS}; "
            "pass targets=lambda batch: …"
        )
        raise ValueError(msg)
    if isinstance(batch, (tuple, list)) and len(batch) > 1:
        return batch[-1]
    msg = f"targets: a batch of type {type(batch).__name__} has no second item; pass targets=lambda batch: …"
    raise ValueError(msg)


def default_forward(model: nn.Module, batch: Any, targets: Callable[[Any], Any]) -> Any:
    """Call the model with the first item of a tuple, or with every key of a mapping but the targets."""
    if isinstance(batch, Mapping):
        outputs = model(**_but(batch, targets(batch)))
    else:
        outputs = model(batch[0] if isinstance(batch, (tuple, list)) else batch)
    return getattr(outputs, "logits", outputs)


def refuse_more_than_pairs(name: str, batch: Any) -> None:
    """Refuse tuples of which items would go unused without a word."""
    if isinstance(batch, (tuple, list)) and len(batch) > 2:
        msg = (
            f"{name} gives batches of {len(batch)} items, of which only the first and the last would be "
            "used; say how, e.g. forward=lambda model, batch: model(batch[0], batch[1])"
        )
        raise ValueError(msg)


def refuse_constants(outputs: Any) -> None:
    """Refuse outputs that are not all real numbers."""
    for leaf in tree_leaves(outputs):
        if not (isinstance(leaf, Tensor) and leaf.is_floating_point()):
            kind = f"tensor of {leaf.dtype}" if isinstance(leaf, Tensor) else type(leaf).__name__
            msg = (
                f"the model's outputs hold a {kind}, which is not differentiated; give the loss only the "
                "floating-point tensors that it reads, in tuples, lists or dicts, e.g. "
                "forward=lambda model, batch: model(batch[0])['logits']"
            )
            raise TypeError(msg)


def _but(batch: Mapping[str, Any], targets: Any) -> dict[str, Any]:
    """Leave out of a batch what `targets` was made of, known by being the same objects."""
    parts = targets.values() if isinstance(targets, Mapping) else targets
    parts = list(parts) if isinstance(targets, (Mapping, tuple, list)) else [targets]
    gone = {id(part) for part in parts}
    return {key: value for key, value in batch.items() if id(value) not in gone}
