"""Removal of marked samples from a trained model (PUMA, Algorithm 1).

θ_mod = θ + η·d, d = Φ_mk − Φ_up, with Φ_mk = H⁻¹Σ_marked ∇L_k and Φ_up = H⁻¹Σ_j λ*_j ∇L_j (Eq. 11, 12;
the second loop of the printed algorithm says D_mk where D_up is meant). The weights λ* make up for what
the marked samples did for the criterion (Eq. 10), so that the criterion is predicted to move by
η·∇Cᵀd = η(b − Ψᵀλ*), b = Σ_marked ψ_k. Both sides are kept: they come by different roads.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch

from puma_fast.edit.length import checked_eta, longest, starting_eta
from puma_fast.edit.upweighted import choose_up
from puma_fast.score.handed_in import compare_roads
from puma_fast.score.unwrapped import copied

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray
    from torch import Tensor, nn

    from puma_fast.audit.report import RemovalReport
    from puma_fast.edit.upweighted import Up
    from puma_fast.edit.weighing import Weighing
    from puma_fast.numeric.reweight import WeightsInfo
    from puma_fast.score.criteria import Criteria
    from puma_fast.score.damping import Damping
    from puma_fast.score.influence import Influence
    from puma_fast.score.objective import Objective
    from puma_fast.score.solve import Solve

    Numbers = float | NDArray[np.float64]
    """A number for the one criterion, or (k,) for several."""


@dataclass(frozen=True, eq=False)
class Prediction:
    """A change of the criterion to first order, by the two roads of the identity.

    Attributes
    ----------
    by_patch : float, or ndarray of shape (k,)
        η·∇Cᵀd, from the change of the parameters.
    by_scores : float, or ndarray of shape (k,)
        η(b − Ψᵀλ), from the scores.
    """

    by_patch: Numbers
    by_scores: Numbers

    def scaled(self, factor: float) -> Prediction:
        """Give both roads times `factor`."""
        return Prediction(factor * self.by_patch, factor * self.by_scores)


@dataclass(frozen=True, eq=False)
class Direction:
    """A direction in parameter space with the change of the criterion that it promises per unit of η.

    Attributes
    ----------
    vector : Tensor of shape (p,), float64
        Added to the parameters, times η.
    slope : Prediction
        Predicted change of the criterion per unit of η.
    """

    vector: Tensor
    slope: Prediction


@dataclass(frozen=True, eq=False)
class Removal:
    """A removal of marked samples at one length η; nothing of the user's model is changed.

    Attributes
    ----------
    marked, up : ndarray of shape (m,) and (u,), int64
        Positions of the marked samples and of those that could be reweighted.
    psi_marked, psi_up : ndarray of shape (m,) and (u,), or (m, k) and (u, k), float64
        Their influences ψ on the criterion, or on k criteria.
    weights : ndarray of shape (u,), float64
        λ*, one for each sample of `up`.
    b : float, or ndarray of shape (k,)
        Σψ over the marked samples: what their removal costs the criterion per unit of η.
    eta : float
        η; 1/n is, to first order, a refit without the marked samples.
    n : int
        Number of training samples.
    reweighting : WeightsInfo or None
        Settings and certificate of the weights; None where nothing could be reweighted (``up=None``).
    damping : Damping
        What was added to the curvature, and why.
    solves : dict of str to Solve
        How the curvature solves ended, by stage.
    seconds : dict of str to float
        Seconds per stage of this call; what was known from an earlier one is named as kept, with 0.
    settings : dict
        What else was asked for (loss, weight decay, curvature, solver …), in plain numbers and words.
    direction, plain : Direction
        d = Φ_mk − Φ_up, and Φ_mk alone, the removal without reweighting.
    """

    marked: NDArray[np.int64]
    up: NDArray[np.int64]
    psi_marked: NDArray[np.float64]
    psi_up: NDArray[np.float64]
    weights: NDArray[np.float64]
    b: Numbers
    eta: float
    n: int
    reweighting: WeightsInfo | None
    damping: Damping
    solves: Mapping[str, Solve]
    seconds: Mapping[str, float]
    settings: Mapping[str, Any]
    direction: Direction
    plain: Direction
    _objective: Objective = field(repr=False)
    _version: object = field(repr=False)
    _audit: Callable[[Removal], RemovalReport] | None = field(default=None, repr=False)

    @property
    def delta(self) -> dict[str, Tensor]:
        """η·d by parameter name, float64, on the computing device."""
        with torch.inference_mode(False):
            return self._objective.layout.split(self.eta * self.direction.vector, cast=False)

    @property
    def predicted(self) -> Prediction:
        """The predicted change of the criterion."""
        return self.direction.slope.scaled(self.eta)

    @cached_property
    def model(self) -> nn.Module:
        """A patched copy of the model, in the mode and on the device of the original.

        It is made on first use, from the model as it is then, and kept.

        Raises
        ------
        RuntimeError
            The model was trained or changed between the removal and the first use.
        ValueError
            η takes the parameters out of their type's range.
        """
        # The user may look at it from under inference_mode, and train it later.
        with torch.inference_mode(False), torch.no_grad():
            parameters = self.patched(self.direction)
            if not all(bool(torch.isfinite(value).all()) for value in parameters.values()):
                msg = (
                    f"eta={self.eta:.3g} (eta*n = {self.eta * self.n:.3g} deletions) takes the parameters "
                    f"out of the range of their type; take a shorter patch, such as at({1 / self.n:.3g})"
                )
                raise ValueError(msg)
            model = copied(self._objective.model)
            for name, value in model.named_parameters():
                if name in parameters:
                    value.copy_(parameters[name])
        return model

    @cached_property
    def report(self) -> RemovalReport:
        """What was predicted beside what is measured; computed on first use."""
        if self._audit is None:
            msg = "this removal has no audit attached; make it with Puma.remove"
            raise AttributeError(msg)
        return self._audit(self)

    def at(self, eta: float) -> Removal:
        """Give the same direction at another η, without new work.

        Parameters
        ----------
        eta : float
            Finite, at least 0.

        Returns
        -------
        Removal
        """
        return replace(self, eta=checked_eta(eta), settings={**self.settings, "max_change": None})

    def patched(self, direction: Direction) -> dict[str, Tensor]:
        """Compute θ + η·direction by parameter name, in float64 and rounded once to the model's types."""
        objective = self._objective
        if objective.version != self._version:
            msg = "the model or its data were changed since this removal was computed; call remove again"
            raise RuntimeError(msg)
        return objective.layout.rounded(
            objective.layout.join(objective.parameters) + self.eta * direction.vector
        )

    def __deepcopy__(self, memo: dict[int, Any]) -> Removal:
        """Give this one: it is frozen, and of the model and data that it was computed from."""
        return self

    def __reduce__(self) -> Any:
        """Refuse to be pickled, for the model and data would have to come along."""
        msg = (
            "a Removal holds on to the model and data that it was computed from, and cannot be pickled; keep "
            "removal.model, removal.delta, removal.weights, or what removal.report.save(directory) writes"
        )
        raise TypeError(msg)

    def __repr__(self) -> str:
        """Summarise for people."""
        used = np.count_nonzero(self.weights)
        return (
            f"Removal of {len(self.marked)} of {self.n} samples at eta={self.eta:.3g} "
            f"(eta*n={self.eta * self.n:.3g}): b={_shown(self.b)}, {used} of {len(self.up)} samples "
            f"reweighted, predicted change of the criterion {_shown(self.predicted.by_patch)} "
            f"({_shown(self.eta * self.b)} without reweighting)"
        )


