"""Membership inference: can an attacker tell from the model's answer that a sample was trained on?

The confidence-threshold attack (Yeom et al. 2018): whoever is answered with confidence above a
threshold is called a member. Its strength over all thresholds is the area under the ROC curve.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from puma_fast.numeric.arrays import as_floats

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True, eq=False)
class ThresholdAttack:
    """How well a threshold on one number per sample tells members from others.

    Attributes
    ----------
    auc : float
        Probability that a member stands above a non-member, ties counted half: 0.5 is blind guessing,
        below it members stand out less than strangers.
    advantage : float
        Largest true positive rate minus false positive rate over all thresholds, at least 0. The
        threshold is the best one in hindsight, so this is what the strongest such attacker gets.
    false_positive_rate, true_positive_rate : ndarray of shape (t,), float64
        The ROC curve, from (0, 0) to (1, 1).
    """

    auc: float
    advantage: float
    false_positive_rate: NDArray[np.float64]
    true_positive_rate: NDArray[np.float64]


def threshold_attack(members: ArrayLike, others: ArrayLike) -> ThresholdAttack:
    """Attack by a threshold: larger numbers are called members.

    Parameters
    ----------
    members : array_like of shape (m,)
        Confidences in the true label (or negative losses) of samples that were trained on.
    others : array_like of shape (h,)
        The same of samples that were not.

    Returns
    -------
    ThresholdAttack

    Raises
    ------
    ValueError
        Where either is empty or holds a NaN.

    Examples
    --------
    >>> threshold_attack([0.9, 0.8], [0.1, 0.85]).auc
    0.75
    """
    inside, outside = (
        np.asarray(as_floats(name, values, ndim=(0, 1, 2)), dtype=np.float64)
        for name, values in (("members", members), ("others", others))
    )
    for name, values in (("members", inside), ("others", outside)):
        if values.ndim != 1 or values.size == 0 or np.isnan(values).any():
            msg = (
                f"{name} must be a non-empty vector without NaN, got shape {values.shape}; "
                "drop samples that have no score"
            )
            raise ValueError(msg)
    thresholds = np.unique(np.concatenate([inside, outside]))[::-1]
    rates = [
        np.concatenate([[0.0], 1 - np.searchsorted(np.sort(values), thresholds) / values.size])
        for values in (outside, inside)
    ]
    false_positive, true_positive = rates
    area = float(np.sum(np.diff(false_positive) * (true_positive[1:] + true_positive[:-1]) / 2))
    return ThresholdAttack(area, float((true_positive - false_positive).max()), false_positive, true_positive)
