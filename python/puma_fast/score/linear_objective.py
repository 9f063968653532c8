"""The objective of a linear model, its gradient and its curvature, each by one pass over the rows.

J(θ) = (1/n) Σ w_i L_i(θ) + ½ Σ_kj γ_kj θ_kj², with outputs f_i = θ x_i, θ one row per output, x_i one row
of X with a 1 appended where there is an intercept. Every loss here is convex and twice differentiable in
f, so that ∇L_i = r_i x_iᵀ and ∇²L_i = C_i ⊗ x_i x_iᵀ, with r_i = ∂L_i/∂f_i and C_i = ∂²L_i/∂f_i².
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

_BLOCK_BYTES = 1 << 21
"""Rows are read in blocks of this size, so that a block stays in the cache over the products made of it."""

_SINGULAR = (
    "the curvature of the estimator's objective is singular: columns of X are constant or collinear, or the "
    "classes are separable, and no penalty chooses among the coefficients; drop such columns, or fit with a "
    "penalty (a finite C, an alpha above 0)"
)


class Loss(Protocol):
    """A loss of m samples with outputs F of shape (m, k)."""

    coupled: bool
    """Whether C_i ties the outputs of a sample together; where not, C_i is a multiple of the identity."""
    invariant: bool
    """Whether adding one number to all outputs of a sample leaves the loss as it is."""

    def values(self, F: Floats, target: NDArray[Any]) -> Floats:
        """Compute L_i, shape (m,)."""

    def slopes(self, F: Floats, target: NDArray[Any]) -> Floats:
        """Compute r_i, shape (m, k)."""

    def curvature(self, F: Floats) -> Iterator[tuple[int, int, Floats]]:
        """Give the entries of all C_i on and below the diagonal: row, column, values of shape (m,).

        Where the outputs are not coupled, the one entry (0, 0) stands for all of the diagonal.
        """


class Logistic:
    """log(1 + exp(∓f)) for the second and the first of two classes, target 1 and 0."""

    coupled = True
    invariant = False

    def values(self, F: Floats, target: NDArray[Any]) -> Floats:
        """Compute L_i, shape (m,)."""
        return np.logaddexp(0, (1 - 2 * target) * F[:, 0])

    def slopes(self, F: Floats, target: NDArray[Any]) -> Floats:
        """Compute r_i, shape (m, 1)."""
        # By logaddexp, the probability of the wrong class keeps its digits however small it is.
        sign = 2 * target - 1
        return np.asarray(-sign * np.exp(-np.logaddexp(0, sign * F[:, 0])))[:, None]

    def curvature(self, F: Floats) -> Iterator[tuple[int, int, Floats]]:
        """Give the one entry of all C_i."""
        yield 0, 0, np.exp(-np.logaddexp(0, F[:, 0]) - np.logaddexp(0, -F[:, 0]))


class Softmax:
    """Cross entropy of k ≥ 3 classes, target the class."""

    coupled = True
    invariant = True

    def values(self, F: Floats, target: NDArray[Any]) -> Floats:
        """Compute L_i, shape (m,)."""
        return np.asarray(-_log_softmax(F)[np.arange(len(F)), target])

    def slopes(self, F: Floats, target: NDArray[Any]) -> Floats:
        """Compute r_i, shape (m, k)."""
        log_p = _log_softmax(F)
        own = np.arange(len(F)), target
        slopes = np.exp(log_p)
        slopes[own] = np.expm1(log_p[own])
        return slopes

    def curvature(self, F: Floats) -> Iterator[tuple[int, int, Floats]]:
        """Give the entries of all C_i on and below the diagonal."""
        log_p = _log_softmax(F)
        p, other_p = np.exp(log_p), -np.expm1(log_p)
        for one in range(F.shape[1]):
            for other in range(one):
                yield one, other, -p[:, one] * p[:, other]
            yield one, one, p[:, one] * other_p[:, one]


class Squares:
    """‖y − f‖², target y of shape (m, k)."""

    coupled = False
    invariant = False

    def values(self, F: Floats, target: NDArray[Any]) -> Floats:
        """Compute L_i, shape (m,)."""
        return np.asarray(((F - target) ** 2).sum(1))

    def slopes(self, F: Floats, target: NDArray[Any]) -> Floats:
        """Compute r_i, shape (m, k)."""
        return np.asarray(2 * (F - target))

    def curvature(self, F: Floats) -> Iterator[tuple[int, int, Floats]]:
        """Give the factor of the identity in all C_i."""
        yield 0, 0, np.full(len(F), 2.0)


@dataclass(frozen=True, eq=False)
class Slope:
    """J and ∇J at one θ.

    Attributes
    ----------
    value : float
        J.
    gradient : ndarray of shape (k, p)
        ∇J.
    scale : float
        (1/n) Σ w_i ‖∇L_i‖ + ‖γθ‖: the size of the terms that cancel in ∇J, hence the unit to judge it by.
    """

    value: float
    gradient: Floats
    scale: float

    @property
    def relative(self) -> float:
        """‖∇J‖ in units of its terms: nought at the optimum, at most 1."""
        return float(np.linalg.norm(self.gradient)) / self.scale if self.scale > 0 else 0.0


@dataclass(frozen=True, eq=False)
class DenseCurvature:
    """∇²J at one θ, as the systems that do not tie each other's outputs.

    Attributes
    ----------
    systems : list of (rows, matrix)
        Rows of θ. The matrix acts on all of them at once where the loss couples them, else on each.
    coupled : bool
        Which of the two.
    """

    systems: list[tuple[NDArray[np.intp], Floats]]
    coupled: bool

    def solve(self, gradient: Floats) -> Floats:
        """Compute H⁻¹·gradient, shape (k, p).

        Raises
        ------
        ValueError
            A matrix is singular to rounding.
        """
        step = np.empty_like(gradient)
        for rows, matrix in self.systems:
            # In units in which the diagonal is 1, a pivot of the factorisation is the part of a column
            # that the columns before it do not explain.
            units = np.sqrt(np.diag(matrix))
            if not (np.isfinite(units).all() and units.all()):
                raise ValueError(_SINGULAR)
            scaled = matrix / units[:, None] / units
            try:
                pivots = np.diag(np.linalg.cholesky(scaled)) ** 2
            except np.linalg.LinAlgError:
                raise ValueError(_SINGULAR) from None
            if pivots.min() <= len(pivots) * np.finfo(np.float64).eps:
                raise ValueError(_SINGULAR)
            right = gradient[rows].reshape(-1, len(matrix)).T
            step[rows] = (np.linalg.solve(scaled, right / units[:, None]).T / units).reshape(len(rows), -1)
        return step

    def energy(self, theta: Floats) -> float:
        """Compute θᵀHθ: a length that, unlike ‖θ‖, does not depend on the units of the columns."""
        total = 0.0
        for rows, matrix in self.systems:
            columns = theta[rows].reshape(-1, len(matrix)).T
            total += float((columns * (matrix @ columns)).sum())
        return total


@dataclass(frozen=True, eq=False)
class LinearObjective:
    """J of a linear model on given rows; the weights of the samples are an argument of each pass.

    Attributes
    ----------
    X : ndarray of shape (n, d), float32 or float64
        Features.
    target : ndarray of shape (n,), int64, or (n, k), float64
        Classes by position, or values.
    loss : Loss
        L_i.
    penalty : ndarray of shape (k, p)
        γ, one for each coefficient; the intercept, where there is one, is the last column.
    intercept : bool
        Whether p = d + 1.
    center : ndarray of shape (d,)
        Subtracted from the rows. With a free intercept that changes θ and not the model, and spares the
        curvature a condition number that grows with the square of the means.
    n : int
        The divisor in J: the number of samples before any is removed.
    advance : callable
        Told of every row that was read, for a progress bar.
    """

    X: NDArray[np.float32] | NDArray[np.float64]
    target: NDArray[Any]
    loss: Loss
    penalty: Floats
    intercept: bool
    center: Floats
    n: int
    advance: Callable[[int], object] = lambda _: None

    def outputs(self, theta: Floats) -> Floats:
        """Compute all f_i, shape (n, k)."""
        return np.concatenate([rows @ theta.T for _, rows in self._blocks()])

    def slope(self, theta: Floats, weights: Floats) -> Slope:
        """Compute J, ∇J and the scale of ∇J in one pass."""
        value, scale, gradient = 0.0, 0.0, np.zeros_like(theta)
        for where, rows in self._blocks():
            F, target, weight = rows @ theta.T, self.target[where], weights[where]
            slopes = self.loss.slopes(F, target)
            value += float(weight @ self.loss.values(F, target))
            scale += float(weight @ (np.linalg.norm(slopes, axis=1) * np.linalg.norm(rows, axis=1)))
            gradient += (weight[:, None] * slopes).T @ rows
        shrunk = self.penalty * theta
        return Slope(
            value / self.n + 0.5 * float((shrunk * theta).sum()),
            gradient / self.n + shrunk,
            scale / self.n + float(np.linalg.norm(shrunk)),
        )

    def curvature(self, theta: Floats, weights: Floats) -> DenseCurvature:
        """Compute ∇²J in one pass."""
        k, p = theta.shape
        # Where the outputs are not coupled, one matrix serves all of them but for their penalties.
        m = k if self.loss.coupled else 1
        matrix = np.zeros((m, p, m, p))
        for where, rows in self._blocks():
            for one, other, entry in self.loss.curvature(rows @ theta.T):
                matrix[one, :, other] += rows.T @ ((weights[where] * entry)[:, None] * rows)
        matrix /= self.n
        for one in range(m):
            for other in range(one):
                matrix[other, :, one] = matrix[one, :, other]
        if self.loss.invariant:
            self._pin(matrix)
        flat = matrix.reshape(m * p, m * p)
        if self.loss.coupled:
            return DenseCurvature([(np.arange(k), flat + np.diag(self.penalty.ravel()))], coupled=True)
        kinds, of = np.unique(self.penalty, axis=0, return_inverse=True)
        return DenseCurvature(
            [(np.flatnonzero(of.ravel() == i), flat + np.diag(kind)) for i, kind in enumerate(kinds)],
            coupled=False,
        )

    def along(self, theta: Floats, direction: Floats) -> Floats:
        """Compute all ⟨∇L_i, direction⟩, shape (n,), in one pass and without any ∇L_i."""
        products = []
        for where, rows in self._blocks():
            slopes = self.loss.slopes(rows @ theta.T, self.target[where])
            products.append((slopes * (rows @ direction.T)).sum(1))
        return np.concatenate(products)

    def _pin(self, matrix: Floats) -> None:
        """Give curvature to the directions that change no output's share, where no penalty does.

        A gradient has no part in them, so neither has the step: they stay where the estimator has them.
        """
        k, p = self.penalty.shape
        for j in range(p):
            if not self.penalty[:, j].any():
                matrix[:, j, :, j] += matrix[range(k), j, range(k), j].mean() / k

    def _blocks(self) -> Iterator[tuple[slice, Floats]]:
        n, d = self.X.shape
        p = d + self.intercept
        size = max(256, _BLOCK_BYTES // (8 * max(p, 1)))
        for start in range(0, n, size):
            where = slice(start, min(start + size, n))
            rows = np.ones((where.stop - start, p))
            np.subtract(self.X[where], self.center, out=rows[:, :d])
            yield where, rows
            self.advance(len(rows))


def _log_softmax(F: Floats) -> Floats:
    shifted = F - F.max(1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(1, keepdims=True)))
