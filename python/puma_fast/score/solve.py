"""Inverse-curvature solvers that say whether they worked.

A solver takes any symmetric operator with ``operator @ vector`` and ``operator.size`` and returns a
`Solve`: the solution with its *true* relative residual, recomputed from the operator, not the one
that the recurrence believes in.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np
import torch

if TYPE_CHECKING:
    from torch import Tensor

Status = Literal["solved", "max_iterations", "stagnated", "negative_curvature"]


class Operator(Protocol):
    """A symmetric matrix known by its products."""

    @property
    def size(self) -> int:
        """Its order p."""

    def __matmul__(self, vector: Tensor) -> Tensor:
        """Multiply a float64 vector (p,)."""


@dataclass(frozen=True)
class Solve:
    """The outcome of a solve A·x = rhs.

    Attributes
    ----------
    x : Tensor of shape (p,), float64
        The solution, or the best point reached.
    residual : float
        ‖rhs − A·x‖ / ‖rhs‖, recomputed.
    iterations : int
        Products with A spent on the solution, the check of the residual counted.
    smallest_ritz : float
        The smallest eigenvalue of A seen from the Krylov space, an upper bound of the true one.
    status : str
        ``"solved"`` (residual ≤ tol), ``"max_iterations"``, ``"stagnated"`` (rounding in the products
        keeps the residual up), or ``"negative_curvature"`` (A is not positive definite).
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
        """Solve for one right-hand side (p,)."""


class ConjugateGradient:
    """Conjugate gradients (Hestenes and Stiefel 1952) with a check of the true residual.

    Parameters
    ----------
    tol : float
        Relative residual to reach.
    max_iterations : int
        Products with the operator, at most.
    """

    def __init__(self, tol: float, max_iterations: int = 1000) -> None:
        self.tol = tol
        self.max_iterations = max_iterations

    def solve(self, operator: Operator, rhs: Tensor) -> Solve:
        """Solve for one right-hand side (p,), from zero.

        When the recurrence's residual reaches the tolerance, the true one is computed and the
        iteration goes on from it while it still falls: "stagnated" is said only when it does not.
        """
        scale = float(rhs.norm())
        x = torch.zeros_like(rhs)
        if scale == 0.0:
            return Solve(x, 0.0, 0, float("nan"), "solved")
        best, residual, products, smallest = x, rhs, 0, float("inf")
        reached = 1.0
        while True:
            run = _conjugate_directions(operator, residual, self.tol * scale, self.max_iterations - products)
            products += run.products
            smallest = min(smallest, run.smallest_ritz)
            x = best + run.step
            if run.negative:
                return Solve(best, reached, products, smallest, "negative_curvature")
            residual = rhs - operator @ x
            products += 1
            now = float(residual.norm()) / scale
            # Less than a halving of the true residual over a whole restart: rounding has the last word.
            # NaN products end here too.
            stagnated = not now <= reached / 2
            if now < reached:
                best, reached = x, now
            if reached <= self.tol:
                return Solve(best, reached, products, smallest, "solved")
            if products >= self.max_iterations:
                return Solve(best, reached, products, smallest, "max_iterations")
            if stagnated:
                return Solve(best, reached, products, smallest, "stagnated")


@dataclass(frozen=True)
class _Run:
    step: Tensor
    products: int
    smallest_ritz: float
    negative: bool


def _conjugate_directions(operator: Operator, rhs: Tensor, tol: float, budget: int) -> _Run:
    """Run the recurrence from zero until its own residual is below `tol`, within `budget` products."""
    x, r = torch.zeros_like(rhs), rhs.clone()
    p, rr = r.clone(), float(rhs @ rhs)
    diagonal: list[float] = []
    off: list[float] = []
    previous = 0.0
    negative = False
    while rr**0.5 > tol and len(diagonal) < budget:
        Ap = operator @ p
        pAp = float(p @ Ap)
        # The coefficients are those of the Lanczos matrix, whose eigenvalues are the Ritz values.
        diagonal.append(pAp / rr + previous)
        if pAp <= 0.0:
            negative = True
            break
        step = rr / pAp
        x += step * p
        r -= step * Ap
        new = float(r @ r)
        off.append((new / rr) ** 0.5 / step)
        previous = new / rr / step
        p = r + (new / rr) * p
        rr = new
    return _Run(x, len(diagonal), _smallest_eigenvalue(diagonal, off), negative)


def _smallest_eigenvalue(diagonal: list[float], off: list[float]) -> float:
    if not diagonal:
        return float("inf")
    off = off[: len(diagonal) - 1]
    matrix = np.diag(diagonal) + np.diag(off, 1) + np.diag(off, -1)
    return float(np.linalg.eigvalsh(matrix)[0])


class Exact:
    """A dense factorisation in float64: p products to form the matrix, p² numbers of memory.

    Parameters
    ----------
    max_size : int, default 5000
        The largest p that is not refused (at 5000 the matrix takes 200 MB).
    """

    def __init__(self, max_size: int = 5000) -> None:
        self.max_size = max_size
        self._formed: tuple[Operator, Tensor] | None = None

    def solve(self, operator: Operator, rhs: Tensor) -> Solve:
        """Solve for one right-hand side (p,); the matrix is kept for the next one on the same operator."""
        p = operator.size
        if p > self.max_size:
            msg = f"solver='exact' forms a {p} x {p} matrix; above {self.max_size} parameters use solver='cg'"
            raise ValueError(msg)
        if self._formed is None or self._formed[0] is not operator:
            eye = torch.eye(p, dtype=rhs.dtype, device=rhs.device)
            rows = torch.stack([operator @ row for row in eye])
            self._formed = operator, (rows + rows.T) / 2
        dense = self._formed[1]
        smallest = float(torch.linalg.eigvalsh(dense)[0])
        if smallest <= 0:
            return Solve(torch.zeros_like(rhs), 1.0, p, smallest, "negative_curvature")
        x = torch.linalg.solve(dense, rhs)
        scale = float(rhs.norm()) or 1.0
        return Solve(x, float((rhs - dense @ x).norm()) / scale, p, smallest, "solved")


def extreme_eigenvalues(
    operator: Operator, *, device: torch.device, steps: int = 20, seed: int = 0
) -> tuple[float, float]:
    """Estimate the smallest and the largest eigenvalue by Lanczos, three vectors of memory.

    Parameters
    ----------
    operator : Operator
        A symmetric operator.
    device : torch.device
        Where its vectors live.
    steps : int, default 20
        Products to spend, at most.
    seed : int, default 0
        Of the random start.

    Returns
    -------
    tuple of float
        Ritz values: the smallest lies above and the largest below the eigenvalue it stands for.
    """
    generator = torch.Generator().manual_seed(seed)
    v = torch.randn(operator.size, generator=generator, dtype=torch.float64).to(device)
    v /= v.norm()
    before, beta = torch.zeros_like(v), 0.0
    diagonal: list[float] = []
    off: list[float] = []
    for _ in range(min(steps, operator.size)):
        w = operator @ v - beta * before
        alpha = float(w @ v)
        diagonal.append(alpha)
        w -= alpha * v
        beta = float(w.norm())
        if beta <= 1e-12 * max(abs(each) for each in diagonal):
            break
        off.append(beta)
        before, v = v, w / beta
    off = off[: len(diagonal) - 1]
    ritz = np.linalg.eigvalsh(np.diag(diagonal) + np.diag(off, 1) + np.diag(off, -1))
    return float(ritz[0]), float(ritz[-1])
