"""Curvature products against dense matrices written down from their definition."""

from __future__ import annotations

import warnings
from typing import NoReturn

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, hessian, jacrev
from torch.nn import functional

from puma_fast.data import Samples
from puma_fast.score.curvature import Curvature
from puma_fast.score.damping import Damping
from puma_fast.score.influence import Influence
from puma_fast.score.objective import Objective
from puma_fast.score.solve import ConjugateGradient, Exact, Lissa, Nystrom, krylov_space

LOSSES = ["cross_entropy", "mse_loss", "binary_cross_entropy_with_logits"]


def case(loss, *, bias):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4, bias=bias), nn.Tanh(), nn.Linear(4, 2, bias=bias)).double()
    X = torch.randn(23, 3, dtype=torch.float64)
    y = {
        "cross_entropy": torch.randint(0, 2, (23,)),
        "mse_loss": torch.randn(23, 2, dtype=torch.float64),
        "binary_cross_entropy_with_logits": torch.randint(0, 2, (23, 2)).double(),
    }[loss]
    return model, X, y


def flat(model):
    theta = torch.cat([p.detach().reshape(-1) for p in model.parameters()])
    shapes = {name: p.shape for name, p in model.named_parameters()}

    def outputs(at, X):
        pieces = at.split([shape.numel() for shape in shapes.values()])
        named = {name: piece.view(shape) for piece, (name, shape) in zip(pieces, shapes.items(), strict=True)}
        return functional_call(model, named, (X,))

    return theta, outputs


def dense(kind, loss, model, X, y, decay):
    theta, outputs = flat(model)
    function = getattr(functional, loss)

    def mean(z, at_y):
        return function(z, at_y, reduction="mean")

    if kind == "hessian":
        matrix = hessian(lambda at: mean(outputs(at, X), y))(theta)
    elif kind == "fisher":
        G = jacrev(lambda at: torch.stack([mean(outputs(at, X)[i], y[i]) for i in range(len(X))]))(theta)
        matrix = G.T @ G / len(X)
    else:
        J = jacrev(outputs)(theta, X)
        per_sample = [
            hessian(mean)(z[None], t[None]).reshape(2, 2) for z, t in zip(outputs(theta, X), y, strict=True)
        ]
        matrix = sum(j.T @ h @ j for j, h in zip(J, per_sample, strict=True)) / len(X)
    return matrix + decay * torch.eye(len(theta), dtype=torch.float64)


@pytest.mark.parametrize("kind", ["ggn", "hessian", "fisher"])
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("decay", [0.0, 0.1])
@pytest.mark.parametrize("batch_size", [1, 7, 23])
def test_products_equal_the_dense_matrix(kind, loss, bias, decay, batch_size):
    model, X, y = case(loss, bias=bias)
    objective = Objective(model, loss, weight_decay=decay)
    curvature = Curvature(objective, Samples((X, y), batch_size=batch_size), kind, damping=0.25)
    eye = torch.eye(curvature.size, dtype=torch.float64)
    product = curvature @ eye
    torch.testing.assert_close(curvature @ eye[0], product[:, 0], rtol=1e-10, atol=1e-12)
    expected = dense(kind, loss, model, X, y, decay) + 0.25 * eye
    torch.testing.assert_close(product, expected, rtol=1e-10, atol=1e-12)
    assert curvature.products == curvature.size + 1


@pytest.mark.parametrize("kind", ["ggn", "hessian", "fisher"])
@pytest.mark.parametrize("trained", [False, True])
@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.filterwarnings("ignore:`torch.jit:FutureWarning")
@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
def test_what_torchscript_has_optimized_keeps_its_derivatives(kind, trained, nested):
    model, X, y = case("cross_entropy", bias=True)
    scripted = torch.jit.script(model)
    whole = nn.Sequential(scripted) if nested else scripted
    for _ in range(3 * trained):
        whole(X).sum().backward()
    objective = Objective(whole)
    with objective.untouched():
        # A plan is for the shapes that it was made with.
        curvature = Curvature(objective, Samples((X, y), batch_size=23), kind)
        products = [curvature @ each for each in torch.eye(curvature.size, dtype=torch.float64)]
    torch.testing.assert_close(torch.stack(products, 1), dense(kind, "cross_entropy", model, X, y, 0.0))


