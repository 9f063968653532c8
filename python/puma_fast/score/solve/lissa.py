"""The truncated Neumann series by which influence functions were first computed at scale."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from puma_fast.numeric.arrays import as_number
from puma_fast.score.solve.lanczos import krylov_space
from puma_fast.score.solve.protocol import Best, Solve, Status, checked_limits, relative_residual

if TYPE_CHECKING:
    from torch import Tensor

    from puma_fast.score.solve.protocol import Operator

_STEPS = 20
"""Products spent on the largest eigenvalue."""

MARGIN = 1.1
"""The scale over the largest Ritz value, which after 20 products lies a little below the eigenvalue."""

_GROWTH = 10.0
"""A residual that has grown by this factor over its best is taken to grow for ever."""


class Lissa:
    """LiSSA (Agarwal, Bullins and Hazan 2017; Koh and Liang 2017): x ← rhs/s + (I − A/s)·x.

    Here every term reads all the data, where the original draws a batch for each: the sampling noise
    would hold the residual up long before any useful tolerance. The series converges where
    0 < A < 2s. It is the classical choice, not the fast one: conjugate gradients need the square root
    of its products.

    Parameters
    ----------
    tol : float
        Relative residual to reach.
    max_iter : int, default 1000
        Terms of the series, one product per right-hand side each.
    scale : float, optional
        s; by default 1.1 times the largest eigenvalue by Lanczos (20 products, once per operator).
    """

    def __init__(self, tol: float, max_iter: int = 1000, *, scale: float | None = None) -> None:
        self.tol, self.max_iter = checked_limits(tol, max_iter)
        if scale is not None:
            scale = as_number("scale", scale, above=0, hint=", or None to have it estimated")
        self.scale = scale
        self._known: tuple[Operator, float, float] | None = None

    def solve(self, operator: Operator, rhs: Tensor) -> Solve:
        """Solve for one right-hand side (p,), or for the columns of (p, m), from nought."""
        B = rhs if rhs.ndim == 2 else rhs[:, None]
        products, smallest, scale = 0, float("nan"), self.scale
        if scale is None:
            if self._known is None or self._known[0] is not operator:
                space = krylov_space(operator, _STEPS, device=rhs.device)
                products = len(space.projected)
                self._known = operator, *space.extremes
            _, smallest, largest = self._known
            if not smallest > 0:
                return Solve(torch.zeros_like(rhs), 1.0, products, smallest, "negative_curvature")
            scale = MARGIN * largest
        x, residual, best = torch.zeros_like(B), B, Best(B)
        status: Status = "solved" if best.residual <= self.tol else "max_iter"
        for _ in range(self.max_iter if status == "max_iter" else 0):
            x = x + residual / scale
            residual = B - operator @ x
            products += B.shape[1]
            now = relative_residual(residual, B)
            best.take(x, now)
            if best.residual <= self.tol:
                status = "solved"
                break
            if not now <= _GROWTH * best.residual:
                status = "diverged"
                break
        return Solve(best.x.view_as(rhs), best.residual, products, smallest, status)
