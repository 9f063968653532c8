"""How samples are weighed: what weights cost and the bounds that they keep (Eq. 10)."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from puma_fast.numeric.arrays import as_number
from puma_fast.numeric.reweight import solve_weights

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from puma_fast.numeric.reweight import WeightsInfo
    from puma_fast.numeric.shard import Shard


@dataclass(frozen=True, eq=False)
class Weighing:
    """Prices and bounds of the weights, as `Puma.remove` takes them.

    Attributes
    ----------
    l1 : float
        Price of ‖λ‖₁.
    l2 : float, optional
        Price of ‖λ‖².
    lower, upper : float or array_like of shape (u,), optional
        Bounds.
    """

    l1: float = 0.0
    l2: float | None = None
    lower: ArrayLike | None = None
    upper: ArrayLike | None = None

    def check(self, count: int | None) -> None:
        """Refuse before the long work what cannot weigh `count` samples; None is no reweighting at all."""
        for name, price in (("l1", self.l1), ("l2", self.l2)):
            if price is None and name == "l2":
                continue
            as_number(name, price, least=0, hint=", or left out")
        if count is None:
            given = [
                f"{name}={value!r}"
                for name, value in asdict(self).items()
                if value is not None and not (name == "l1" and value == 0)
            ]
            if given:
                msg = f"{' and '.join(given)}: with up=None nothing is weighed; drop this or pass up='rest'"
                raise ValueError(msg)
        else:
            # Weights of nothing are refused for the same reasons as the real ones.
            self.solve(np.zeros(count), np.float64(0.0), n_threads=1, progress=False)

    def of(self, samples: slice) -> Weighing:
        """Give the same for some of the samples."""
        lower, upper = (
            bound if bound is None or np.ndim(bound) == 0 else np.asarray(bound)[samples]
            for bound in (self.lower, self.upper)
        )
        return replace(self, lower=lower, upper=upper)

    def solve(
        self,
        psi: NDArray[np.float64],
        b: ArrayLike,
        *,
        shard: Shard | None = None,
        n_threads: int | None,
        progress: bool | None,
    ) -> tuple[NDArray[np.float64], WeightsInfo]:
        """Weigh samples of influence `psi`, (u,) or (u, k), to make up for b."""
        weights, info = solve_weights(
            psi,
            target=b,
            l1=self.l1,
            l2=self.l2,
            lower=self.lower,
            upper=self.upper,
            shard=shard,
            n_threads=n_threads,
            progress=progress,
            return_info=True,
        )
        return weights.astype(np.float64, copy=False), info

    @property
    def bounds(self) -> dict[str, Any]:
        """The bounds for reports: one number, or the range of many."""
        return {"lower": _in_words(self.lower), "upper": _in_words(self.upper)}


def _in_words(bound: ArrayLike | None) -> float | str | None:
    if bound is None:
        return None
    values = np.asarray(bound, dtype=np.float64)
    if values.ndim == 0:
        return float(values)
    return f"{values.min():.4g} to {values.max():.4g}, one for each sample"
