"""The preconditioner from the heaviest samples: what it picks, what it costs, and what comes out."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn

from puma_fast.data import Samples
from puma_fast.distributed import Ranks
from puma_fast.score.curvature import Curvature
from puma_fast.score.heaviest import heaviest
from puma_fast.score.objective import Objective
from puma_fast.score.solve import ConjugateGradient, Subsampled, solver_named
from ranks import in_ranks

N, D, K = 240, 12, 4


class Softmax(nn.Module):
    """A softmax regression."""

    def __init__(self, weight):
        super().__init__()
        self.weight = nn.Parameter(weight)

    def forward(self, x):
        return x @ self.weight.T


def task(sure=0.9, seed=0):
    """Give a model and samples of which it is sure, but for the others, which lie scattered among them."""
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(K, D, generator=generator, dtype=torch.float64)
    X = torch.randn(N, D, generator=generator, dtype=torch.float64)
    length = torch.where(torch.rand(N, generator=generator) < sure, 12.0, 1.0)
    X = X * length[:, None]
    return Softmax(weight), (X, (X @ weight.T).argmax(1))


def probabilities(model, X):
    with torch.no_grad():
        return torch.softmax(X @ model.weight.T, 1)


def curvature(model, data, kind="ggn", **settings):
    objective = Objective(model, weight_decay=1e-3)
    return Curvature(objective, Samples(data, batch_size=settings.pop("batch_size", 12)), kind, **settings)


def dense(operator):
    return operator @ torch.eye(operator.size, dtype=torch.float64)


def picked(kind="ggn", batch_size=12, ranks=None):
    model, data = task()
    samples = Samples(data, batch_size=batch_size, ranks=ranks)
    return heaviest(Objective(model), samples, kind)


@pytest.mark.parametrize("kind", ["ggn", "hessian"])
def test_the_heaviest_samples_hold_most_of_the_trace(kind):
    model, (X, _) = task()
    held = 1 - probabilities(model, X).square().sum(1)
    few = picked(kind)
    order = torch.argsort(-held)
    fewest = int((held[order].cumsum(0) < 0.8 * held.sum()).sum()) + 1
    # Random signs estimate the trace.
    assert float(held[few].sum() / held.sum()) > 0.75
    assert len(few) <= fewest + 4
    assert (np.diff(few) > 0).all()


def test_the_heaviest_of_the_fisher_matrix_have_the_longest_gradients():
    model, (X, y) = task()
    gradients = (probabilities(model, X) - nn.functional.one_hot(y, K)).square().sum(1)
    order = torch.argsort(-gradients, stable=True)
    fewest = int((gradients[order].cumsum(0) < 0.8 * gradients.sum()).sum()) + 1
    np.testing.assert_array_equal(picked("fisher"), np.sort(order[:fewest].numpy()))


def picked_together():
    return picked(ranks=Ranks.of_this_job())


def test_neither_batches_nor_ranks_change_what_is_picked():
    np.testing.assert_array_equal(picked(batch_size=17), picked())
    for few in in_ranks(3, picked_together):
        np.testing.assert_array_equal(few, picked())


class Parts(NamedTuple):
    """Outputs of several parts: classes are no real numbers, and a state has no row for each sample."""

    classes: Tensor
    logits: Tensor
    state: Tensor


NESTED = {
    "tuple": (lambda z: Parts(z.argmax(1), z, z.sum(0)), lambda outputs: outputs.logits),
    "mapping": (lambda z: {"aux": [z.sum(0)], "logits": z}, lambda outputs: outputs["logits"]),
    "two that matter": (lambda z: (z[:, :2], z[:, 2:]), lambda outputs: torch.cat(outputs, 1)),
}


def nested(name, model):
    """Give an objective whose outputs are not one tensor, and which is the same otherwise."""
    nest, take = NESTED[name]

    def loss(outputs, y):
        return nn.functional.cross_entropy(take(outputs), y, reduction="none")

    return Objective(model, loss, forward=lambda model, batch: nest(model(batch[0])), weight_decay=1e-3)


@pytest.mark.parametrize("name", NESTED)
@pytest.mark.parametrize("kind", ["ggn", "hessian", "fisher"])
def test_outputs_of_several_parts_tell_the_same(name, kind):
    model, data = task()
    objective, samples = nested(name, model), Samples(data, batch_size=12)
    few = heaviest(objective, samples, kind)
    if name == "two that matter" and kind != "fisher":
        # Other signs: as good a pick.
        assert len(few) <= len(picked(kind)) + 4
    else:
        np.testing.assert_array_equal(few, picked(kind))
    whole = Curvature(objective, samples, kind)
    expected = dense(curvature(model, data, kind))
    torch.testing.assert_close(dense(whole), expected, rtol=1e-10, atol=1e-13)
    with samples.keeping():
        whole.rehearse(samples.first(2))
        assert kind in objective.recordable
        torch.testing.assert_close(dense(whole), expected, rtol=1e-10, atol=1e-13)


def whole_loss(outputs, y):
    return nn.functional.cross_entropy(outputs[0], y, reduction="none")


def test_where_the_curvature_is_not_with_few_there_is_no_part():
    model, data = task()
    assert curvature(model, data).heaviest() is not None
    assert curvature(model, data, batch_size=60).heaviest() is None
    assert curvature(*task(sure=0.5)).heaviest() is None
    spread = Objective(model, lambda outputs, _: outputs.square().sum(1))
    assert Curvature(spread, Samples(data, batch_size=12)).heaviest() is None
    no_rows = Objective(model, whole_loss, forward=lambda model, batch: model(batch[0])[None])
    assert Curvature(no_rows, Samples(data, batch_size=12)).heaviest() is None
    whole = Objective(model, objective=lambda model, batch: model(batch[0]).logsumexp(1))
    assert Curvature(whole, Samples(data, batch_size=12), "hessian").heaviest() is None


@pytest.mark.parametrize("kind", ["ggn", "hessian", "fisher"])
@pytest.mark.parametrize("recorded", [False, True])
def test_a_part_is_the_curvature_of_its_samples_over_all(kind, recorded):
    model, (X, y) = task()
    part = curvature(model, (X, y), kind, damping=0.01).heaviest()
    few = torch.from_numpy(part.positions)
    alone = curvature(model, (X[few], y[few]), kind)
    diagonal = 1e-3 * torch.eye(part.size, dtype=torch.float64)
    expected = (dense(alone) - diagonal) * len(few) / N + diagonal * 11
    with part.samples.keeping():
        if recorded:
            part.rehearse(part.samples.first(2))
        torch.testing.assert_close(dense(part), expected, rtol=1e-10, atol=1e-13)
    assert part.share == len(few) / N


class Digits(nn.Sequential):
    """A network that counts the samples it is evaluated on."""

    rows = 0

    def forward(self, x):
        self.rows += len(x)
        return super().forward(x)


@pytest.fixture(scope="module")
def digits():
    """Give a network that has learned handwritten digits, its training data and held-out data."""
    X, y = (torch.as_tensor(each) for each in load_digits(return_X_y=True))
    X = X / 16
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        model = Digits(nn.Linear(64, 32), nn.Tanh(), nn.Linear(32, 10)).double()
    optimizer = torch.optim.Adam(model.parameters(), 3e-2, weight_decay=1e-4)
    for _ in range(300):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(X[:1200]), y[:1200]).backward()
        optimizer.step()
    return model, (X[:1200], y[:1200]), (X[1200:], y[1200:])


@pytest.mark.parametrize("kind", ["ggn", "hessian"])
def test_the_few_save_products_and_change_no_solution(digits, kind):
    model, data, held_out = digits
    objective = Objective(model, weight_decay=1e-4)
    sides = [objective.gradient(held_out), objective.gradient((data[0][:30], data[1][:30]))]
    operators = [Curvature(objective, Samples(data, batch_size=100), kind, 3e-4) for _ in range(2)]
    solvers = solver_named("cg", 1e-6, 1000), ConjugateGradient(1e-6)
    whole, counts = Curvature(objective, Samples(data, batch_size=1200), kind, 3e-4), []
    for operator, solver in zip(operators, solvers, strict=True):
        for rhs in sides:
            model.rows = 0
            solve = solver.solve(operator, rhs)
            evaluated = model.rows / len(data[0])
            assert solve.status == "solved"
            assert float((whole @ solve.x - rhs).norm()) <= 1.001e-6 * float(rhs.norm())
            # What is said to be spent is what the model was evaluated on, rounded up where parts begin.
            assert evaluated - 1 <= solve.iterations <= evaluated + 2
            counts.append(solve.iterations)
    few, plain = counts[:2], counts[2:]
    assert few[0] < 0.75 * plain[0]
    assert sum(few) < 0.75 * sum(plain)
    # Several right-hand sides share the part as they share directions.
    rhs = torch.stack(sides, dim=1)
    block = solvers[0].solve(Curvature(objective, operators[0].samples, kind, 3e-4), rhs)
    assert bool(((whole @ block.x - rhs).norm(dim=0) <= 1.001e-6 * rhs.norm(dim=0)).all())
    assert block.iterations < 1.1 * sum(few)


class Matrix:
    """A dense operator with a part."""

    share = 0.125

    def __init__(self, dense, part=None):
        self.dense, self.part, self.size = dense, part, len(dense)

    def __matmul__(self, vectors):
        return self.dense @ vectors

    def heaviest(self):
        return None if self.part is None else Matrix(self.part)


def test_a_part_that_cannot_be_inverted_is_let_go():
    entries = torch.linspace(1, 50, 60, dtype=torch.float64)
    rhs = torch.ones(60, dtype=torch.float64)
    for part in (-torch.diag(entries), torch.diag(entries - 5)):
        preconditioner = Subsampled()
        solver = ConjugateGradient(1e-10, preconditioner=preconditioner)
        solve = solver.solve(Matrix(torch.diag(entries), part), rhs)
        assert solve.status == "solved"
        torch.testing.assert_close(solve.x, rhs / entries)
        spent = preconditioner.spent
        assert spent > 0
        assert solver.solve(solver._known[0], entries.sin()).status == "solved"
        assert preconditioner.spent == spent


def test_the_budget_counts_what_the_few_take():
    entries = torch.linspace(1, 1000, 200, dtype=torch.float64)
    rhs = torch.ones(200, dtype=torch.float64)
    operator = Matrix(torch.diag(entries), torch.diag(entries + 50 * torch.sin(entries)))
    solver = ConjugateGradient(1e-12, 10, preconditioner=Subsampled())
    solve = solver.solve(operator, rhs)
    assert solve.status == "max_iter"
    # The last application may end above it, and the check comes on top.
    assert solve.iterations <= 10 + 100 * operator.share + 2
