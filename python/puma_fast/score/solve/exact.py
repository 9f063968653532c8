"""The dense factorisation, for small models and as the measure of the others."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from puma_fast.score.solve.protocol import Best, Solve, Status, checked_limits, relative_residual

if TYPE_CHECKING:
    from torch import Tensor

    from puma_fast.score.solve.protocol import Operator

_COLUMNS_AT_ONCE = 64
"""Columns of the identity that are multiplied together: no second p × p matrix is held for them."""


class Exact:
    """Cholesky's factorisation of the matrix in float64: p products, once per operator, and p² numbers.

    Parameters
    ----------
    tol : float, default 1e-10
        Relative residual that counts as solved; where rounding in the products (float32 models) keeps
        it up, the solve is refined with further products and "stalled" if that does not help.
    max_size : int, default 5000
        The largest p that is not refused (at 5000 the matrix and its factor take 400 MB).
    """

    def __init__(self, tol: float = 1e-10, *, max_size: int = 5000) -> None:
        self.tol, self.max_size = checked_limits(tol, max_size, name="max_size")
        self._known: tuple[Operator, Tensor | None, float] | None = None

    def solve(self, operator: Operator, rhs: Tensor) -> Solve:
        """Solve for one right-hand side (p,), or for the columns of (p, m); the factor is kept."""
        p = operator.size
        if p > self.max_size:
            msg = (
                f"solver='exact' forms a {p} x {p} matrix of {8 * p * p / 1e9:.1f} GB, above its limit of "
                f"{self.max_size} parameters; use solver='cg', or Exact(max_size={p})"
            )
            raise ValueError(msg)
        products = 0
        if self._known is None or self._known[0] is not operator:
            self._known = operator, *_factored(operator, rhs.device)
            products = p
        _, factor, smallest = self._known
        if factor is None:
            return Solve(torch.zeros_like(rhs), 1.0, products, smallest, "negative_curvature")
        B = rhs if rhs.ndim == 2 else rhs[:, None]
        x, residual, best = torch.zeros_like(B), B, Best(B)
        status: Status = "solved"
        while best.residual > self.tol:
            x = x + torch.cholesky_solve(residual, factor)
            residual = B - operator @ x
            products += B.shape[1]
            if not best.take(x, relative_residual(residual, B)) and best.residual > self.tol:
                status = "stalled"
                break
        return Solve(best.x.view_as(rhs), best.residual, products, smallest, status)


def _factored(operator: Operator, device: torch.device) -> tuple[Tensor | None, float]:
    """Give Cholesky's factor, none where the matrix is not positive definite, and its smallest eigenvalue."""
    p = operator.size
    dense = torch.empty(p, p, dtype=torch.float64, device=device)
    for start in range(0, p, _COLUMNS_AT_ONCE):
        stop = min(start + _COLUMNS_AT_ONCE, p)
        columns = dense.new_zeros(p, stop - start)
        columns[start:stop].fill_diagonal_(1.0)
        dense[:, start:stop] = operator @ columns
    dense = (dense + dense.T) / 2
    smallest = float(torch.linalg.eigvalsh(dense)[0])
    if not smallest > 0:
        return None, smallest
    return torch.linalg.cholesky(dense), smallest
