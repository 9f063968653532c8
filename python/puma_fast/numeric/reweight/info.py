"""The certificate of weights: what is known about them, whatever the solver believes."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class WeightsInfo:
    """What is known about the weights that :func:`solve_weights` returned.

    All figures are those of the weights as returned, rounded to their dtype.

    Attributes
    ----------
    status : str
        ``"solved"``: to rounding for one criterion, to `tol` for several.
        ``"max_iter"``: the steps allowed were not enough; the best weights found, with their gap.
        ``"stalled"``: rounding stopped progress above `tol`; the best weights found, with their gap.
        ``"empty"``: no sample to weigh. ``"no_effect"``: every ψ is zero, so no weight changes anything.
        ``"infeasible"``: no weights in the box meet `max_residual`; those that come nearest, see `reach`.
    objective : float
        ‖Ψᵀλ − b‖² + l1·‖λ‖₁ + l2·‖λ‖².
    gap : float
        The duality gap: `objective` is at most this much above the optimum. Same units as `objective`.
        With l1 = 0, l2 = 0 (for several criteria: below 1e-45·max|ψ|²) and an infinite bound it speaks of
        the weights of at most twice the 1-norm.
        Infinite where the status is ``"infeasible"``.
    residual : ndarray, shape (k,), float64
        Ψᵀλ − b; k = 1 for a one-dimensional `psi_up`.
    l1, l2 : float
        The prices used.
    l1_max : float
        ‖2Ψb‖_∞: from this `l1` on all weights are 0 (in a box that allows 0).
    l1_norm : float
        ‖λ‖₁.
    nnz : int
        How many weights are not zero.
    iterations : int
        Passes over the data (one criterion) or Newton steps (several).
    unique : bool
        No other weights are as good. False where that could not be shown, which takes ``l2 = 0``.
    reach : tuple of float or None
        The smallest and largest Ψᵀλ within the box, where the status is ``"infeasible"``.
    price : ndarray, shape (k,), float64
        The dual point z from which the weights follow; `start` of a similar solve takes it.

    Examples
    --------
    >>> import puma_fast as pf
    >>> _, info = pf.solve_weights([3.0, -4.0], target=25.0, l1=0.0, l2=25.0, return_info=True)
    >>> info.status, round(info.objective, 12), info.gap < 1e-24
    ('solved', 312.5, True)
    """

    status: str
    objective: float
    gap: float
    residual: NDArray[np.float64]
    l1: float
    l2: float
    l1_max: float
    l1_norm: float
    nnz: int
    iterations: int
    unique: bool
    reach: tuple[float, float] | None
    price: NDArray[np.float64]

    @property
    def error_bound(self) -> float:
        """Upper bound of ‖λ − λ*‖₂, √(gap / l2); infinite where l2 is 0."""
        return math.sqrt(self.gap) / math.sqrt(self.l2) if self.l2 > 0 else math.inf

    def __str__(self) -> str:
        """Print one figure a line."""
        rows = [(field.name, getattr(self, field.name)) for field in fields(self)]
        rows.insert(3, ("error_bound", self.error_bound))
        shown = ((name, f"{v:.6g}" if isinstance(v, float) else v) for name, v in rows if v is not None)
        return "\n".join(f"{name:<12}{value}" for name, value in shown)
