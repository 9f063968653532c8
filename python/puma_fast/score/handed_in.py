"""Influences computed elsewhere, checked as far as they can be.

An array of scores does not say what it means. Its shape, type and values can be checked; its sign and
scale show where the effect that it gives to the marked samples is held beside the effect of their patch,
which is computed here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from puma_fast.numeric.arrays import as_floats
from puma_fast.warning import warn

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

_OTHER_SCALE = 10.0
"""Factor between two values of b from which another convention is likelier than another approximation."""


def as_scores(scores: ArrayLike, n: int, k: int | None) -> NDArray[np.float64]:
    """Check influences that were computed elsewhere.

    Parameters
    ----------
    scores : array_like of shape (n,) or (n, k)
        ψ_j, row j for sample j of the data.
    n : int
        Number of training samples.
    k : int or None
        Number of criteria; None for a single one, which takes a vector.

    Returns
    -------
    ndarray of shape (n,) or (n, k), float64

    Raises
    ------
    TypeError
        Not real numbers, or a tensor on a device.
    ValueError
        A shape that does not fit, with what to do about it, or a NaN or infinity.
    """
    values = as_floats("scores", scores, ndim=(1, 2))
    wanted = (n,) if k is None else (n, k)
    if values.shape != wanted:
        msg = f"scores must have shape {wanted}, one row for each training sample, got {values.shape}"
        if values.ndim == 2 and values.shape[0] == n:
            msg += "; where its columns are test samples, pass scores.mean(1)"
            msg += "" if k is not None else "; where they are criteria, pass criterion=[…] in their order"
        elif values.ndim == 2 and values.shape[1] == n:
            msg += "; where its rows are test samples, pass scores.mean(0)"
        raise ValueError(msg)
    if not np.isfinite(values).all():
        row = int(np.argwhere(~np.isfinite(values))[0][0])
        msg = f"scores[{row}] is {values[row]}; every score must be finite: compute it again or set it to 0"
        raise ValueError(msg)
    return values.astype(np.float64, copy=False)


def compare_roads(by_patch: Any, by_scores: Any, n: int) -> None:
    """Warn where handed-in scores give the marked samples another sign or size than their patch has.

    Parameters
    ----------
    by_patch, by_scores : float or ndarray of shape (k,)
        b as ∇CᵀH⁻¹Σ∇L over the marked samples, and as the sum of their scores.
    n : int
        Number of training samples.
    """
    pairs = zip(np.atleast_1d(by_patch), np.atleast_1d(by_scores), strict=True)
    for place, (patch, scores) in enumerate(pairs):
        if scores == 0.0 or patch == 0.0:
            continue
        factor = float(patch / scores)
        if factor > 0 and 1 / _OTHER_SCALE < factor < _OTHER_SCALE:
            continue
        of = f" on criterion {place + 1}" if np.ndim(by_scores) else ""
        hint = "they are positive where a sample harms: pass -scores" if factor < 0 else "of another scale"
        for name, scale in (("scores * n", n), ("scores / n", 1 / n)):
            if 0.5 < abs(factor) / scale < 2:
                hint += f", and off by the factor n: pass {name}"
        warn(
            f"scores sum to b = {scores:.3g} over the marked samples{of}, the patch says {patch:.3g}. Here "
            f"ψ > 0 means that a sample helps, and scores are not divided by n; perhaps {hint}"
        )
