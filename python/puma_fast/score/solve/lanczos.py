"""The ends of the spectrum, and inversion on the part of it that a few products find."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from puma_fast.numeric.arrays import as_count
from puma_fast.score.solve.protocol import Solve, Status, checked_limits, relative_residual

if TYPE_CHECKING:
    from torch import Tensor

    from puma_fast.score.solve.protocol import Operator

_INVARIANT = 1e-12
"""A Lanczos vector shorter than this part of the largest coefficient is rounding: the space is closed."""


class Lanczos:
    """Low rank by the Lanczos process from a random start, reorthogonalised (Arnoldi's for symmetric A).

    A is projected once onto the space that `rank` products span; every right-hand side is then solved
    within it (Schioppa et al. 2022 invert on such a space by Arnoldi's process). What lies outside is
    left out, so the true residual is that of a truncation: small only where the rank reaches nearly all
    of the spectrum. One product per right-hand side tells it.

    Parameters
    ----------
    tol : float
        Relative residual that counts as solved.
    rank : int, default 100
        Products for the space, and vectors of p kept.
    seed : int, default 0
        Of the start.
    """

    def __init__(self, tol: float, rank: int = 100, *, seed: int = 0) -> None:
        self.tol, self.rank = checked_limits(tol, rank, name="rank")
        self.seed = as_count("seed", seed)
        self._known: tuple[Operator, KrylovSpace] | None = None

    def solve(self, operator: Operator, rhs: Tensor) -> Solve:
        """Solve for one right-hand side (p,), or for the columns of (p, m), within the space."""
        products = 0
        if self._known is None or self._known[0] is not operator:
            found = krylov_space(operator, self.rank, device=rhs.device, seed=self.seed)
            products = len(found.projected)
            self._known = operator, found
        space = self._known[1]
        smallest, _ = space.extremes
        if not smallest > 0:
            return Solve(torch.zeros_like(rhs), 1.0, products, smallest, "negative_curvature")
        B = rhs if rhs.ndim == 2 else rhs[:, None]
        x = space.basis.T @ torch.linalg.solve(space.projected, space.basis @ B)
        residual = relative_residual(B - operator @ x, B)
        status: Status = "solved" if residual <= self.tol else "max_iter"
        return Solve(x.view_as(rhs), residual, products + B.shape[1], smallest, status)


@dataclass(frozen=True, eq=False)
class KrylovSpace:
    """An orthonormal basis Q (k, p) of a Krylov space, T = Q·A·Qᵀ, and the images A·Qᵀ = Qᵀ·T + rest·e_kᵀ.

    Attributes
    ----------
    basis : Tensor of shape (k, p), float64
    projected : Tensor of shape (k, k), float64
        Tridiagonal; its eigenvalues are the Ritz values.
    rest : Tensor of shape (p,), float64
        What the last image has outside the space.
    """

    basis: Tensor
    projected: Tensor
    rest: Tensor

    @property
    def extremes(self) -> tuple[float, float]:
        """The smallest and the largest Ritz value: above and below the eigenvalue they stand for."""
        ritz = torch.linalg.eigvalsh(self.projected)
        return float(ritz[0]), float(ritz[-1])

    def images(self, shift: float = 0.0) -> Tensor:
        """Give (A + shift·I)·Qᵀ, (p, k), without a product."""
        images = self.basis.T @ self.projected + shift * self.basis.T
        images[:, -1] += self.rest
        return images


def krylov_space(operator: Operator, steps: int, *, device: torch.device, seed: int = 0) -> KrylovSpace:
    """Run the Lanczos process from a random start.

    Parameters
    ----------
    operator : Operator
        A.
    steps : int
        Products to spend, and vectors of p to hold, at most.
    device : torch.device
        Where its vectors live.
    seed : int, default 0
        Of the start.

    Returns
    -------
    KrylovSpace
        Of `steps` vectors, or fewer where the space closes before.
    """
    steps = min(steps, operator.size)
    generator = torch.Generator().manual_seed(seed)
    v = torch.randn(operator.size, generator=generator, dtype=torch.float64, device="cpu").to(device)
    basis = v.new_empty(steps, operator.size)
    projected = v.new_zeros(steps, steps)
    basis[0] = v / v.norm()
    largest = 0.0
    for k in range(steps):
        rest = operator @ basis[k]
        projected[k, k] = rest @ basis[k]
        # Against all and twice: once leaves what cancellation brings up again.
        for _ in range(2):
            rest -= basis[: k + 1].T @ (basis[: k + 1] @ rest)
        length = float(rest.norm())
        largest = max(largest, abs(float(projected[k, k])))
        if k + 1 == steps or not length > _INVARIANT * largest:
            break
        basis[k + 1] = rest / length
        projected[k, k + 1] = projected[k + 1, k] = length
    return KrylovSpace(basis[: k + 1], projected[: k + 1, : k + 1], rest)
