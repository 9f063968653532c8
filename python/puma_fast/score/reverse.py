"""Reverse mode by torch's autograd itself, on nested values.

torch.func's `grad` and `vjp` give the same numbers, but load torch's compiler on their first call, and
`torch.autograd.grad` loads its symbolic shapes once it is given weights: seconds of a process that asks for
an influence once. torch.func stays where samples are mapped over (`passes`).
"""

from __future__ import annotations

from itertools import repeat
from typing import TYPE_CHECKING, Any

import torch
from torch.autograd import grad

from puma_fast.batches import map_tensors

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from torch import Tensor


def leaves(values: Any) -> Any:
    """Give the same values as points to differentiate at, without what led to them."""
    return map_tensors(lambda value: value.detach().requires_grad_(value.is_floating_point()), values)


def detached(values: Any) -> Any:
    """Give the same values without what led to them."""
    return map_tensors(torch.Tensor.detach, values)


def tensors(values: Any) -> tuple[Tensor, ...]:
    """Give every tensor of nested values, in their order."""
    found: list[Tensor] = []

    def keep(value: Tensor) -> Tensor:
        found.append(value)
        return value

    map_tensors(keep, values)
    return tuple(found)


def slopes(values: Any, at: Any, *, create_graph: bool = False) -> Any:
    """Give the gradient of the sum of `values` in what they were computed from, nested like that."""
    return pulled_back(values, at, map_tensors(torch.ones_like, values), create_graph=create_graph)


def pulled_back(values: Any, at: Any, weights: Any, *, several: bool = False, **graph: bool) -> Any:
    """Give the gradient of Σ⟨values, weights⟩ in what they were computed from, nested like that.

    With `several`, weights and gradients have one more axis, the first, for so many such sums.
    """
    parts = pulled(tensors(values), tensors(at), tensors(weights), several=several, **graph)
    found = iter(parts)
    return map_tensors(lambda _: next(found), at)


def pulled(
    outputs: Sequence[Tensor],
    inputs: Sequence[Tensor],
    weights: Sequence[Tensor],
    *,
    create_graph: bool = False,
    retain_graph: bool | None = None,
    several: bool = False,
) -> tuple[Tensor, ...]:
    """Give the same for sequences of tensors; nought in what nothing came from, or is no real number."""
    led = [pair for pair in zip(outputs, weights, strict=True) if pair[0].requires_grad]
    wanted = [at for at in inputs if at.requires_grad]
    found: Iterator[Tensor | None] = repeat(None)
    if led and wanted:
        ends, starts = zip(*led, strict=True)
        given: tuple[Tensor, ...] | None = starts
        if not several:
            with torch.enable_grad():
                ends, given = (_Weighted.apply(starts, *ends),), None
        found = iter(
            grad(
                ends,
                wanted,
                given,
                retain_graph=retain_graph,
                create_graph=create_graph,
                is_grads_batched=several,
                allow_unused=True,
            )
        )
    count = (len(weights[0]),) if several else ()
    gradients = ((at, next(found) if at.requires_grad else None) for at in inputs)
    return tuple(at.new_zeros((*count, *at.shape)) if each is None else each for at, each in gradients)


class _Weighted(torch.autograd.Function):
    """What Σ⟨values, weights⟩ is to a backward pass, without its value, which nobody asks for."""

    @staticmethod
    def forward(ctx: Any, weights: Sequence[Tensor], *values: Tensor) -> Tensor:
        ctx.weights = weights
        return values[0].new_zeros(())

    @staticmethod
    def backward(ctx: Any, *_: Tensor) -> tuple[Tensor | None, ...]:
        return None, *ctx.weights
