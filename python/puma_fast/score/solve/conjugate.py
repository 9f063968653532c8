"""Conjugate gradients for one or many right-hand sides, which remember what they learn of the operator."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import torch

from puma_fast.numeric.arrays import as_count
from puma_fast.score.solve.directions import Directions
from puma_fast.score.solve.precondition import preconditioner_named
from puma_fast.score.solve.protocol import Best, Solve, Status, checked_limits, relative_residual

if TYPE_CHECKING:
    from torch import Tensor

    from puma_fast.score.solve.precondition import Preconditioner
    from puma_fast.score.solve.protocol import Operator

MEMORY = 2**30
"""Bytes of directions kept for the next solve by default: every direction of 500 products at 130,000
parameters, the 60 best at a million."""

_DEPENDENT = 1e-5
"""What a block's columns have apart from each other is dropped below this part of what they have in common:
rounding puts so much between equal columns once their residuals have fallen by ten digits."""


class ConjugateGradient:
    """Conjugate gradients (Hestenes and Stiefel 1952), blocked, preconditioned, recycled, and checked.

    Many right-hand sides share their directions (block CG: O'Leary 1980), of which linearly dependent
    ones are dropped, so that equal or converged columns break nothing (Ji and Li 2017). Directions are
    kept with their images, and the next solve on the same operator starts with the best point of their
    span and never goes back into it (augmented CG: Erhel and Guyomarc'h 2000): a second right-hand side
    costs a fraction of the first. Within one solve the same conjugation makes good what rounding takes
    from the short recurrence. The iterates are smoothed to the smallest residual on the way (Zhou and
    Walker 1994). The residual that is reported is recomputed from the operator.

    Parameters
    ----------
    tol : float
        Relative residual to reach, of every column.
    max_iter : int, default 1000
        Products with the operator per right-hand side, at most; the check of the residual comes on top.
    preconditioner : {"jacobi", "nystrom"} or Preconditioner, optional
        An approximate inverse, set up once per operator; its products are counted.
    memory : int, default 2**30
        Bytes for directions kept, 16 bytes × p each; with 0 only the last ones are, and nothing is
        recycled.

    Examples
    --------
    >>> import torch
    >>> from puma_fast.score.solve import ConjugateGradient
    >>> class Diagonal:
    ...     size = 100
    ...
    ...     def __matmul__(self, vectors):
    ...         entries = torch.linspace(1, 100, 100, dtype=torch.float64)
    ...         return (entries * vectors.T).T
    >>> A, cg = Diagonal(), ConjugateGradient(1e-8)
    >>> first = cg.solve(A, torch.ones(100, dtype=torch.float64))
    >>> again = cg.solve(A, torch.arange(100, dtype=torch.float64))
    >>> first.status, again.status, again.iterations < first.iterations / 2
    ('solved', 'solved', True)
    """

    def __init__(
        self,
        tol: float,
        max_iter: int = 1000,
        *,
        preconditioner: str | Preconditioner | None = None,
        memory: int = MEMORY,
    ) -> None:
        self.tol, self.max_iter = checked_limits(tol, max_iter)
        self.memory = as_count("memory", memory)
        self.preconditioner = preconditioner_named(preconditioner)
        self._known: tuple[Operator, Directions] | None = None
        self._prepared_for: Operator | None = None

    def learn(self, operator: Operator, vectors: Tensor, images: Tensor) -> None:
        """Take in products that were formed for another purpose, such as the choice of a damping.

        Parameters
        ----------
        operator : Operator
            The one that solves will be for.
        vectors, images : Tensor of shape (p, k), float64
            Linearly independent vectors and what the operator makes of them. They are left unused where
            it is not positive definite on them.
        """
        form = vectors.T @ images
        curvatures, rotation = torch.linalg.eigh((form + form.T) / 2)
        if float(curvatures[0]) > 0.0:
            rotation = rotation / curvatures.sqrt()
            self._directions(operator).add(vectors @ rotation, images @ rotation)

    def solve(self, operator: Operator, rhs: Tensor) -> Solve:
        """Solve for one right-hand side (p,), or for the columns of (p, m), from nought.

        When the recurrence's residual reaches the tolerance, the true one is computed and the iteration
        goes on from it while it still falls: "stalled" is said only when it does not.
        """
        B = rhs if rhs.ndim == 2 else rhs[:, None]
        if not bool(B.any()):
            return Solve(torch.zeros_like(rhs), 0.0, 0, float("nan"), "solved")
        products = 0
        if self.preconditioner is not None and self._prepared_for is not operator:
            products += self.preconditioner.fit(operator, rhs.device)
            self._prepared_for = operator
        directions = self._directions(operator)
        directions.settle()
        budget = products + self.max_iter * B.shape[1]
        best, residual = Best(B), B
        while True:
            run = self._descend(operator, directions, residual, self.tol * B.norm(dim=0), budget - products)
            products += run.products
            if run.lowest is not None:
                return Solve(best.x.view_as(rhs), best.residual, products, run.lowest, "negative_curvature")
            x = best.x + run.step
            residual = B - operator @ x
            products += B.shape[1]
            halved = best.take(x, relative_residual(residual, B))
            status: Status | None = None
            if best.residual <= self.tol:
                status = "solved"
            elif products >= budget:
                status = "max_iter"
            elif not halved:
                status = "stalled"
            if status is not None:
                return Solve(best.x.view_as(rhs), best.residual, products, directions.smallest_ritz(), status)

    def _directions(self, operator: Operator) -> Directions:
        """Give what is kept of an operator; another one's is let go."""
        if self._known is None or self._known[0] is not operator:
            self._known = operator, Directions(self.memory // (16 * operator.size))
        return self._known[1]

    def _descend(
        self, operator: Operator, directions: Directions, rhs: Tensor, target: Tensor, budget: int
    ) -> _Run:
        """Iterate from nought until every residual that the recurrence believes in is below its target."""
        x, r = directions.solve_within(rhs)
        smooth = _Smoothed(torch.zeros_like(rhs), rhs)
        smooth.mix(x, r)
        lowest: float | None = None
        products, spent = 0, self._spent()
        while products + math.ceil(self._spent() - spent) < budget:
            active = smooth.r.norm(dim=0) > target
            if not bool(active.any()):
                break
            z = r[:, active] if self.preconditioner is None else self.preconditioner.apply(r[:, active])
            lengths = z.norm(dim=0)
            z = z / lengths.where(lengths > 0, lengths.new_ones(()))
            d = _independent(directions.conjugated(z))[:, : budget - products]
            if d.shape[1] == 0:
                break
            images = operator @ d
            products += d.shape[1]
            if not bool(torch.isfinite(images).all()):
                break
            form = d.T @ images
            curvatures, rotation = torch.linalg.eigh((form + form.T) / 2)
            d, images = d @ rotation, images @ rotation
            if float(curvatures[0]) <= 0.0:
                lowest = directions.smallest_ritz(d, curvatures)
                break
            directions.add(d / curvatures.sqrt(), images / curvatures.sqrt())
            # Over all directions, not the last alone: elsewhere it takes out what rounding put in.
            step, r = directions.solve_within(r)
            x = x + step
            smooth.mix(x, r)
        return _Run(smooth.x, products + math.ceil(self._spent() - spent), lowest)

    def _spent(self) -> float:
        """Give the products that the preconditioner has spent on its applications, if it spends any."""
        return getattr(self.preconditioner, "spent", 0.0)


class _Run(NamedTuple):
    step: Tensor
    products: int
    lowest: float | None
    """A Ritz value of at most nought, where there is one."""


class _Smoothed:
    """The point between the iterates so far with the smallest residual, column by column."""

    def __init__(self, x: Tensor, r: Tensor) -> None:
        self.x, self.r = x, r

    def mix(self, x: Tensor, r: Tensor) -> None:
        """Move towards the iterate `x` with the residual `r` as far as the residual falls."""
        change = r - self.r
        length = (change * change).sum(0)
        along = -(self.r * change).sum(0) / length.where(length > 0, length.new_ones(()))
        self.x = self.x + along * (x - self.x)
        self.r = self.r + along * change


def _independent(block: Tensor) -> Tensor:
    """Give an orthonormal basis of the columns of (p, m), without directions that rounding made."""
    basis, lengths, _ = torch.linalg.svd(block, full_matrices=False)
    independent: Tensor = basis[:, lengths > _DEPENDENT * lengths[0]]
    return independent
