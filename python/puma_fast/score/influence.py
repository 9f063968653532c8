"""Influence of every training sample on a criterion: ψ_j = vᵀ∇L_j with v = H⁻¹∇C (PUMA, Eq. 9).

One gradient of C, one curvature solve, one forward-mode pass over the data. ψ_j > 0: the sample helps;
extra weight λ on it moves the criterion by −λψ_j/n (Eq. 8). What was solved once is kept until the
model is trained further.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch

from puma_fast.score.curvature import Curvature, Kind
from puma_fast.score.damping import Damping as Damping
from puma_fast.score.damping import checked_damping, choose_damping
from puma_fast.score.solve import ConjugateGradient, Solve, Solver, solver_named
from puma_fast.stages import Stages

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from puma_fast.data import Samples
    from puma_fast.score.criteria import Criterion
    from puma_fast.score.objective import Objective

TOLERANCE_FLOAT64, TOLERANCE_FLOAT32 = 1e-10, 1e-5
"""Relative residual of the solves by default, by the type of the edited parameters."""

KEPT_CRITERIA = 8
"""Criteria whose solves and scores are kept, two vectors of p and one of n each."""


@dataclass
class _Kept:
    """What was computed for one state of the model's parameters."""

    version: object
    curvature: Curvature
    damping: Damping
    solved: bool = False
    directions: dict[int, tuple[Criterion, Tensor, Solve]] = field(default_factory=dict)
    scores: dict[int, NDArray[np.float64]] = field(default_factory=dict)


