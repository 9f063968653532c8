"""How much is added to the curvature's diagonal, and why.

The rule of ``damping="auto"``: a thousandth of the largest eigenvalue, so that the condition number of a
positive curvature is at most a thousand; where Lanczos sees a negative eigenvalue (an exact Hessian away
from a minimum), 1.1 times its magnitude more. A solve that meets negative curvature all the same raises
the damping by twice what it saw below nought, and begins again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from puma_fast.numeric.arrays import as_number
from puma_fast.score.solve import krylov_space

if TYPE_CHECKING:
    from puma_fast.score.curvature import Curvature
    from puma_fast.score.solve import KrylovSpace

RELATIVE_DAMPING = 1e-3
"""Automatic damping as a part of the largest eigenvalue: the condition number is at most its inverse."""

_STEPS = 20
"""Products spent on the ends of the spectrum. They are not lost: conjugate gradients begin in their span."""


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

    def raised(self, lowest: float) -> Damping:
        """Give the damping after a solve met a Ritz value of `lowest` ≤ 0 under this one."""
        # A curvature singular to rounding shows a nought; then doubling is what makes a difference.
        more = -2.0 * lowest or self.value
        return Damping(self.value + more, f"{self.reason}, raised by {more:.3g}: a solve met {lowest:.3g}")


def checked_damping(damping: float | Literal["auto"]) -> float | Literal["auto"]:
    """Refuse what is neither "auto" nor a finite number of at least nought."""
    if isinstance(damping, str) and damping == "auto":
        return "auto"
    return as_number("damping", damping, least=0, hint=", or 'auto'")


def choose_damping(undamped: Curvature) -> tuple[Damping, KrylovSpace]:
    """Choose by the rule above; give also the Krylov space that it was read from.

    Raises
    ------
    ValueError
        The curvature is nought.
    """
    space = krylov_space(undamped, _STEPS, device=undamped.objective.device)
    smallest, largest = space.extremes
    if largest <= 0.0:
        msg = (
            f"curvature={undamped.kind!r} is nought in every direction: the loss is linear in what "
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
    return Damping(value, reason), space
