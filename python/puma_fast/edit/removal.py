"""Removal of marked samples from a trained model (PUMA, Algorithm 1).

θ_mod = θ + η·d, d = Φ_mk − Φ_up, with Φ_mk = H⁻¹Σ_marked ∇L_k and Φ_up = H⁻¹Σ_j λ*_j ∇L_j (Eq. 11, 12;
the second loop of the printed algorithm says D_mk where D_up is meant). The weights λ* make up for what
the marked samples did for the criterion (Eq. 10), so that the criterion is predicted to move by
η·∇Cᵀd = η(b − Ψᵀλ*), b = Σ_marked ψ_k. Both sides are kept: they come by different roads.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from numbers import Real
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch

from puma_fast.edit.upweighted import choose_up
from puma_fast.numeric.reweight import solve_weights
from puma_fast.score.unwrapped import copied
from puma_fast.stages import Stages

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray
    from torch import Tensor, nn

    from puma_fast.audit.report import RemovalReport
    from puma_fast.edit.upweighted import Up
    from puma_fast.numeric.reweight import WeightsInfo
    from puma_fast.score.criteria import Criterion
    from puma_fast.score.influence import Damping, Influence
    from puma_fast.score.objective import Objective
    from puma_fast.score.solve import Solve


_LEAST_ETA = 1e-12
"""Where the search for η by a bound gives up and says 0: no length worth the name keeps the bound."""


@dataclass(frozen=True)
class Prediction:
    """A change of the criterion to first order, by the two roads of the identity.

    Attributes
    ----------
    by_patch : float
        η·∇Cᵀd, from the change of the parameters.
    by_scores : float
        η(b − Ψᵀλ), from the scores.
    """

    by_patch: float
    by_scores: float

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
    psi_marked, psi_up : ndarray of shape (m,) and (u,), float64
        Their influences ψ on the criterion.
    weights : ndarray of shape (u,), float64
        λ*, one for each sample of `up`.
    b : float
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
        Seconds per stage.
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
    b: float
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
        return self._objective.layout.split(self.eta * self.direction.vector, cast=False)

    @property
    def predicted(self) -> Prediction:
        """The predicted change of the criterion."""
        return self.direction.slope.scaled(self.eta)

    @cached_property
    def model(self) -> nn.Module:
        """A patched copy of the model, made on first use, in the mode and on the device of the original."""
        parameters = self.patched(self.direction)
        model = copied(self._objective.model)
        with torch.no_grad():
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

    def __repr__(self) -> str:
        """Summarise for people."""
        used = np.count_nonzero(self.weights)
        return (
            f"Removal of {len(self.marked)} of {self.n} samples at eta={self.eta:.3g} "
            f"(eta*n={self.eta * self.n:.3g}): b={self.b:.3g}, {used} of {len(self.up)} samples reweighted, "
            f"predicted change of the criterion {self.predicted.by_patch:.3g} "
            f"({self.eta * self.b:.3g} without reweighting)"
        )


def remove(
    influence: Influence,
    criterion: Criterion,
    marked: NDArray[np.int64],
    *,
    eta: float | Literal["auto"] | None = None,
    max_change: float | None = None,
    up: Up = "rest",
    l1: float = 0.0,
    l2: float | None = None,
    seed: int = 0,
    n_threads: int | None = None,
) -> Removal:
    """Compute a removal: Algorithm 1 with exact weights and both curvature solves at full accuracy.

    Parameters
    ----------
    influence : Influence
        Scores and solves of the model.
    criterion : Criterion
        What is to be preserved.
    marked : ndarray of shape (m,), int64
        Positions of the samples to remove.
    eta, max_change, up, l1, l2, seed, n_threads
        See `Puma.remove`.

    Returns
    -------
    Removal
    """
    samples, stages = influence.samples, Stages()
    if len(marked) == samples.n:
        msg = f"ids mark all {samples.n} samples; at least one must stay, so leave some out"
        raise ValueError(msg)
    if up is None and (l1 != 0 or l2 is not None):
        msg = (
            f"l1={l1!r} and l2={l2!r} price weights, of which up=None has none; "
            "leave them out or pass up='rest'"
        )
        raise ValueError(msg)
    for name, price in (("l1", l1), ("l2", l2)):
        if price is not None and not price >= 0:
            msg = f"{name} must be a number, at least 0, got {price!r}; leave it out for its default"
            raise ValueError(msg)
    length = _starting_eta(eta, max_change, samples.n)
    up_positions = choose_up(up, samples, influence.objective, marked, seed)

    gradient, criterion_solve = influence.direction(criterion)
    # Reweighting the rest asks for nearly every score, so all are computed, and kept for the next call.
    whole = len(marked) + len(up_positions) == samples.n
    psi = influence.scores(criterion, None if whole else np.concatenate([marked, up_positions]))
    psi_marked, psi_up = (
        (psi[marked], psi[up_positions]) if whole else (psi[: len(marked)], psi[len(marked) :])
    )
    b = float(psi_marked.sum())
    weights, reweighting = np.zeros(len(up_positions)), None
    if up is not None:
        with stages("reweighting"):
            solved, reweighting = solve_weights(
                psi_up, target=b, l1=l1, l2=l2, n_threads=n_threads, return_info=True
            )
            weights = solved.astype(np.float64, copy=False)
    with stages("gradient sums"):
        towards = influence.gradient_sum(marked, np.ones(len(marked)))
        back = influence.gradient_sum(up_positions, weights)
    with stages("marked solve"):
        solves = {"criterion": criterion_solve, "marked": influence.inverse(towards, stage="marked solve")}
    plain = Direction(solves["marked"].x, Prediction(float(gradient @ solves["marked"].x), b))
    direction = plain
    if weights.any():
        with stages("reweighted solve"):
            solves["reweighted"] = influence.inverse(back, stage="reweighted solve")
        vector = plain.vector - solves["reweighted"].x
        direction = Direction(vector, Prediction(float(gradient @ vector), b - float(weights @ psi_up)))
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
        seconds={**influence.stages, **stages},
        settings=influence.settings | {"seed": seed, "max_change": max_change},
        direction=direction,
        plain=plain,
        _objective=influence.objective,
        _version=influence.objective.version,
    )
    if max_change is None:
        return removal
    return replace(_within(removal, criterion, max_change), settings=removal.settings)


def checked_eta(eta: float) -> float:
    """Refuse an η that is not a finite number of at least nought."""
    if not (isinstance(eta, Real) and 0 <= eta < float("inf")):
        msg = (
            "eta must be a finite number, at least 0 (1/n is one deletion), or 'auto' with max_change, "
            f"got {eta!r}"
        )
        raise ValueError(msg)
    return float(eta)


def _starting_eta(eta: float | Literal["auto"] | None, max_change: float | None, n: int) -> float:
    if (eta == "auto") != (max_change is not None):
        msg = f"eta='auto' and max_change go together, got eta={eta!r} and max_change={max_change!r}"
        raise ValueError(msg)
    if max_change is not None and not 0 < max_change < float("inf"):
        msg = f"max_change must be a positive change of the criterion, got {max_change!r}"
        raise ValueError(msg)
    return 1 / n if eta is None or eta == "auto" else checked_eta(eta)


def _within(removal: Removal, criterion: Criterion, max_change: float) -> Removal:
    """Find the largest η ≤ 1, to 5 %, up to which the criterion is seen to move by at most `max_change`.

    η grows from 1/n by doubling and is then bisected: every length up to the one returned that was
    tried kept the bound (δ of Eq. 2), the next ones tried did not.
    """
    objective = removal._objective
    start = criterion.value(objective, objective.parameters)

    def holds(eta: float) -> bool:
        there = removal.at(eta)
        return abs(criterion.value(objective, there.patched(there.direction)) - start) <= max_change

    low, high = 0.0, min(removal.eta, 1.0)
    while holds(high):
        if high == 1.0:
            return removal.at(1.0)
        low, high = high, min(2 * high, 1.0)
    # Where not even one deletion is within the bound, the way leads down.
    while low == 0.0 and high > _LEAST_ETA:
        low, high = (high / 2, high) if holds(high / 2) else (0.0, high / 2)
    while low > 0.0 and high > 1.05 * low:
        middle = (low * high) ** 0.5
        low, high = (middle, high) if holds(middle) else (low, middle)
    return removal.at(low)
