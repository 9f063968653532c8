"""How long a patch may be: η as it is given, or the largest one that keeps a bound, by measuring."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from puma_fast.numeric.arrays import as_number

if TYPE_CHECKING:
    from collections.abc import Callable

_LEAST_ETA = 1e-12
"""Where the search for η by a bound gives up and says 0: no length worth the name keeps the bound."""


def checked_eta(eta: float) -> float:
    """Refuse an η that is not a finite number of at least nought."""
    return as_number("eta", eta, least=0, hint=" (1/n is one deletion), or 'auto' with max_change")


def starting_eta(
    eta: float | Literal["auto"] | None, max_change: float | None, n: int
) -> tuple[float, float | None]:
    """Give η as asked for, 1/n by default and as the start of a search, and the bound of one."""
    if (isinstance(eta, str) and eta == "auto") != (max_change is not None):
        msg = f"eta='auto' and max_change go together, got eta={eta!r} and max_change={max_change!r}"
        raise ValueError(msg)
    if max_change is not None:
        hint = ", the largest change of the criterion allowed"
        return 1 / n, as_number("max_change", max_change, above=0, hint=hint)
    return 1 / n if eta is None else checked_eta(eta), None  # type: ignore[arg-type]


def longest(holds: Callable[[float], bool], start: float) -> float:
    """Find the largest η ≤ 1, to 5 %, up to which a bound is seen to hold.

    η grows from `start` by doubling and is then bisected: every length up to the one returned that was
    tried kept the bound (δ of Eq. 2), the next ones tried did not.
    """
    low, high = 0.0, min(start, 1.0)
    while holds(high):
        if high == 1.0:
            return 1.0
        low, high = high, min(2 * high, 1.0)
    # Where not even one deletion is within the bound, the way leads down.
    while low == 0.0 and high > _LEAST_ETA:
        low, high = (high / 2, high) if holds(high / 2) else (0.0, high / 2)
    while low > 0.0 and high > 1.05 * low:
        middle = (low * high) ** 0.5
        low, high = (middle, high) if holds(middle) else (low, middle)
    return low
