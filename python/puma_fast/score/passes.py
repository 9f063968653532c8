"""The passes over the training data that scores and patches are made of.

Forward mode gives vᵀ∇L_j of every sample for any number of directions v at the price of a few
evaluations each; reverse mode gives weighted sums of gradients. Gradients of single samples are formed
only for those who ask for them, a chunk at a time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.func import grad, vmap

from puma_fast import sweep
from puma_fast.batches import map_tensors
from puma_fast.score.forward import one_by_one

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    import numpy as np
    from numpy.typing import NDArray

    from puma_fast.data import Samples
    from puma_fast.score.objective import Objective

TANGENTS_AT_ONCE = 4
"""Directions that share one evaluation of the model. Four cost as much as two alone, on an MLP and on a
small CNN; eight took the CNN out of the cache and cost more than eight alone. Memory grows along."""

_GRADIENT_NUMBERS = 2**26
"""Numbers in a chunk of per-sample gradients, at most (but for one sample): 256 MB in float32."""


class Passes:
    """Passes over one data set with one model.

    Parameters
    ----------
    objective : Objective
        Model and loss.
    samples : Samples
        The training data.
    """

    def __init__(self, objective: Objective, samples: Samples) -> None:
        self.objective = objective
        self.samples = samples
        self._shares_evaluations = True
        self._maps_samples = True

    def derivatives(
        self, directions: Tensor, positions: NDArray[np.int64] | None = None
    ) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float64]]]:
        """Give directionᵀ∇L_j, batch by batch, in one pass of forward mode.

        Parameters
        ----------
        directions : Tensor of shape (k, p), float64
            The directions.
        positions : ndarray of shape (m,), int64, optional
            By default every sample.

        Yields
        ------
        places : ndarray of shape (B,), int64
            Where the batch's samples stand in `positions`; those of the other ranks are theirs to give.
        derivatives : ndarray of shape (B, k), float64
        """

        def columns(_: NDArray[np.int64], batch: Any) -> Tensor:
            return self._columns(batch, directions).T

        for places, rows in sweep.results(self.samples, columns, positions, description="scores"):
            yield places, rows.double().cpu().numpy()

    def gradient_sum(self, positions: NDArray[np.int64], weights: NDArray[np.float64]) -> Tensor:
        """Compute Σ w_i ∇L_i over the samples at `positions`, float64 (p,): one reverse pass.

        Samples of weight nought are not read.
        """
        used = weights != 0
        positions, weights = positions[used], weights[used]
        objective = self.objective

        def weighted(places: NDArray[np.int64], batch: Any) -> Tensor:
            return objective.gradient(batch, torch.from_numpy(weights[places]).to(objective.device))

        nought = torch.zeros(objective.layout.size, dtype=torch.float64, device=objective.device)
        return sweep.total(self.samples, weighted, nought, positions, description="gradients")

    def gradients(
        self, positions: NDArray[np.int64], *, chunk: int | None = None
    ) -> Iterator[tuple[NDArray[np.int64], Tensor]]:
        """Give ∇L_j of single samples, a chunk at a time.

        Parameters
        ----------
        positions : ndarray of shape (m,), int64
            The samples.
        chunk : int, optional
            Samples at once; by default a batch, or fewer where their gradients would take over 256 MB.

        Yields
        ------
        positions : ndarray of shape (B,), int64
        gradients : Tensor of shape (B, p)
            In the type of the parameters, on the computing device.
        """
        fitting = chunk or max(1, _GRADIENT_NUMBERS // self.objective.layout.size)
        done = 0
        while self._maps_samples and done < len(positions):
            at_least = -(-(len(positions) - done) // fitting)
            for where, batch in self.samples.batches(
                positions[done:], at_least=at_least, description="gradients of samples"
            ):
                try:
                    mapped = self._mapped(batch)
                except (NotImplementedError, RuntimeError, ValueError) as error:
                    self._maps_samples = False
                    one_by_one("the samples of a batch", error)
                    break
                yield where, mapped
                done += len(where)
        rest = positions[done:]
        for where, batch in self.samples.batches(
            rest, at_least=len(rest) or 1, description="gradients of samples"
        ):
            gradient = self.objective.gradient(batch)[None]
            yield where, gradient if self.objective.layout.is_double else gradient.float()

    def _columns(self, batch: Any, directions: Tensor) -> Tensor:
        """Give the derivatives in each direction, (k, B)."""
        objective = self.objective
        together = self._shares_evaluations and len(directions) > 1 and objective.forward.missing is None
        if together:
            try:
                chunks = torch.split(directions, TANGENTS_AT_ONCE)
                return torch.cat([objective.derivatives(batch, some) for some in chunks])
            except (NotImplementedError, RuntimeError, ValueError) as error:
                self._shares_evaluations = False
                one_by_one("several directions", error)
        return torch.stack([objective.derivatives(batch, direction) for direction in directions])

    def _mapped(self, batch: Any) -> Tensor:
        """Give ∇L_j for every sample of a batch, (B, p), by one vectorised reverse pass."""
        objective = self.objective
        leaves: list[Tensor] = []

        def keep(tensor: Tensor) -> Tensor:
            leaves.append(tensor)
            return tensor

        map_tensors(keep, batch)

        def loss(at: Mapping[str, Tensor], *rows: Tensor) -> Tensor:
            row = iter(rows)
            return objective.losses(at, map_tensors(lambda _: next(row)[None], batch)).sum()

        per_sample: Callable[..., Mapping[str, Tensor]] = vmap(
            grad(loss), in_dims=(None, *([0] * len(leaves)))
        )
        rows = per_sample(objective.parameters, *leaves)
        return torch.cat([rows[name].detach().flatten(1) for name in objective.layout.names], dim=1)
