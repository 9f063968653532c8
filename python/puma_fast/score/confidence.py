"""What the model says of samples: loss, confidence in the true label, and whether it is right."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from puma_fast import sweep

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from puma_fast.data import Samples
    from puma_fast.score.objective import Objective


_BINARY = {
    "BCELoss": False,
    "BCEWithLogitsLoss": True,
    "binary_cross_entropy": False,
    "binary_cross_entropy_with_logits": True,
}
"""The binary losses, and whether they take logits."""


@dataclass(frozen=True)
class Predictions:
    """One row per sample, in the order asked for.

    Attributes
    ----------
    loss : ndarray of shape (m,), float64
        The training loss.
    confidence : ndarray of shape (m,), float64, or None
        Probability of the true label; None where the task is not a classification.
    correct : ndarray of shape (m,), bool, or None
        Whether the true label is the most probable one.
    """

    loss: NDArray[np.float64]
    confidence: NDArray[np.float64] | None
    correct: NDArray[np.bool_] | None

    @property
    def accuracy(self) -> float | None:
        """The part that is predicted correctly."""
        return None if self.correct is None else float(self.correct.mean())


def predict(
    objective: Objective,
    parameters: Mapping[str, Tensor],
    samples: Samples,
    positions: NDArray[np.int64] | None = None,
) -> Predictions:
    """Evaluate samples at `parameters` in one pass.

    Classification is recognised by its shapes: outputs (B, C) with integer targets (B,), each from 0
    to C − 1, read as logits (log-probabilities give the same), or outputs of the shape of their 0/1
    targets, (B,) or (B, 1), under a binary loss.
    """

    def rows(_: NDArray[np.int64], batch: Any) -> Tensor:
        confidence: Tensor | None = None
        correct: Tensor | None = None
        if objective.has_outputs:
            outputs = objective.outputs(parameters, batch)
            losses = objective.losses_of(outputs, batch)
            confidence, correct = _classified(objective, outputs, objective.targets(batch))
        else:
            losses = objective.losses(parameters, batch)
        unknown = torch.full_like(losses, torch.nan)
        columns = (losses, *(unknown if column is None else column for column in (confidence, correct)))
        return torch.stack([column.double() for column in columns], dim=1)

    with torch.no_grad():
        table = sweep.each(samples, rows, positions, columns=3, description="predictions")
    loss, confidence, correct = table.T
    if np.isnan(correct).any():
        return Predictions(loss, None, None)
    return Predictions(loss, confidence, correct.astype(bool))


def _classified(objective: Objective, outputs: Any, targets: Any) -> tuple[Tensor | None, Tensor | None]:
    if not (isinstance(outputs, Tensor) and isinstance(targets, Tensor)):
        return None, None
    if outputs.ndim == 2 and targets.ndim == 1 and not targets.is_floating_point() and outputs.shape[1] > 1:
        labels = targets.long()
        if bool(((labels < 0) | (labels >= outputs.shape[1])).any()):
            return None, None
        probability = outputs.double().softmax(1).gather(1, labels[:, None])[:, 0]
        return probability, outputs.argmax(1) == labels
    # A user's own function may have the name of torch's and compare other things.
    logits = _BINARY.get(objective.loss_name) if objective.loss_is_torchs else None
    if logits is not None and outputs.shape == targets.shape and outputs[0].numel() == 1:
        positive = outputs.double().flatten()
        positive = positive.sigmoid() if logits else positive
        labels = targets.flatten() > 0.5
        return torch.where(labels, positive, 1 - positive), (positive > 0.5) == labels
    return None, None
