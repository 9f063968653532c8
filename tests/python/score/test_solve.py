"""A solver tells the truth about its answer, and remembers what it learned of the operator."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from puma_fast.score.solve import (
    SOLVERS,
    ConjugateGradient,
    Exact,
    Jacobi,
    Lanczos,
    Lissa,
    Nystrom,
    krylov_space,
    solver_named,
)

CPU = torch.device("cpu")


class Matrix:
    """A dense operator that counts its products and may err in them."""

    def __init__(self, dense, noise=0.0):
        self.dense, self.noise, self.size = dense, noise, len(dense)
        self.generator = torch.Generator().manual_seed(1)
        self.products = 0

    def __matmul__(self, vectors):
        self.products += 1 if vectors.ndim == 1 else vectors.shape[1]
        product = self.dense @ vectors
        random = torch.randn(product.shape, generator=self.generator, dtype=torch.float64)
        return product + self.noise * product.norm(dim=0) * random / len(vectors) ** 0.5


def symmetric(eigenvalues, seed=0):
    generator = torch.Generator().manual_seed(seed)
    basis, _ = torch.linalg.qr(
        torch.randn(len(eigenvalues), len(eigenvalues), generator=generator, dtype=torch.float64)
    )
    return basis @ torch.diag(torch.as_tensor(eigenvalues, dtype=torch.float64)) @ basis.T


def damped(p=300, condition=1e3, seed=0):
    """A spectrum like a damped curvature's: few large eigenvalues, a crowd at the damping."""
    return symmetric(1.0 / np.arange(1, p + 1) ** 1.5 + 1 / condition, seed)


def true_residual(A, x, rhs):
    return float(((rhs - A @ x).norm(dim=0) / rhs.norm(dim=0)).max())


def drawn(*shape, seed=2):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


RHS = drawn(60)

ITERATIVE = {
    "cg": ConjugateGradient,
    "without memory": lambda tol, max_iter=1000: ConjugateGradient(tol, max_iter, memory=0),
    "little memory": lambda tol, max_iter=1000: ConjugateGradient(tol, max_iter, memory=16 * 60 * 12),
    "jacobi": lambda tol, max_iter=1000: ConjugateGradient(tol, max_iter, preconditioner="jacobi"),
    "nystrom": lambda tol, max_iter=1000: ConjugateGradient(tol, max_iter, preconditioner=Nystrom(rank=20)),
}


@pytest.mark.parametrize("name", [*ITERATIVE, "lanczos", "exact"])
@pytest.mark.parametrize("condition", [1.0, 1e2, 1e3])
@pytest.mark.parametrize("columns", [None, 1, 4])
def test_every_solver_agrees_with_the_dense_solve(name, condition, columns):
    A = symmetric(np.geomspace(1 / condition, 1.0, 60))
    rhs = RHS if columns is None else drawn(60, columns)
    operator = Matrix(A)
    solver = {"lanczos": Lanczos(1e-8, rank=60), "exact": Exact(1e-12)}.get(name) or ITERATIVE[name](1e-12)
    if name == "lanczos" and condition == 1.0:
        rhs = 0 * rhs + krylov_space(operator, 1, device=CPU).basis[0].view(60, *[1] * (rhs.ndim - 1))
        operator.products = 0
    solve = solver.solve(operator, rhs)
    expected = torch.linalg.solve(A, rhs)
    assert solve.status == "solved"
    assert solve.x.shape == rhs.shape
    assert solve.iterations == operator.products
    torch.testing.assert_close(solve.x, expected, rtol=1e-8, atol=1e-8 * float(expected.abs().max()))
    assert true_residual(A, solve.x, rhs) == pytest.approx(solve.residual, rel=1e-3, abs=1e-14)
    assert solve.smallest_ritz >= 1 / condition * (1 - 1e-9)


def test_lissa_agrees_with_the_dense_solve_and_chooses_its_scale():
    A = symmetric(np.geomspace(1e-2, 50.0, 60))
    block = drawn(60, 3)
    for rhs in (RHS, block):
        operator = Matrix(A)
        solve = Lissa(1e-8, 100_000).solve(operator, rhs)
        assert (solve.status, solve.iterations) == ("solved", operator.products)
        expected = torch.linalg.solve(A, rhs)
        torch.testing.assert_close(solve.x, expected, rtol=1e-5, atol=1e-6 * float(expected.abs().max()))
        assert true_residual(A, solve.x, rhs) == pytest.approx(solve.residual, rel=1e-6)


