"""One model, measured: everything that is claimed of an edit is a difference of two of these."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from puma_fast.audit.membership import ThresholdAttack, threshold_attack
from puma_fast.score.confidence import Predictions, predict

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray
    from torch import Tensor

    from puma_fast.data import Samples
    from puma_fast.score.criteria import Criteria
    from puma_fast.score.objective import Objective


@dataclass(frozen=True, eq=False)
class Measurement:
    """One model, measured.

    Attributes
    ----------
    criterion : float, or ndarray of shape (k,)
        C.
    accuracy : float or None
        On the held-out data, or on the training data where none are held out; None outside classification.
    marked : Predictions
        Of the marked samples.
    others : Predictions or None
        Of the held-out samples.
    attack : ThresholdAttack or None
        Marked samples against held-out ones by confidence, by negative loss where there is none.
    """

    criterion: float | NDArray[np.float64]
    accuracy: float | None
    marked: Predictions
    others: Predictions | None
    attack: ThresholdAttack | None

    @property
    def marked_confidence(self) -> float | None:
        """Mean confidence in the true label of the marked samples."""
        confidence = self.marked.confidence
        return None if confidence is None else float(confidence.mean())

    def numbers(self) -> dict[str, Any]:
        """Give the figures without the samples' own."""
        return {
            "criterion": self.criterion,
            "accuracy": self.accuracy,
            "marked_confidence": self.marked_confidence,
            "marked_loss": float(self.marked.loss.mean()),
            "membership_auc": None if self.attack is None else self.attack.auc,
            "membership_advantage": None if self.attack is None else self.attack.advantage,
        }


def measure(
    objective: Objective,
    parameters: Mapping[str, Tensor],
    criteria: Criteria,
    samples: Samples,
    holdout: Samples | None,
    marked: NDArray[np.int64],
) -> Measurement:
    """Measure the model at `parameters`.

    Parameters
    ----------
    objective : Objective
        Model and loss.
    parameters : mapping of str to Tensor
        The edited parameters.
    criteria : Criteria
        What is to be preserved.
    samples : Samples
        The training data.
    holdout : Samples or None
        Data not trained on; without it there is no membership attack.
    marked : ndarray of shape (m,), int64
        Positions of the marked samples.

    Returns
    -------
    Measurement

    Raises
    ------
    ValueError
        Where a loss is not finite.
    """
    there = predict(objective, parameters, samples, marked)
    others = None if holdout is None else predict(objective, parameters, holdout)
    if not all(np.isfinite(each.loss).all() for each in (there, others) if each is not None):
        msg = "the losses of the patched model are not finite: the patch is too long, take a smaller eta"
        raise ValueError(msg)
    attack = None
    if others is not None:
        by_confidence = there.confidence is not None and others.confidence is not None
        attack = threshold_attack(
            *(each.confidence if by_confidence else -each.loss for each in (there, others))  # type: ignore[arg-type]
        )
    everyone = predict(objective, parameters, samples) if others is None else others
    value = criteria.values(objective, parameters)
    criterion = value if criteria.several else float(value)
    return Measurement(criterion, everyone.accuracy, there, others, attack)
