"""A solver tells the truth about its answer."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from puma_fast.score.solve import ConjugateGradient, Exact, extreme_eigenvalues


class Matrix:
    def __init__(self, dense, noise=0.0):
        self.dense, self.noise, self.size = dense, noise, len(dense)
        self.generator = torch.Generator().manual_seed(1)

    def __matmul__(self, vector):
        product = self.dense @ vector
        random = torch.randn(len(vector), generator=self.generator, dtype=torch.float64)
        return product + self.noise * product.norm() * random / len(vector) ** 0.5


def symmetric(eigenvalues, seed=0):
    generator = torch.Generator().manual_seed(seed)
    basis, _ = torch.linalg.qr(
        torch.randn(len(eigenvalues), len(eigenvalues), generator=generator, dtype=torch.float64)
    )
    return basis @ torch.diag(torch.as_tensor(eigenvalues, dtype=torch.float64)) @ basis.T


RHS = torch.randn(60, generator=torch.Generator().manual_seed(2), dtype=torch.float64)


@pytest.mark.parametrize("condition", [1.0, 1e2, 1e3])
def test_cg_agrees_with_the_dense_solve(condition):
    A = symmetric(np.geomspace(1 / condition, 1.0, 60))
    solve = ConjugateGradient(1e-13).solve(Matrix(A), RHS)
    exact = Exact().solve(Matrix(A), RHS)
    assert solve.status == exact.status == "solved"
    torch.testing.assert_close(solve.x, exact.x, rtol=1e-8, atol=1e-8 * float(exact.x.abs().max()))
    assert solve.residual == pytest.approx(float((RHS - A @ solve.x).norm() / RHS.norm()), rel=1e-6)
    assert solve.smallest_ritz == pytest.approx(1 / condition, rel=0.1)


def test_the_true_residual_is_reported_where_products_are_noisy():
    """Float32 products keep the residual up: that is said, and the best point is given."""
    A = symmetric(np.geomspace(1e-3, 1.0, 60))
    solve = ConjugateGradient(1e-12).solve(Matrix(A, noise=1e-7), RHS)
    assert solve.status == "stagnated"
    true = float((RHS - A @ solve.x).norm() / RHS.norm())
    assert true < 1e-3
    assert solve.residual == pytest.approx(true, rel=1.0)


def test_the_budget_is_kept_and_said():
    A = symmetric(np.geomspace(1e-6, 1.0, 60))
    solve = ConjugateGradient(1e-12, max_iter=10).solve(Matrix(A), RHS)
    assert solve.status == "max_iter"
    assert solve.iterations <= 11
    assert solve.residual == pytest.approx(float((RHS - A @ solve.x).norm() / RHS.norm()), rel=1e-6)


@pytest.mark.parametrize("solver", [ConjugateGradient(1e-10), Exact()])
def test_negative_curvature_is_seen(solver):
    solve = solver.solve(Matrix(symmetric([-0.1, *np.linspace(0.5, 1, 59)])), RHS)
    assert solve.status == "negative_curvature"
    assert solve.smallest_ritz < 0


def test_a_zero_right_hand_side_takes_no_product():
    solve = ConjugateGradient(1e-10).solve(Matrix(symmetric([1.0, 2.0])), torch.zeros(2, dtype=torch.float64))
    assert (solve.iterations, solve.residual, solve.status) == (0, 0.0, "solved")


def test_exact_refuses_what_would_not_fit():
    with pytest.raises(ValueError, match=r"60 x 60 matrix; above 50 parameters use solver='cg'"):
        Exact(max_size=50).solve(Matrix(symmetric(np.ones(60))), RHS)


def test_exact_forms_the_matrix_once():
    A = Matrix(symmetric(np.linspace(1, 2, 60)))
    solver = Exact()
    one = solver.solve(A, RHS)
    A.dense = torch.zeros_like(A.dense)
    torch.testing.assert_close(solver.solve(A, RHS).x, one.x)


@pytest.mark.parametrize(
    "eigenvalues", [np.linspace(-1, 3, 60), np.geomspace(1e-4, 5, 60), np.ones(60), np.zeros(60)]
)
def test_lanczos_finds_the_extremes(eigenvalues):
    smallest, largest = extreme_eigenvalues(
        Matrix(symmetric(eigenvalues)), device=torch.device("cpu"), steps=50
    )
    spread = np.ptp(eigenvalues)
    assert largest == pytest.approx(eigenvalues.max(), abs=1e-3 * spread + 1e-12)
    assert smallest == pytest.approx(eigenvalues.min(), abs=1e-2 * spread + 1e-12)


def test_products_that_are_not_numbers_end_the_solve_at_once():
    class Broken:
        size = 3

        def __matmul__(self, vector):
            return vector * torch.nan

    solve = ConjugateGradient(1e-8).solve(Broken(), torch.ones(3, dtype=torch.float64))
    assert solve.status == "stagnated"
    assert solve.iterations < 5
    assert torch.isfinite(solve.x).all()