def test_lissa_says_that_it_diverges():
    solve = Lissa(1e-8, scale=0.4).solve(Matrix(symmetric(np.linspace(0.1, 1.0, 60))), RHS)
    assert solve.status == "diverged"
    assert solve.iterations < 100
    assert solve.residual <= 1.0
    assert torch.isfinite(solve.x).all()


def test_lanczos_gives_the_best_of_its_space_and_says_how_far_it_is():
    A = damped()
    operator, rhs, solver = Matrix(A), drawn(300), Lanczos(1e-6, rank=40)
    first = solver.solve(operator, rhs)
    Q = krylov_space(Matrix(A), 40, device=CPU).basis
    torch.testing.assert_close(first.x, Q.T @ torch.linalg.solve(Q @ A @ Q.T, Q @ rhs), rtol=1e-8, atol=1e-9)
    assert (first.status, first.iterations) == ("max_iter", 41)
    assert first.residual == pytest.approx(true_residual(A, first.x, rhs), rel=1e-6)
    assert solver.solve(operator, drawn(300, seed=3)).iterations == 1


def test_block_columns_share_their_directions_and_may_coincide():
    """Equal, opposite, nought and dependent columns break nothing and cost nothing."""
    A = damped()
    one, two = drawn(300), drawn(300, seed=3)
    rhs = torch.stack([one, two, one, -2 * two, one + two, torch.zeros_like(one)], dim=1)
    operator = Matrix(A)
    solve = ConjugateGradient(1e-9).solve(operator, rhs)
    assert solve.status == "solved"
    assert true_residual(A, solve.x[:, :5], rhs[:, :5]) <= 1e-9
    assert not solve.x[:, 5].any()
    pair = ConjugateGradient(1e-9).solve(Matrix(A), torch.stack([one, two], dim=1))
    # But for the check of the residual, which is one product for every column asked for.
    assert solve.iterations - 6 <= pair.iterations - 2 + 4
    apart = sum(ConjugateGradient(1e-9, memory=0).solve(Matrix(A), each).iterations for each in (one, two))
    assert pair.iterations < apart


@pytest.mark.parametrize("tol", [1e-5, 1e-8])
def test_further_solves_on_one_operator_take_half_the_products(tol):
    A = damped(600, condition=1e3)
    operator, solver = Matrix(A), ConjugateGradient(tol)
    solver.solve(operator, drawn(600))
    spent = from_nought = 0
    for seed in (3, 4, 5):
        rhs = drawn(600, seed=seed)
        again = solver.solve(operator, rhs)
        cold = ConjugateGradient(tol).solve(Matrix(A), rhs)
        assert again.status == cold.status == "solved"
        spent += again.iterations
        from_nought += cold.iterations
        assert (again.x - cold.x).norm() <= 2e3 * tol * cold.x.norm()
        assert true_residual(A, again.x, rhs) <= tol
    assert 2 * spent <= from_nought
    assert solver.solve(operator, rhs).iterations <= 3


def test_products_formed_for_the_damping_are_not_formed_again():
    A = damped()
    space = krylov_space(Matrix(A), 20, device=CPU)
    shifted = Matrix(A + 0.001 * torch.eye(300, dtype=torch.float64))
    torch.testing.assert_close(space.images(0.001), shifted @ space.basis.T, rtol=1e-10, atol=1e-12)
    shifted.products, rhs, solver = 0, drawn(300), ConjugateGradient(1e-8)
    solver.learn(shifted, space.basis.T, space.images(0.001))
    taught, cold = solver.solve(shifted, rhs), ConjugateGradient(1e-8).solve(Matrix(shifted.dense), rhs)
    assert taught.status == "solved"
    assert taught.iterations < cold.iterations - 5
    assert true_residual(shifted.dense, taught.x, rhs) <= 1e-8


def test_another_operator_is_never_answered_from_memory():
    solver = ConjugateGradient(1e-10, preconditioner=Nystrom(10))
    for seed in (0, 1):
        A = damped(60, seed=seed)
        solve = solver.solve(Matrix(A), RHS)
        assert solve.status == "solved"
        assert true_residual(A, solve.x, RHS) <= 1e-10


