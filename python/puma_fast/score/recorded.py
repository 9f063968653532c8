"""Curvature products of one batch as walks of graphs that are made once.

A solve multiplies tens of vectors by the curvature at one θ. What depends on θ alone, the activations and
the slopes, is evaluated once and stays in graphs of torch's autograd; a product walks them, and no layer
of the model is called again. Forward mode is not needed: Jᵀu is linear in u, so J·t is the gradient of
(Jᵀu)ᵀt in u.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.autograd import grad
from torch.autograd.graph import saved_tensors_hooks

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from puma_fast.score.objective import Objective


class TooLargeError(Exception):
    """Graphs that would hold more than they may."""


class Recorded:
    """Σ_i H_i·t over a batch as a function of t; `Curvature` says what the kinds of H_i are.

    Parameters
    ----------
    objective : Objective
        What is differentiated.
    batch
        The samples.
    kind : {"ggn", "hessian", "fisher"}
        Which matrix.
    room : int
        Bytes that the graphs may hold beside the model.

    Attributes
    ----------
    nbytes : int
        Bytes that they do hold.

    Raises
    ------
    TooLargeError
        They would hold more.
    TypeError
        The outputs are not one tensor.
    """

    def __init__(self, objective: Objective, batch: Any, kind: str, room: int) -> None:
        at = {name: value.requires_grad_() for name, value in objective.parameters.items()}
        leaves = tuple(at.values())
        held = _Held(room, objective.state.values())
        with torch.enable_grad(), saved_tensors_hooks(held.save, _Held.give):
            if kind == "hessian":
                losses = objective.losses(at, batch)
                slopes = _pulled((losses,), leaves, (torch.ones_like(losses),), create_graph=True)
                # The Hessian is its own transpose.
                steps = [(slopes, leaves)]
            elif kind == "fisher":
                losses = objective.losses(at, batch)
                steps = [_jacobian(losses, leaves), ((losses,), leaves)]
            else:
                outputs = objective.outputs(at, batch)
                if not isinstance(outputs, Tensor):
                    msg = f"outputs are a {type(outputs).__name__}"
                    raise TypeError(msg)
                there = outputs.detach().requires_grad_()
                loss = objective.losses_of(there, batch).sum()
                slope = _pulled((loss,), (there,), (torch.ones_like(loss),), create_graph=True)
                steps = [_jacobian(outputs, leaves), (slope, (there,)), ((outputs,), leaves)]
        self._names, self._steps = list(at), steps
        self.nbytes = held.nbytes

    def __call__(self, tangent: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Multiply a vector, given as named tensors."""
        moved: Sequence[Tensor] = [tangent[name] for name in self._names]
        for outputs, inputs in self._steps:
            moved = _pulled(outputs, inputs, moved)
        return dict(zip(self._names, moved, strict=True))


def _jacobian(values: Tensor, leaves: tuple[Tensor, ...]) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    """Give Jᵀu and u: pulled back through them, a tangent t becomes J·t."""
    u = torch.zeros_like(values, requires_grad=True)
    return _pulled((values,), leaves, (u,), create_graph=True), (u,)


def _pulled(
    outputs: Sequence[Tensor],
    inputs: Sequence[Tensor],
    weights: Sequence[Tensor],
    *,
    create_graph: bool = False,
) -> tuple[Tensor, ...]:
    """Give the gradient of Σ⟨outputs, weights⟩ in the inputs, nought where nothing leads to them."""
    led = [pair for pair in zip(outputs, weights, strict=True) if pair[0].requires_grad]
    if not led:
        return tuple(map(torch.zeros_like, inputs))
    ends, starts = zip(*led, strict=True)
    return grad(ends, inputs, starts, retain_graph=True, create_graph=create_graph, materialize_grads=True)


class _Held:
    """Counts what graphs hold, each tensor once, and stops their making where it is too much."""

    def __init__(self, room: int, free: Iterable[Tensor]) -> None:
        self._room, self.nbytes = room, 0
        self._seen = {(tensor.data_ptr(), tensor.nbytes) for tensor in free}

    def save(self, tensor: Tensor) -> Tensor:
        """Count a tensor that a graph is about to hold."""
        # A transposed view of a weight is the weight.
        key = tensor.data_ptr(), tensor.nbytes
        if key not in self._seen:
            self._seen.add(key)
            self.nbytes += tensor.nbytes
            if self.nbytes > self._room:
                raise TooLargeError
        return tensor

    @staticmethod
    def give(tensor: Tensor) -> Tensor:
        """Hand a tensor back to a walk."""
        return tensor
