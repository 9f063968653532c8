"""Influence of every training sample on a criterion: ψ_j = vᵀ∇L_j with v = H⁻¹∇C (PUMA, Eq. 9).

One gradient and one curvature solve for each criterion C, one forward-mode pass over the data for all of
them. ψ_j > 0: the sample helps; extra weight λ on it moves the criterion by −λψ_j/n (Eq. 8). What was
solved once is kept until the model is trained further.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch

from puma_fast.score.criteria import KEPT_CRITERIA
from puma_fast.score.curvature import Curvature, Kind
from puma_fast.score.damping import Damping, checked_damping, choose_damping
from puma_fast.score.passes import Passes
from puma_fast.score.solve import ConjugateGradient, Solve, Solver, solver_named
from puma_fast.stages import Stages
from puma_fast.warning import warn

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from torch import Tensor, nn

    from puma_fast.data import Samples
    from puma_fast.score.criteria import Criterion
    from puma_fast.score.objective import Objective

TOLERANCE_FLOAT64, TOLERANCE_FLOAT32 = 1e-10, 1e-5
"""Relative residual of the solves by default, by the type of the edited parameters."""


@dataclass
class _About:
    """What is known of one criterion; it is kept along, so that its id is not given to another one."""

    criterion: Criterion
    gradient: Tensor
    solved: tuple[Solve, Tensor] | None = None
    """The solve, of a block perhaps, and the direction v = H⁻¹∇C of this criterion in it."""


@dataclass
class _Kept:
    """What was computed for one state of the model's parameters."""

    version: object
    curvature: Curvature
    damping: Damping
    about: dict[int, _About] = field(default_factory=dict)
    solved: bool = False
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
        self._asked: dict[str, Any] = {
            "curvature": curvature,
            "solver": solver,
            "damping": damping,
            "tol": tol,
            "max_iter": max_iter,
        }
        self.max_products = max_iter
        self.objective = objective
        self.samples = samples
        self.passes = Passes(objective, samples)
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
    def asked_damping(self) -> float | str:
        """The damping as it was asked for."""
        return self._damping

    @property
    def damping(self) -> Damping:
        """The damping in use."""
        return self._current().damping

    def preflight(self) -> None:
        """Try one curvature product on the first samples, so that what torch cannot do is known now."""
        with self.objective.untouched(), self.objective.explained(self.samples) as batch:
            self._undamped.rehearse(batch)

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
            # Gradients know nothing of damping, and nothing has been solved yet.
            self._kept.about = kept.about
        kept.solved = True
        if solve.status != "solved":
            warn(
                f"the {stage} ended as {solve}; raise damping, tol or max_iter, or take solver='cg', "
                "if the report's two predictions differ"
            )
        return solve

    @property
    def curvature(self) -> Curvature:
        """The damped curvature at the parameters as they are now."""
        return self._current().curvature

    def of(self, model: nn.Module) -> Influence:
        """Give the same settings for another model of the same kind: an earlier checkpoint, say."""
        return Influence(self.objective.of(model), self.samples, **self._asked)

    def gradients(self, criteria: Sequence[Criterion]) -> Tensor:
        """Give ∇C of every criterion, float64 (k, p)."""
        current = self._kept is not None and self._kept.version == self.objective.version
        known = self._kept.about if self._kept is not None and current else {}
        unknown = [criterion for criterion in criteria if id(criterion) not in known]
        fresh = {}
        # Before the damping is chosen: a criterion that cannot be differentiated is refused early.
        if unknown:
            with self.stages("criterion gradient"):
                for criterion in unknown:
                    fresh[id(criterion)] = _About(criterion, criterion.gradient(self.objective))
        else:
            self.stages.kept("criterion gradient")
        kept = self._room(criteria)
        kept.update(fresh)
        return torch.stack([kept[id(criterion)].gradient for criterion in criteria])

    def solves(self, criteria: Sequence[Criterion]) -> list[Solve]:
        """Give the solves that v = H⁻¹∇C came from: those not known yet are one block."""
        self.gradients(criteria)
        known = self._known(criteria)
        unsolved = [each for each in known if each.solved is None]
        if unsolved:
            rhs = torch.stack([each.gradient for each in unsolved], dim=1)
            with self.stages("criterion solve"):
                solve = self.inverse(rhs[:, 0] if len(unsolved) == 1 else rhs, stage="criterion solve")
            for each, direction in zip(unsolved, solve.x.reshape(len(rhs), -1).T, strict=True):
                each.solved = solve, direction
        else:
            self.stages.kept("criterion solve")
        solves = [each.solved[0] for each in known if each.solved is not None]
        return list({id(solve): solve for solve in solves}.values())

    def directions(self, criteria: Sequence[Criterion]) -> Tensor:
        """Give v = H⁻¹∇C of every criterion, float64 (k, p)."""
        self.solves(criteria)
        return torch.stack([each.solved[1] for each in self._known(criteria) if each.solved is not None])

    def scores(
        self, criteria: Sequence[Criterion], positions: NDArray[np.int64] | None = None
    ) -> NDArray[np.float64]:
        """Compute ψ for every sample, or for those at `positions` in their order, one pass for all criteria.

        Returns
        -------
        ndarray of shape (n, k) or (m, k), float64
            In units of the criterion per unit of weight, times n.
        """
        directions = self.directions(criteria)
        kept = self._current().scores
        unknown = [place for place, criterion in enumerate(criteria) if id(criterion) not in kept]
        if unknown and positions is not None:
            return self._pass(directions, positions)
        if unknown:
            fresh = self._pass(directions[unknown], None)
            kept |= {id(criteria[place]): fresh[:, column] for column, place in enumerate(unknown)}
        else:
            self.stages.kept("scores")
        psi = np.stack([kept[id(criterion)] for criterion in criteria], axis=1)
        return psi if positions is None else psi[positions]

    def _pass(self, directions: Tensor, positions: NDArray[np.int64] | None) -> NDArray[np.float64]:
        psi = np.zeros((self.samples.n if positions is None else len(positions), len(directions)))
        with self.stages("scores"):
            for places, columns in self.passes.derivatives(directions, positions):
                psi[places] = columns
            return self.samples.ranks.assembled(psi)

    def _known(self, criteria: Sequence[Criterion]) -> list[_About]:
        about = self._current().about
        return [about[id(criterion)] for criterion in criteria]

    def _room(self, criteria: Sequence[Criterion]) -> dict[int, _About]:
        """Make room for `criteria` among what is kept; those of this call stay."""
        current = self._current()
        wanted = {id(criterion) for criterion in criteria}
        old = [key for key in current.about if key not in wanted]
        for key in old[: max(0, len(old) - max(0, KEPT_CRITERIA - len(wanted)))]:
            del current.about[key]
            current.scores.pop(key, None)
        return current.about

    def _current(self) -> _Kept:
        """Give what is kept for the parameters as they are now; training drops what was there."""
        version = self.objective.version
        if self._kept is None or self._kept.version != version:
            self._kept = None
            if self._damping != "auto":
                self._kept = self._damped(version, Damping(self._damping, "given"))
                return self._kept
            undamped = self._undamped
            with self.stages("damping"), self.samples.bar("damping", unit="product") as undamped.bar:
                damping, space = choose_damping(undamped)
            self._kept = self._damped(version, damping)
            if isinstance(self._solver, ConjugateGradient):
                self._solver.learn(self._kept.curvature, space.basis.T, space.images(damping.value))
        else:
            self.stages.kept("damping")
        return self._kept

    def _damped(self, version: object, damping: Damping) -> _Kept:
        """Begin anew with a damping."""
        curvature = Curvature(self.objective, self.samples, self._undamped.kind, damping.value)
        return _Kept(version, curvature, damping)