class Influence:
    """The solves and passes behind ψ, with their results kept per criterion.

    Parameters
    ----------
    objective : Objective
        Model and loss.
    samples : Samples
        The n training samples.
    curvature : {"ggn", "hessian", "fisher"}
        The matrix H, see `Curvature`.
    solver : {"cg", "nystrom", "lanczos", "lissa", "exact"} or Solver
        How H⁻¹ is applied, see `solver_named`.
    damping : float or "auto"
        Added to H. "auto": 1e-3 of the largest eigenvalue by Lanczos; with an indefinite Hessian also
        1.1 times the magnitude of the smallest, and more where a first solve shows that to be too little.
    tol : float, optional
        Relative residual of the solves; by default 1e-10 in float64 and 1e-5 where the model is float32.
    max_iter : int
        Curvature products per solve, at most.
    """

    def __init__(
        self,
        objective: Objective,
        samples: Samples,
        *,
        curvature: Kind = "ggn",
        solver: str | Solver = "cg",
        damping: float | Literal["auto"] = "auto",
        tol: float | None = None,
        max_iter: int = 1000,
    ) -> None:
        self.objective = objective
        self.samples = samples
        self.stages = Stages()
        self._undamped = Curvature(objective, samples, curvature)
        self._damping = checked_damping(damping)
        if tol is None:
            tol = TOLERANCE_FLOAT64 if objective.layout.is_double else TOLERANCE_FLOAT32
        self._solver = solver_named(solver, tol, max_iter)
        self._kept: _Kept | None = None

    @property
    def settings(self) -> dict[str, Any]:
        """What was asked for, in plain numbers and words, for reports."""
        return {
            "loss": self.objective.loss_name,
            "weight_decay": self.objective.weight_decay,
            "parameters": self.objective.layout.size,
            "parameter_names": list(self.objective.layout.names),
            "curvature": self._undamped.kind,
            "solver": type(self._solver).__name__,
            "tol": getattr(self._solver, "tol", None),
            "batch_size": self.samples.batch_size,
            "device": str(self.objective.device),
        }

    @property
    def damping(self) -> Damping:
        """The damping in use."""
        return self._current().damping

    def inverse(self, rhs: Tensor, *, stage: str) -> Solve:
        """Solve H·x = rhs for a float64 vector (p,), or for the columns of (p, m).

        Where ``damping="auto"`` left negative curvature it is raised, as long as nothing was solved under
        it: scores and patches of one model must be of one H.

        Raises
        ------
        ValueError
            H is not positive definite.
        """
        while True:
            kept = self._current()
            with self.samples.bar(stage, unit="product") as kept.curvature.bar:
                solve = self._solver.solve(kept.curvature, rhs)
            if solve.status != "negative_curvature":
                break
            raised = kept.damping.raised(min(solve.smallest_ritz, 0.0))
            if self._damping != "auto" or kept.solved:
                msg = (
                    f"damping={kept.damping.value:.3g} leaves the {kept.curvature.kind} curvature with an "
                    f"eigenvalue of {solve.smallest_ritz:.3g} or less, so it cannot be inverted; pass "
                    f"damping='auto', or more than {raised.value:.3g}"
                )
                raise ValueError(msg)
            self._kept = self._damped(kept.version, raised)
        kept.solved = True
        if solve.status != "solved":
            warnings.warn(
                f"the solve for the {stage} ended as {solve}; raise damping, tol or max_iter, or take "
                "solver='cg', if the report's two predictions differ",
                stacklevel=2,
            )
        return solve

    def direction(self, criterion: Criterion) -> tuple[Tensor, Solve]:
        """Give ∇C, float64 (p,), and the solve for v = H⁻¹∇C."""
        kept = self._current()
        if id(criterion) not in kept.directions:
            with self.stages("criterion gradient"):
                gradient = criterion.gradient(self.objective)
            with self.stages("criterion solve"):
                solve = self.inverse(gradient, stage="criterion solve")
            kept = self._current()
            # The criterion is kept along, so that its id is not given to another one.
            kept.directions[id(criterion)] = criterion, gradient, solve
            if len(kept.directions) > KEPT_CRITERIA:
                oldest = next(iter(kept.directions))
                del kept.directions[oldest]
                kept.scores.pop(oldest, None)
        _, gradient, solve = kept.directions[id(criterion)]
        return gradient, solve

    def scores(self, criterion: Criterion, positions: NDArray[np.int64] | None = None) -> NDArray[np.float64]:
        """Compute ψ for every sample, or for those at `positions` in their order.

        Returns
        -------
        ndarray of shape (n,) or (m,), float64
            In units of the criterion per unit of weight, times n.
        """
        _, solve = self.direction(criterion)
        kept = self._current().scores
        if id(criterion) in kept:
            every = kept[id(criterion)]
            return every.copy() if positions is None else every[positions]
        with self.stages("scores"):
            psi = self._pass(solve.x, positions)
        if positions is None:
            kept[id(criterion)] = psi.copy()
        return psi

    def gradient_sum(self, positions: NDArray[np.int64], weights: NDArray[np.float64]) -> Tensor:
        """Compute Σ w_i ∇L_i over the samples at `positions`, float64 (p,): one reverse pass.

        Samples of weight nought are not read.
        """
        used = weights != 0
        positions, weights = positions[used], weights[used]
        total = torch.zeros(self.objective.layout.size, dtype=torch.float64, device=self.objective.device)
        done = 0
        for where, batch in self.samples.batches(positions, description="gradients"):
            part = torch.from_numpy(weights[done : done + len(where)])
            total += self.objective.gradient(batch, part.to(self.objective.device))
            done += len(where)
        return total

    def _pass(self, direction: Tensor, positions: NDArray[np.int64] | None) -> NDArray[np.float64]:
        psi = np.empty(self.samples.n if positions is None else len(positions))
        done = 0
        for where, batch in self.samples.batches(positions, description="scores"):
            psi[done : done + len(where)] = (
                self.objective.derivatives(batch, direction).double().cpu().numpy()
            )
            done += len(where)
        return psi

    def _current(self) -> _Kept:
        """Give what is kept for the parameters as they are now; training drops what was there."""
        version = self.objective.version
        if self._kept is None or self._kept.version != version:
            if self._damping != "auto":
                self._kept = self._damped(version, Damping(self._damping, "given"))
                return self._kept
            undamped = self._undamped
            with self.stages("damping"), self.samples.bar("damping", unit="product") as undamped.bar:
                damping, space = choose_damping(undamped)
            self._kept = self._damped(version, damping)
            if isinstance(self._solver, ConjugateGradient):
                self._solver.learn(self._kept.curvature, space.basis.T, space.images(damping.value))
        return self._kept

    def _damped(self, version: object, damping: Damping) -> _Kept:
        """Begin anew with a damping."""
        curvature = Curvature(self.objective, self.samples, self._undamped.kind, damping.value)
        return _Kept(version, curvature, damping)
