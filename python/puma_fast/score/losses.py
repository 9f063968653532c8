"""Whatever a user calls the loss, as one function of outputs and targets that gives one number per sample."""

from __future__ import annotations

import copy
import inspect
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from torch import Tensor, broadcast_shapes, nn
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Callable

    Loss = str | nn.Module | Callable[..., Tensor]
    """A name in torch.nn.functional, a torch loss function or module, or a function giving (B,) losses."""

LOSSES = (
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "cross_entropy",
    "huber_loss",
    "l1_loss",
    "mse_loss",
    "nll_loss",
    "poisson_nll_loss",
    "smooth_l1_loss",
)
"""Losses known by their name in torch.nn.functional."""

_ELEMENTWISE = ("bce", "binary", "huber", "kldiv", "l1", "mse", "poisson", "smooth", "softmargin")
"""How the names of those torch losses begin that compare outputs and targets element by element."""

IGNORED = -100
"""Target of a position that carries no loss, torch's own default."""


class PerSample(NamedTuple):
    """A loss that gives one number per sample.

    Attributes
    ----------
    name : str
        For reports.
    is_torchs : bool
        Whether the name is that of a loss of torch, and not a namesake of the user's.
    is_by_row : bool
        Whether it is known that a sample's loss is a function of its own row of the outputs.
    function : callable
        ``function(outputs, targets) -> (B,)``.
    """

    name: str
    is_torchs: bool
    is_by_row: bool
    function: Callable[[Any, Any], Tensor]


def per_sample(loss: Loss) -> PerSample:
    """Turn whatever `loss` is into a function giving (B,)."""
    named, reduction = loss, None
    if isinstance(loss, str):
        if loss not in LOSSES:
            msg = f"loss: {loss!r} is not known; use one of {', '.join(LOSSES)}, or a function"
            raise ValueError(msg)
        name, function, reduction = loss, getattr(functional, loss), "mean"
        switched_off = {"reduction": "none"}
    elif isinstance(loss, nn.Module) and hasattr(loss, "reduction"):
        name, function, reduction = type(loss).__name__, copy.copy(loss), str(loss.reduction)
        function.reduction, switched_off = "none", {}  # type: ignore[assignment]
    elif callable(loss):
        while isinstance(named, partial):
            named = named.func
        name = getattr(named, "__name__", type(named).__name__)
        function, reduction = loss, _own_reduction(loss)
        switched_off = {} if reduction is None else {"reduction": "none"}
    else:
        msg = f"loss must be a name, a torch loss or a function, got {type(loss).__name__}"
        raise TypeError(msg)
    summed = reduction in (None, "sum", "batchmean")
    per_token = name in {"cross_entropy", "nll_loss", "CrossEntropyLoss", "NLLLoss"} or summed
    # A function of the user's own may be called huber, too, and compare what it likes.
    torchs = isinstance(loss, str) or str(getattr(named, "__module__", "")).startswith("torch.")
    elementwise = torchs and name.lower().replace("_", "").startswith(_ELEMENTWISE)

    by_class = torchs and name in {"cross_entropy", "nll_loss", "CrossEntropyLoss", "NLLLoss"}

    def losses(outputs: Any, targets: Any) -> Tensor:
        shapes = tuple(tuple(each.shape) for each in (outputs, targets) if isinstance(each, Tensor))
        if elementwise and len(set(shapes)) > 1:
            raise ValueError(_misfit(name, *shapes))
        if by_class and isinstance(outputs, Tensor) and isinstance(targets, Tensor):
            outputs = _classes_second(outputs, targets)
        values = function(outputs, targets, **switched_off)
        if not isinstance(values, Tensor) or values.ndim == 0:
            msg = (
                f"loss {name!r} gives one number for the whole batch; it must give one per sample, (B,): "
                "drop its final mean, or use a torch loss, whose reduction is switched off for you"
            )
            raise ValueError(msg)
        if values.ndim == 1:
            return values
        if isinstance(targets, Tensor):
            # (B, 1) outputs beside (B,) targets have been broadcast to (B, B); other shapes are a loss
            # of class probabilities, or of fewer positions than there are targets.
            if len(shapes) == 2 and values.shape != targets.shape and values.shape == _broadcast(*shapes):
                raise ValueError(_misfit(name, *shapes))
            if per_token and values.shape == targets.shape and not targets.is_floating_point():
                values = values.masked_fill(targets == IGNORED, 0.0)
        values = values.flatten(1)
        return values.sum(1) if per_token else values.mean(1)

    return PerSample(name, torchs, elementwise or by_class, losses)


def _classes_second(outputs: Tensor, targets: Tensor) -> Tensor:
    """Put the classes where torch wants them, (B, C, T), where language models have them last, (B, T, C)."""
    if outputs.ndim < 3 or targets.ndim != outputs.ndim - 1 or outputs.shape[:-1] != targets.shape:
        return outputs
    if (outputs.shape[0], *outputs.shape[2:]) == targets.shape:
        msg = (
            f"loss: in outputs of shape {tuple(outputs.shape)} the classes may come second or last; say "
            "which, by loss=lambda outputs, targets: cross_entropy(outputs.movedim(-1, 1), targets, "
            "reduction='none') or without the movedim"
        )
        raise ValueError(msg)
    return outputs.movedim(-1, 1)


def _broadcast(outputs: tuple[int, ...], targets: tuple[int, ...]) -> tuple[int, ...] | None:
    try:
        return tuple(broadcast_shapes(outputs, targets))  # type: ignore[no-untyped-call]
    except RuntimeError:
        return None


def _misfit(name: str, outputs: tuple[int, ...], targets: tuple[int, ...]) -> str:
    return (
        f"loss {name!r} compares outputs of shape {outputs} with targets of shape {targets}; make them "
        "equal, e.g. forward=lambda model, batch: model(batch[0]).squeeze(-1)"
    )


def _own_reduction(loss: Callable[..., Any]) -> str | None:
    """Give the reduction that a function takes unless told otherwise; None where it takes none."""
    try:
        takes = inspect.signature(loss).parameters.get("reduction")
    except (TypeError, ValueError):
        return None
    return None if takes is None else str(takes.default)
