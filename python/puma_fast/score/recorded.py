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
from torch.autograd.graph import saved_tensors_hooks

from puma_fast.score.reverse import leaves, pulled, tensors

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from puma_fast.score.objective import Objective

    _Tensors = tuple[Tensor, ...]


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
    """

    def __init__(self, objective: Objective, batch: Any, kind: str, room: int) -> None:
        at = leaves(objective.parameters)
        points = tuple(at.values())
        held = _Held(room, objective.state.values())
        with torch.enable_grad(), saved_tensors_hooks(held.save, _Held.give):
            if kind == "hessian":
                losses = objective.losses(at, batch)
                slopes = pulled((losses,), points, (torch.ones_like(losses),), create_graph=True)
                # The Hessian is its own transpose.
                steps = [(slopes, points)]
            elif kind == "fisher":
                losses = objective.losses(at, batch)
                steps = [_jacobian((losses,), points), ((losses,), points)]
            else:
                outputs = objective.outputs(at, batch)
                there = leaves(outputs)
                loss = objective.losses_of(there, batch).sum()
                values, places = tensors(outputs), tensors(there)
                slope = pulled((loss,), places, (torch.ones_like(loss),), create_graph=True)
                steps = [_jacobian(values, points), (slope, places), (values, points)]
        self._names, self._steps = list(at), steps
        self.nbytes = held.nbytes

    def __call__(self, tangent: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Multiply a vector, given as named tensors."""
        moved: Sequence[Tensor] = [tangent[name] for name in self._names]
        for outputs, inputs in self._steps:
            moved = pulled(outputs, inputs, moved, retain_graph=True)
        return dict(zip(self._names, moved, strict=True))


def _jacobian(values: _Tensors, points: _Tensors) -> tuple[_Tensors, _Tensors]:
    """Give Jᵀu and u: pulled back through them, a tangent t becomes J·t."""
    u = tuple(torch.zeros_like(value, requires_grad=value.requires_grad) for value in values)
    return pulled(values, points, u, create_graph=True), u


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