def remove(
    influence: Influence,
    criteria: Criteria,
    marked: NDArray[np.int64],
    *,
    eta: float | Literal["auto"] | None = None,
    max_change: float | None = None,
    up: Up = "rest",
    weighing: Weighing,
    scores: NDArray[np.float64] | None = None,
    seed: int = 0,
    n_threads: int | None = None,
) -> Removal:
    """Compute a removal: Algorithm 1 with exact weights and both curvature solves at full accuracy.

    Parameters
    ----------
    influence : Influence
        Scores and solves of the model.
    criteria : Criteria
        What is to be preserved.
    marked : ndarray of shape (m,), int64
        Positions of the samples to remove.
    scores : ndarray of shape (n,) or (n, k), optional
        Influences computed elsewhere, in the place of the model's own.
    weighing : Weighing
        Prices and bounds of the weights.
    eta, max_change, up, seed, n_threads
        See `Puma.remove`.

    Returns
    -------
    Removal
    """
    samples = influence.samples
    stages = influence.stages
    if len(marked) == samples.n:
        msg = f"ids mark all {samples.n} samples; at least one must stay, so leave some out"
        raise ValueError(msg)
    length, max_change = starting_eta(eta, max_change, samples.n)
    up_positions = choose_up(up, samples, influence.objective, marked, seed)
    weighing.check(None if up is None else len(up_positions))

    gradients = influence.gradients(criteria.each)
    if scores is None:
        psi_marked, psi_up = _own_scores(influence, criteria, marked, up_positions)
        blocks = influence.solves(criteria.each)
        solves = {
            "criterion" if i == 0 else f"criterion, block {i + 1}": each for i, each in enumerate(blocks)
        }
    else:
        psi_marked, psi_up, solves = scores[marked], scores[up_positions], {}
    b = _number(psi_marked.sum(0))
    weights, reweighting = np.zeros(len(up_positions)), None
    if up is not None:
        with stages("reweighting"):
            # Every rank solves for its own rows; what it takes to know of the others' is a few sums.
            own = slice(*samples.ranks.block(len(up_positions)))
            weights[own], reweighting = weighing.of(own).solve(
                psi_up[own], b, shard=samples.ranks.shard, n_threads=n_threads, progress=samples.progress
            )
            weights = samples.ranks.assembled(weights)
    with stages("gradient sums"):
        towards = influence.passes.gradient_sum(marked, np.ones(len(marked)))
        back = influence.passes.gradient_sum(up_positions, weights)
    with stages("marked solve"):
        solves["marked"] = influence.inverse(towards, stage="marked solve")

    def along(vector: Tensor) -> Numbers:
        return _number(criteria.shaped((gradients @ vector).cpu().numpy()))

    plain = Direction(solves["marked"].x, Prediction(along(solves["marked"].x), b))
    if scores is not None:
        compare_roads(plain.slope.by_patch, b, samples.n)
    direction = plain
    if weights.any():
        with stages("reweighted solve"):
            solves["reweighted"] = influence.inverse(back, stage="reweighted solve")
        vector = plain.vector - solves["reweighted"].x
        direction = Direction(vector, Prediction(along(vector), _number(b - weights @ psi_up)))
    removal = Removal(
        marked=marked,
        up=up_positions,
        psi_marked=psi_marked,
        psi_up=psi_up,
        weights=weights,
        b=b,
        eta=length,
        n=samples.n,
        reweighting=reweighting,
        damping=influence.damping,
        solves=solves,
        seconds=dict(stages),
        settings=influence.settings
        | {
            "seed": seed,
            "max_change": max_change,
            "scores": "computed here" if scores is None else "handed in",
        }
        | weighing.bounds,
        direction=direction,
        plain=plain,
        _objective=influence.objective,
        _version=influence.objective.version,
    )
    if max_change is None:
        return removal
    before = criteria.values(influence.objective, influence.objective.parameters)

    with stages("length"), samples.bar("length of the patch", unit="trial") as bar:

        def holds(eta: float) -> bool:
            there = criteria.values(influence.objective, replace(removal, eta=eta).patched(direction))
            bar.update()
            return bool((np.abs(there - before) <= max_change).all())

        eta = longest(holds, length)
    return replace(removal, eta=eta, seconds=dict(stages))


def _own_scores(
    influence: Influence, criteria: Criteria, marked: NDArray[np.int64], up: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Compute ψ of the marked samples and of those to be reweighted."""
    # Reweighting the rest asks for nearly every score, so all are computed, and kept for the next call.
    if len(marked) + len(up) == influence.samples.n:
        psi = criteria.shaped(influence.scores(criteria.each))
        return psi[marked], psi[up]
    psi = criteria.shaped(influence.scores(criteria.each, np.concatenate([marked, up])))
    return psi[: len(marked)], psi[len(marked) :]


def _number(values: Any) -> Numbers:
    """Give a vector as it is, and a single number as a float."""
    return float(values) if np.ndim(values) == 0 else np.asarray(values, dtype=np.float64)


def _shown(values: Numbers) -> str:
    return " ".join(f"{value:.3g}" for value in np.atleast_1d(values))