def test_a_bounded_memory_is_kept():
    A = damped()
    operator, solver = Matrix(A), ConjugateGradient(1e-9, memory=16 * 300 * 20)
    for seed in range(4):
        rhs = drawn(300, seed=seed)
        solve = solver.solve(operator, rhs)
        assert solve.status == "solved"
        assert true_residual(A, solve.x, rhs) <= 1e-9
        assert solver._known[1].count <= 20
    cold = ConjugateGradient(1e-9, memory=0).solve(Matrix(A), rhs)
    assert solve.iterations < cold.iterations


def test_nystrom_pays_its_products_back_where_the_spectrum_falls_fast():
    A = symmetric(np.r_[np.geomspace(1, 1e4, 30), np.ones(270)])
    blocks = drawn(300, 1)
    plain = ConjugateGradient(1e-8, memory=0).solve(Matrix(A), blocks)
    operator = Matrix(A)
    solver = ConjugateGradient(1e-8, memory=0, preconditioner=Nystrom(rank=40))
    first = solver.solve(operator, blocks)
    assert first.iterations == operator.products
    assert first.iterations < plain.iterations
    assert solver.solve(operator, drawn(300, 1, seed=5)).iterations < plain.iterations / 2


def test_jacobi_repairs_layers_of_unlike_scale():
    scale = torch.from_numpy(np.repeat(np.geomspace(1.0, 1e3, 10), 30))
    A = scale[:, None] * symmetric(np.linspace(1, 10, 300)) * scale
    rhs = drawn(300)
    plain = ConjugateGradient(1e-8).solve(Matrix(A), rhs)
    blocked = Matrix(A)
    blocked.blocks = [30] * 10
    solve = ConjugateGradient(1e-8, preconditioner="jacobi").solve(blocked, rhs)
    assert solve.status == "solved"
    assert solve.iterations == blocked.products
    assert 2 * solve.iterations < plain.iterations


def test_jacobi_finds_the_diagonal_of_what_dominates_its_rows():
    A = torch.diag(torch.linspace(1, 1e4, 300, dtype=torch.float64)) + 0.1 * damped()
    jacobi = Jacobi(probes=40)
    assert jacobi.fit(Matrix(A), CPU) == 40
    torch.testing.assert_close(
        jacobi.apply(torch.ones(300, 1, dtype=torch.float64))[:, 0], 1 / A.diag(), rtol=0.05, atol=0
    )


@pytest.mark.parametrize("name", list(ITERATIVE))
@pytest.mark.parametrize("columns", [None, 3])
def test_the_true_residual_is_reported_where_products_are_noisy(name, columns):
    """Float32 products keep the residual up: that is said, and the best point is given."""
    A = symmetric(np.geomspace(1e-3, 1.0, 60))
    rhs = RHS if columns is None else drawn(60, columns)
    solve = ITERATIVE[name](1e-12).solve(Matrix(A, noise=1e-7), rhs)
    assert solve.status == "stalled"
    true = true_residual(A, solve.x, rhs)
    assert true < 1e-3
    assert solve.residual == pytest.approx(true, rel=1.0)


def test_exact_refines_and_stalls_where_products_are_noisy():
    A = symmetric(np.geomspace(1e-3, 1.0, 60))
    solve = Exact(1e-12).solve(Matrix(A, noise=1e-7), RHS)
    assert solve.status == "stalled"
    assert solve.residual == pytest.approx(true_residual(A, solve.x, RHS), rel=1.0)
    assert solve.residual < 1e-3


@pytest.mark.parametrize("name", list(ITERATIVE))
def test_the_budget_is_kept_and_said(name):
    A = symmetric(np.geomspace(1e-6, 1.0, 60))
    solver, operator = ITERATIVE[name](1e-12, max_iter=10), Matrix(A)
    solve = solver.solve(operator, RHS)
    setup = {"jacobi": 10, "nystrom": 20}.get(name, 0)
    assert solve.status == "max_iter"
    assert solve.iterations == operator.products <= setup + 11
    assert solve.residual == pytest.approx(true_residual(A, solve.x, RHS), rel=1e-6)


