"""Influence of every training sample on a criterion: ψ_j = vᵀ∇L_j with v = H⁻¹∇C (PUMA, Eq. 9).

One gradient of C, one curvature solve, one forward-mode pass over the data. ψ_j > 0: the sample helps;
extra weight λ on it moves the criterion by −λψ_j/n (Eq. 8). What was solved once is kept until the
model is trained further.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from numbers import Real
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch

from puma_fast.numeric.arrays import as_count
from puma_fast.score.curvature import Curvature, Kind
from puma_fast.score.solve import ConjugateGradient, Exact, Solve, Solver, extreme_eigenvalues
from puma_fast.stages import Stages
from puma_fast.warning import warn

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from puma_fast.data import Samples
    from puma_fast.score.criteria import Criterion
    from puma_fast.score.objective import Objective

RELATIVE_DAMPING = 1e-3
"""Automatic damping as a part of the largest eigenvalue: the condition number is at most its inverse."""

TOLERANCE_FLOAT64, TOLERANCE_FLOAT32 = 1e-10, 1e-5
"""Relative residual of the solves by default, by the type of the edited parameters."""

SOLVERS = ("cg", "exact")

KEPT_CRITERIA = 8
"""Criteria whose solves and scores are kept, two vectors of p and one of n each."""


@dataclass(frozen=True)
class Damping:
    """What was added to the curvature's diagonal, and why.

    Attributes
    ----------
    value : float
        The damping.
    reason : str
        ``"given"``, or how it was chosen.
    """

    value: float
    reason: str


@dataclass
class _Kept:
    """What was computed for one state of the model's parameters."""

    version: object
    curvature: Curvature
    damping: Damping
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
    curvature : {"ggn", "hessian"}
        The matrix H, see `Curvature`.
    solver : {"cg", "exact"} or Solver
        How H⁻¹ is applied.
    damping : float or "auto"
        Added to H. "auto": 1e-3 of the largest eigenvalue by Lanczos; with an indefinite Hessian also
        1.1 times the magnitude of the smallest.
    tol : float, optional
        Relative residual of the solves; by default 1e-10 in float64 and 1e-5 where the model is float32.
    max_iterations : int
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
        max_iterations: int = 1000,
    ) -> None:
        if damping != "auto" and not (isinstance(damping, Real) and 0 <= damping < float("inf")):
            msg = f"damping must be 'auto' or a finite number, at least 0, got {damping!r}"
            raise ValueError(msg)
        self.objective = objective
        self.samples = samples
        self.stages = Stages()
        self._undamped = Curvature(objective, samples, curvature)
        self._damping: float | Literal["auto"] = damping
        if tol is None:
            tol = TOLERANCE_FLOAT64 if objective.layout.is_double else TOLERANCE_FLOAT32
        self._solver = _solver(solver, tol, max_iterations)
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

    def preflight(self) -> None:
        """Try one curvature product on the first samples, so that what torch cannot do is known now."""
        objective = self.objective
        few = Curvature(objective, self.samples.head(2), self._undamped.kind)
        ones = torch.ones(objective.layout.size, dtype=torch.float64, device=objective.device)
        with objective.untouched(), objective.explained(self.samples):
            _ = few @ ones

    def inverse(self, rhs: Tensor, *, stage: str) -> Solve:
        """Solve H·x = rhs for a float64 vector (p,).

        Raises
        ------
        ValueError
            H is not positive definite.
        """
        curvature = self._current().curvature
        with self.samples.bar(stage, unit="product") as curvature.bar:
            solve = self._solver.solve(curvature, rhs)
        if solve.status == "negative_curvature":
            lowest = min(solve.smallest_ritz, 0.0)
            msg = (
                f"damping={curvature.damping:.3g} leaves the {curvature.kind} curvature with an eigenvalue "
                f"of {solve.smallest_ritz:.3g} or less, so it cannot be inverted; pass damping='auto', "
                f"or more than {curvature.damping - 2 * lowest:.3g}"
            )
            raise ValueError(msg)
        if solve.status != "solved":
            warn(
                f"the solve for the {stage} ended as {solve}; raise damping, tol or max_iterations "
                "if the report's two predictions differ"
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
            with self.stages("damping"):
                damping = self._choose_damping()
            undamped = self._undamped
            damped = Curvature(self.objective, self.samples, undamped.kind, damping.value)
            self._kept = _Kept(version, damped, damping)
        return self._kept

    def _choose_damping(self) -> Damping:
        if self._damping != "auto":
            return Damping(float(self._damping), "given")
        with self.samples.bar("damping", unit="product") as self._undamped.bar:
            smallest, largest = extreme_eigenvalues(self._undamped, device=self.objective.device)
        if largest <= 0.0:
            msg = (
                f"curvature={self._undamped.kind!r} is nought in every direction: the loss is linear in what "
                "it is given (log-probabilities with nll_loss, say). Let the model return logits and use "
                "cross_entropy, or pass curvature='hessian', or a damping"
            )
            raise ValueError(msg)
        reason = f"{RELATIVE_DAMPING:g} of the largest eigenvalue {largest:.3g} (Lanczos)"
        value = RELATIVE_DAMPING * largest
        # Rounding alone puts the smallest Ritz value of a singular matrix a little below nought.
        if smallest < -1e-6 * largest:
            value -= 1.1 * smallest
            reason += f" and 1.1 of the smallest, {smallest:.3g}"
        return Damping(value, reason)


def _solver(solver: str | Solver, tol: float, max_iterations: int) -> Solver:
    if not isinstance(solver, str):
        if not callable(getattr(solver, "solve", None)):
            msg = f"solver must be one of {', '.join(SOLVERS)}, or have solve(operator, rhs), got {solver!r}"
            raise TypeError(msg)
        return solver
    if not (isinstance(tol, Real) and 0 < tol < 1):
        msg = f"tol must lie between 0 and 1, got {tol!r}"
        raise ValueError(msg)
    max_iterations = as_count("max_iterations", max_iterations, least=1)
    if solver not in SOLVERS:
        msg = f"solver must be one of {', '.join(SOLVERS)}, or have solve(operator, rhs), got {solver!r}"
        raise ValueError(msg)
    return ConjugateGradient(tol, max_iterations) if solver == "cg" else Exact()
