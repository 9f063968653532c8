"""Conjugate directions that outlive the solve that found them.

The rows of P satisfy P·A·Pᵀ = I, and A·Pᵀ is kept beside them. A right-hand side b is then solved within
their span for nothing: x = Pᵀ(P b), with the residual b − (A·Pᵀ)(P b). What is left over is orthogonal
to the span, and directions made conjugate to all of P never go back into it: that is the augmented
conjugate gradient method (Erhel and Guyomarc'h, SIAM J. Matrix Anal. Appl. 21, 2000).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor


class Directions:
    """Conjugate directions of one operator with their images, at most so many.

    Parameters
    ----------
    capacity : int
        Directions kept. Where more are found, those of the largest Ritz values stay: a damped curvature
        has its few large eigenvalues far from a crowd at the damping, and the few are what costs products.
        The newest block is kept in any case, as the short recurrence needs it.

    Notes
    -----
    Memory: 16 bytes × p × capacity, and half as much again while directions are dropped.
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self._stored: Tensor | None = None
        self.count = 0
        self._settled = 0

    def settle(self) -> None:
        """Make room before a solve: half the capacity at most stays, and stays to the end of the solve.

        Later directions are conjugate to all that stay. To those dropped on the way they are so by the
        recurrence, but only to those of their own solve.
        """
        self._settled = 0
        if self.count > self.capacity // 2:
            self._drop(self.capacity // 2)
        self._settled = self.count

    def solve_within(self, residual: Tensor) -> tuple[Tensor, Tensor]:
        """Give the step within the span that takes out of `residual` (p, m) what it can, and what is left."""
        if self._stored is None:
            return torch.zeros_like(residual), residual
        P, images = self._stored[:, : self.count]
        coefficients = P @ residual
        return P.T @ coefficients, residual - images.T @ coefficients

    def conjugated(self, block: Tensor) -> Tensor:
        """Take out of the columns of `block` (p, m) what is not conjugate to the directions."""
        if self._stored is None:
            return block
        P, images = self._stored[:, : self.count]
        conjugated: Tensor = block - P.T @ (images @ block)
        return conjugated

    def add(self, block: Tensor, images: Tensor) -> None:
        """Keep further directions, the columns of `block` (p, m), conjugate to those that are there."""
        wanted = self.count + block.shape[1]
        if wanted > self.capacity:
            self._drop((self.capacity - self._settled - block.shape[1]) // 2)
            wanted = self.count + block.shape[1]
        if self._stored is None or wanted > self._stored.shape[1]:
            # Grown by half each time, so that what is kept is copied a bounded number of times.
            room = max(min(wanted * 3 // 2, self.capacity), wanted)
            grown = block.new_empty(2, room, len(block))
            if self._stored is not None:
                grown[:, : self.count] = self._stored[:, : self.count]
            self._stored = grown
        self._stored[0, self.count : wanted] = block.T
        self._stored[1, self.count : wanted] = images.T
        self.count = wanted

    def smallest_ritz(self, further: Tensor | None = None, curvatures: Tensor | None = None) -> float:
        """Give the smallest Ritz value of the span.

        Parameters
        ----------
        further : Tensor of shape (p, m), optional
            Conjugate directions that are not kept, and
        curvatures : Tensor of shape (m,), optional
            their dᵀAd, of either sign.
        """
        parts, forms = [], []
        if self._stored is not None and self.count:
            parts.append(self._stored[0, : self.count])
            forms.append(parts[0].new_ones(self.count))
        if further is not None and curvatures is not None:
            parts.append(further.T)
            forms.append(curvatures)
        if not parts:
            return float("nan")
        P = torch.cat(parts)
        lengths = P.norm(dim=1)
        overlaps = (P @ P.T) / lengths[:, None] / lengths
        weights, basis = torch.linalg.eigh(overlaps)
        # Directions that nearly coincide say nothing new about A, and dividing by their overlap would.
        seen = weights > 1e-10
        basis = basis[:, seen] / weights[seen].sqrt()
        form = basis.T @ ((torch.cat(forms) / lengths**2)[:, None] * basis)
        return float(torch.linalg.eigvalsh(form)[0])

    def _drop(self, keep: int) -> None:
        """Keep `keep` directions, of the largest Ritz values, of those found since all settled."""
        if self._stored is None:
            return
        keep = max(keep, 0)
        found = self._stored[:, self._settled : self.count]
        # P·A·Pᵀ = I: the Ritz values are the inverse eigenvalues of P·Pᵀ, and any rotation of P is conjugate.
        _, rotation = torch.linalg.eigh(found[0] @ found[0].T)
        self._stored[:, self._settled : self._settled + keep] = rotation[:, :keep].T @ found
        self.count = self._settled + keep
