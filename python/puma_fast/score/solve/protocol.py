"""What a solver is given and what it owes: the solution with the residual that it really has."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

from puma_fast.numeric.arrays import as_count, as_number

if TYPE_CHECKING:
    from torch import Tensor

Status = Literal["solved", "max_iter", "stalled", "diverged", "negative_curvature"]


class Operator(Protocol):
    """A symmetric matrix A known by its products."""

    @property
    def size(self) -> int:
        """Its order p."""

    def __matmul__(self, vectors: Tensor) -> Tensor:
        """Multiply a float64 vector (p,) or the columns of a block (p, m)."""


@dataclass(frozen=True, eq=False)
class Solve:
    """The outcome of a solve A·x = rhs.

    Attributes
    ----------
    x : Tensor of shape (p,) or (p, m), float64
        The solution, or the best point reached.
    residual : float
        ‖rhs − A·x‖ / ‖rhs‖, recomputed from the operator; the largest of a block's columns.
    iterations : int
        Products of A with one vector that this solve spent: on the solution, on the check of the residual
        and on what had to be set up for the operator first.
    smallest_ritz : float
        The smallest eigenvalue of A seen, an upper bound of the true one; NaN where none was looked for.
    status : str
        ``"solved"`` (residual ≤ tol), ``"max_iter"`` (the budget or the rank is used up), ``"stalled"``
        (rounding in the products keeps the residual up), ``"diverged"`` (the residual grows), or
        ``"negative_curvature"`` (A is not positive definite).
    """

    x: Tensor
    residual: float
    iterations: int
    smallest_ritz: float
    status: Status

    def __str__(self) -> str:
        """Give one line for people."""
        return f"{self.status} after {self.iterations} products, relative residual {self.residual:.1e}"


class Solver(Protocol):
    """Anything that solves A·x = rhs."""

    def solve(self, operator: Operator, rhs: Tensor) -> Solve:
        """Solve for one right-hand side (p,), or for the columns of (p, m)."""


class Best:
    """The best point of a refinement by its true residual; it starts from nought.

    Parameters
    ----------
    rhs : Tensor of shape (p, m)
        The right-hand sides.

    Attributes
    ----------
    x : Tensor of shape (p, m)
        The point.
    residual : float
        ‖rhs − A·x‖ / ‖rhs‖, the largest of the columns.
    """

    def __init__(self, rhs: Tensor) -> None:
        self.x = rhs.new_zeros(rhs.shape)
        self.residual = 1.0 if bool(rhs.any()) else 0.0

    def take(self, x: Tensor, residual: float) -> bool:
        """Keep a point that is better; tell whether it is so by half.

        Where it is not, rounding has the last word. NaN is no better than anything.
        """
        halved = residual <= self.residual / 2
        if residual < self.residual:
            self.x, self.residual = x, residual
        return halved


def relative_residual(residual: Tensor, rhs: Tensor) -> float:
    """Give the largest ‖residual‖ / ‖rhs‖ of any column; 0 for a column whose two norms are nought."""
    norms, scales = residual.norm(dim=0), rhs.norm(dim=0)
    return float((norms / scales.where(scales > 0, norms.new_ones(()))).max())


def checked_limits(tol: float, count: int, *, name: str = "max_iter") -> tuple[float, int]:
    """Give a tolerance, and a count called `name`, as plain numbers; refuse what no solve can keep."""
    return as_number("tol", tol, above=0, below=1), as_count(name, count, least=1)