def test_chosen_parameters_give_the_block_of_the_whole():
    model, X, y = case("cross_entropy", bias=True)
    whole = dense("ggn", "cross_entropy", model, X, y, 0.0)
    head = Curvature(Objective(model, params="2.*"), Samples((X, y)), "ggn")
    block = torch.stack([head @ row for row in torch.eye(head.size, dtype=torch.float64)])
    torch.testing.assert_close(block, whole[-head.size :, -head.size :], rtol=1e-10, atol=1e-12)


def test_an_unknown_kind_and_a_whole_objective_are_refused():
    model, X, y = case("cross_entropy", bias=True)
    with pytest.raises(ValueError, match=r"curvature must be one of ggn, hessian, fisher, got 'kfac'"):
        Curvature(Objective(model), Samples((X, y)), "kfac")
    whole = Objective(model, objective=lambda model, batch: model(batch[0]).square().sum(1))
    with pytest.raises(ValueError, match=r"pass curvature='hessian'"):
        Curvature(whole, Samples((X, y)), "ggn")


SOLVERS = {
    "cg": lambda: ConjugateGradient(1e-12),
    "jacobi": lambda: ConjugateGradient(1e-12, preconditioner="jacobi"),
    "nystrom": lambda: ConjugateGradient(1e-12, preconditioner=Nystrom(8)),
    "lissa": lambda: Lissa(1e-5),
    "exact": Exact,
}


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("kind", ["ggn", "hessian", "fisher"])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_every_solver_inverts_the_dense_matrix_whatever_the_batches(solver, kind, bias, decay):
    """One random right-hand side and a block of two, at batch sizes 1, 7 (a short last batch) and n."""
    model, X, y = case("cross_entropy", bias=bias)
    matrix = dense(kind, "cross_entropy", model, X, y, decay)
    lowest, highest = torch.linalg.eigvalsh(matrix)[[0, -1]].tolist()
    damping = 0.2 * highest - min(0.0, lowest)
    matrix += damping * torch.eye(len(matrix), dtype=torch.float64)
    rhs = torch.randn(len(matrix), 3, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    expected = torch.linalg.solve(matrix, rhs)
    objective = Objective(model, "cross_entropy", weight_decay=decay)
    for batch_size in {"cg": (1, 7, 23), "lissa": (23,)}.get(solver, (7, 23)):
        curvature = Curvature(objective, Samples((X, y), batch_size=batch_size), kind, damping)
        made = SOLVERS[solver]()
        for columns in (0, slice(1, 3)):
            before = curvature.products
            solve = made.solve(curvature, rhs[:, columns])
            assert solve.status == "solved", str(solve)
            assert solve.iterations == curvature.products - before
            error = (solve.x - expected[:, columns]).norm() / expected[:, columns].norm()
            assert float(error) < (1e-4 if solver == "lissa" else 1e-9)


def test_float32_products_are_added_up_in_float64():
    """The product is the mean of the single samples' float32 products, to float64 rounding."""
    torch.manual_seed(0)
    objective = Objective(nn.Linear(3, 2))
    X, y = torch.randn(30, 3) + 3, torch.randint(0, 2, (30,))
    v = torch.randn(8, dtype=torch.float64)
    apart = [Curvature(objective, Samples((X[i : i + 1], y[i : i + 1]))) @ v for i in range(30)]
    together = Curvature(objective, Samples((X, y), batch_size=1)) @ v
    torch.testing.assert_close(together, torch.stack(apart).mean(0), rtol=1e-12, atol=1e-13)


def test_parameters_that_are_not_chosen_get_no_gradient_work():
    class Watched(torch.autograd.Function):
        generate_vmap_rule = True

        @staticmethod
        def forward(x) -> Tensor:
            return x.clone()

        @staticmethod
        def setup_context(ctx, inputs, output) -> None:
            pass

        @staticmethod
        def backward(ctx, gradient) -> NoReturn:
            raise AssertionError("a gradient went back into the frozen part")

        @staticmethod
        def jvp(ctx, tangent) -> NoReturn:
            raise AssertionError("a tangent came out of the frozen part")

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.body, self.head = nn.Linear(3, 4), nn.Linear(4, 2)

        def forward(self, x):
            return self.head(Watched.apply(self.body(x)))

    X, y = torch.randn(9, 3), torch.randint(0, 2, (9,))
    head = Curvature(Objective(Net(), params="head.*"), Samples((X, y)))
    assert torch.isfinite(head @ torch.ones(10, 3, dtype=torch.float64)).all()
    whole = Curvature(Objective(Net()), Samples((X, y)))
    with pytest.raises(AssertionError, match="frozen part"):
        whole @ torch.ones(26, dtype=torch.float64)


def test_a_model_that_cannot_be_vectorised_gives_the_same_numbers_one_by_one():
    class Branching(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(3, 2, dtype=torch.float64)

        def forward(self, x):
            z = self.layer(x)
            kept = torch.zeros_like(z)
            kept[:] = z
            return kept

    torch.manual_seed(0)
    X, y = torch.randn(9, 3, dtype=torch.float64), torch.randint(0, 2, (9,))
    model = Branching()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        product = Curvature(Objective(model), Samples((X, y))) @ torch.eye(8, dtype=torch.float64)
    expected = Curvature(Objective(model.layer), Samples((X, y))) @ torch.eye(8, dtype=torch.float64)
    torch.testing.assert_close(product, expected, rtol=1e-10, atol=1e-12)


@pytest.fixture
def indefinite():
    """A network far from a minimum: its exact Hessian has negative eigenvalues."""
    model, X, y = case("cross_entropy", bias=True)
    matrix = dense("hessian", "cross_entropy", model, X, y, 0.0)
    assert float(torch.linalg.eigvalsh(matrix)[0]) < -1e-3
    return Objective(model), Samples((X, y)), matrix


def test_automatic_damping_makes_an_indefinite_hessian_positive_and_says_why(indefinite):
    objective, samples, matrix = indefinite
    influence = Influence(objective, samples, curvature="hessian")
    lowest, highest = torch.linalg.eigvalsh(matrix)[[0, -1]].tolist()
    assert influence.damping.value == pytest.approx(1e-3 * highest - 1.1 * lowest, rel=1e-3)
    assert "Lanczos" in influence.damping.reason
    rhs = torch.ones(len(matrix), dtype=torch.float64)
    solve = influence.inverse(rhs, stage="test")
    damped = matrix + influence.damping.value * torch.eye(len(matrix), dtype=torch.float64)
    torch.testing.assert_close(damped @ solve.x, rhs, rtol=1e-7, atol=1e-7)


def test_a_first_solve_raises_a_damping_that_was_too_little_and_a_later_one_refuses(indefinite, monkeypatch):
    objective, samples, matrix = indefinite

    def too_little(curvature):
        return Damping(1e-6, "too little"), krylov_space(curvature, 2, device=torch.device("cpu"))

    monkeypatch.setattr("puma_fast.score.influence.choose_damping", too_little)
    influence = Influence(objective, samples, curvature="hessian")
    before = influence.damping.value
    rhs = torch.ones(len(matrix), dtype=torch.float64)
    solve = influence.inverse(rhs, stage="test")
    assert solve.status == "solved"
    assert influence.damping.value > before
    assert "raised by" in influence.damping.reason
    damped = matrix + influence.damping.value * torch.eye(len(matrix), dtype=torch.float64)
    torch.testing.assert_close(damped @ solve.x, rhs, rtol=1e-7, atol=1e-7)

    later = Influence(objective, samples, curvature="hessian")
    later._current().solved = True
    with pytest.raises(
        ValueError, match=r"leaves the hessian curvature with an eigenvalue of .* or more than"
    ):
        later.inverse(rhs, stage="test")


def test_a_given_damping_is_never_changed(indefinite):
    objective, samples, matrix = indefinite
    influence = Influence(objective, samples, curvature="hessian", damping=0.0)
    with pytest.raises(ValueError, match=r"damping=0 leaves the hessian curvature"):
        influence.inverse(torch.ones(len(matrix), dtype=torch.float64), stage="test")
    assert influence.damping.reason == "given"


def test_the_damping_s_products_shorten_the_first_solve():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 12), nn.Tanh(), nn.Linear(12, 4)).double()
    X, y = torch.randn(120, 6, dtype=torch.float64), torch.randint(0, 4, (120,))
    objective, samples = Objective(model), Samples((X, y))
    rhs = objective.gradient((X[:40], y[:40]))
    taught = Influence(objective, samples)
    given = Influence(objective, samples, damping=taught.damping.value)
    first, cold = taught.inverse(rhs, stage="test"), given.inverse(rhs, stage="test")
    assert first.iterations < cold.iterations - 5
    torch.testing.assert_close(first.x, cold.x, rtol=1e-6, atol=1e-6 * float(cold.x.abs().max()))