@pytest.mark.parametrize("name", [*ITERATIVE, "lissa", "lanczos", "exact"])
@pytest.mark.parametrize("columns", [None, 2])
def test_negative_curvature_is_seen(name, columns):
    A = Matrix(symmetric([-0.1, *np.linspace(0.5, 1, 59)]))
    solver = ITERATIVE[name](1e-10) if name in ITERATIVE else solver_named(name, 1e-10, 1000)
    solve = solver.solve(A, RHS if columns is None else drawn(60, columns))
    assert solve.status == "negative_curvature"
    assert -0.1 - 1e-12 <= solve.smallest_ritz < 0
    assert torch.isfinite(solve.x).all()


@pytest.mark.parametrize("name", SOLVERS)
def test_a_zero_right_hand_side_and_a_single_parameter(name):
    solver = solver_named(name, 1e-10, 1000)
    one = Matrix(torch.full((1, 1), 4.0, dtype=torch.float64))
    for rhs in (torch.full((1,), 2.0, dtype=torch.float64), torch.full((1, 3), 2.0, dtype=torch.float64)):
        solve = solver.solve(one, rhs)
        assert solve.status == "solved"
        torch.testing.assert_close(solve.x, rhs / 4)
    nought = solver.solve(Matrix(symmetric([1.0, 2.0])), torch.zeros(2, dtype=torch.float64))
    assert (nought.residual, nought.status) == (0.0, "solved")
    assert not nought.x.any()
    if name in ("cg", "nystrom"):
        assert nought.iterations == 0


def test_exact_refuses_what_would_not_fit():
    message = r"60 x 60 matrix of 0.0 GB, above its limit of 50 parameters; use solver='cg', or Exact\(max_"
    with pytest.raises(ValueError, match=message):
        Exact(max_size=50).solve(Matrix(symmetric(np.ones(60))), RHS)


def test_exact_forms_the_matrix_once_and_counts_it_once():
    A = Matrix(symmetric(np.linspace(1, 2, 60)))
    solver = Exact()
    assert solver.solve(A, RHS).iterations == A.products == 61
    assert solver.solve(A, 2 * RHS).iterations == 1


@pytest.mark.parametrize(
    "eigenvalues", [np.linspace(-1, 3, 60), np.geomspace(1e-4, 5, 60), np.ones(60), np.zeros(60)]
)
def test_lanczos_finds_the_extremes(eigenvalues):
    smallest, largest = krylov_space(Matrix(symmetric(eigenvalues)), 50, device=CPU).extremes
    spread = np.ptp(eigenvalues)
    assert largest == pytest.approx(eigenvalues.max(), abs=1e-3 * spread + 1e-12)
    assert smallest == pytest.approx(eigenvalues.min(), abs=1e-2 * spread + 1e-12)


@pytest.mark.parametrize("columns", [None, 2])
def test_products_that_are_not_numbers_end_the_solve_at_once(columns):
    class Broken:
        size = 3

        def __matmul__(self, vectors):
            return vectors * torch.nan

    rhs = torch.ones(3, dtype=torch.float64) if columns is None else drawn(3, columns)
    solve = ConjugateGradient(1e-8).solve(Broken(), rhs)
    assert solve.status == "stalled"
    assert solve.iterations < 6
    assert torch.isfinite(solve.x).all()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ConjugateGradient(0.0), r"tol must be a number between 0 and 1, got 0.0"),
        (lambda: ConjugateGradient(1e-6, 0), r"max_iter must be at least 1, got 0"),
        (lambda: ConjugateGradient(1e-6, memory=-1), r"memory must be at least 0, got -1"),
        (lambda: ConjugateGradient(1e-6, preconditioner="ilu"), r"one of jacobi, nystrom, or have fit and"),
        (lambda: Jacobi(0), r"probes must be at least 1, got 0"),
        (lambda: Nystrom(0), r"rank must be at least 1, got 0"),
        (lambda: Lissa(1e-6, scale=-1.0), r"scale must be a finite number above 0"),
        (lambda: Lanczos(1e-6, rank=0), r"rank must be at least 1, got 0"),
        (lambda: Exact(max_size=0), r"max_size must be at least 1, got 0"),
        (lambda: solver_named("arnoldi", 1e-6, 10), r"one of cg, nystrom, lanczos, lissa, exact, or have"),
    ],
)
def test_bad_settings_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
