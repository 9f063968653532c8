"""Self-influence and the gradients of single samples, against dense references and refits."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

import puma_fast as pf
from convex import problem
from puma_fast.score.inverse_root import inverse_root
from puma_fast.score.sketch import CountSketch


@pytest.fixture(scope="module")
def convex():
    return problem(n=60)


def puma_of(convex, model=None, **arguments):
    settings = {"holdout": convex.holdout, "weight_decay": convex.decay, "damping": 0.003, "tol": 1e-12}
    return pf.Puma(model or convex.model(), convex.data, **(settings | arguments))


def dense(convex):
    """Gradients (n, p) and damped curvature (p, p), by autograd."""
    theta = convex.fit()

    def loss(at, x, y):
        return cross_entropy(convex.logits(at, x[None]), y[None])

    gradients = torch.stack([torch.func.grad(loss)(theta, x, y) for x, y in zip(*convex.data, strict=True)])
    hessian = torch.func.hessian(convex.objective)(theta, torch.ones(len(convex.X), dtype=torch.float64))
    return gradients, hessian + 0.003 * torch.eye(len(theta), dtype=torch.float64)


@pytest.mark.parametrize("solver", ["cg", "exact"])
@pytest.mark.parametrize("batch_size", [7, 60])
def test_self_influence_is_the_dense_one(convex, batch_size, solver):
    gradients, hessian = dense(convex)
    expected = (gradients * torch.linalg.solve(hessian, gradients.T).T).sum(1)
    puma = puma_of(convex, batch_size=batch_size, solver=solver)
    np.testing.assert_allclose(puma.self_influence(), expected, rtol=1e-8)
    np.testing.assert_allclose(puma.self_influence([41, 3]), expected[[41, 3]], rtol=1e-8)


def test_self_influence_predicts_what_leaving_out_does(convex):
    """To first order the loss of a sample rises by its self-influence over n when it is left out."""
    puma = puma_of(convex, damping=0.0)
    own = puma.self_influence()
    theta, n = convex.fit(), len(convex.X)

    def losses(at):
        return cross_entropy(convex.logits(at, convex.X), convex.y, reduction="none")

    for sample in np.argsort(own)[[0, n // 2, 3 * n // 4]]:
        removal = puma.remove([int(sample)], up=None)
        weights = torch.ones(n, dtype=torch.float64)
        weights[sample] -= 0.1
        rise = 10 * n * float((losses(convex.fit(weights)) - losses(theta))[sample])
        assert own[sample] == pytest.approx(rise, rel=0.1)
        assert removal.plain.vector.shape == theta.shape


@pytest.mark.parametrize("batch_size", [7, 60])
def test_the_estimate_errs_by_what_it_says(convex, batch_size):
    """Relative errors have a standard deviation of √(2/probes), over seeds and samples."""
    puma = puma_of(convex, batch_size=batch_size)
    exact, probes = puma.self_influence(), 50
    errors = np.stack(
        [puma.self_influence(probes=probes, seed=seed) / exact - 1 for seed in range(8)], dtype=float
    )
    said = np.sqrt(2 / probes)
    assert abs(errors.mean()) < said
    assert 0.6 * said < errors.std() < 1.5 * said
    np.testing.assert_array_equal(
        puma.self_influence(probes=3, seed=5), puma.self_influence(probes=3, seed=5)
    )


@pytest.mark.parametrize("probes", [0, -1, 1.5, "a"])
def test_probes_are_counted(convex, probes):
    with pytest.raises((TypeError, ValueError), match="probes must be"):
        puma_of(convex).self_influence(probes=probes)


@pytest.mark.parametrize("condition", [1.0, 10.0, 1e4])
def test_the_inverse_root_is_the_dense_one(condition):
    generator = torch.Generator().manual_seed(0)
    basis = torch.linalg.qr(torch.randn(40, 40, generator=generator, dtype=torch.float64))[0]
    values = torch.logspace(0, np.log10(condition), 40, dtype=torch.float64)

    class Matrix:
        size = 40
        dense = basis @ torch.diag(values) @ basis.T

        def __matmul__(self, vector):
            return self.dense @ vector

    start = torch.randn(40, generator=generator, dtype=torch.float64)
    root, residual = inverse_root(Matrix(), start, tol=1e-8, max_products=200)
    expected = basis @ (values**-0.5 * (basis.T @ start))
    assert residual <= 1e-8
    # A condition number of 1e4 lets rounding in more Lanczos steps than the matrix has rows.
    error = float((root - expected).norm() / expected.norm())
    assert error <= max(1e-12, condition**0.5 * 1e-8) or condition > 1e3
    assert error <= 1e-4


def test_an_indefinite_matrix_has_no_root():
    class Matrix:
        size = 2

        def __matmul__(self, vector):
            return vector * torch.tensor([1.0, -1.0], dtype=torch.float64)

    with pytest.raises(ValueError, match="no inverse root; raise damping"):
        inverse_root(Matrix(), torch.tensor([1.0, 2.0], dtype=torch.float64), tol=1e-8, max_products=9)


# Gradients of single samples.


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.attend = nn.MultiheadAttention(2, 1, batch_first=True)

    def forward(self, x):
        x = x.unflatten(1, (2, 2))
        return self.attend(x, x, x, need_weights=False)[0].flatten(1)


class Looking(nn.Module):
    """A forward whose way depends on the numbers: no vectorised pass goes through it."""

    def forward(self, x):
        return x if bool((x > -1e30).all()) else -x


def of_kind(kind):
    torch.manual_seed(0)
    layers = {
        "batch norm": [nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Dropout(), nn.ReLU()],
        "attention": [Attention()],
        "looking": [nn.Linear(4, 4), Looking()],
    }[kind]
    return nn.Sequential(*layers, nn.Linear(4, 3)).double()


@pytest.mark.filterwarnings("ignore:torch cannot vectorise:UserWarning")
@pytest.mark.parametrize("kind", ["batch norm", "attention", "looking"])
@pytest.mark.parametrize("chunk", [None, 1, 7])
def test_per_sample_gradients_are_autograds(convex, kind, chunk):
    model = of_kind(kind)
    puma = puma_of(convex, model)
    rows = list(puma.per_sample_gradients(chunk=chunk))
    assert np.concatenate([where for where, _ in rows]).tolist() == list(range(60))
    assert max(len(where) for where, _ in rows) <= (chunk or 60)
    model.eval()
    for ours, x, y in zip(np.concatenate([each for _, each in rows]), *convex.data, strict=True):
        theirs = torch.autograd.grad(cross_entropy(model(x[None]), y[None]), list(model.parameters()))
        np.testing.assert_allclose(ours, nn.utils.parameters_to_vector(theirs), rtol=1e-9, atol=1e-12)


def test_what_cannot_be_vectorised_is_told(convex):
    with pytest.warns(UserWarning, match="cannot vectorise the model over the samples of a batch"):
        list(puma_of(convex, of_kind("looking")).per_sample_gradients())


def test_they_come_for_the_ids_in_their_order_and_type(convex):
    puma = pf.Puma(convex.model().float(), (convex.X.float(), convex.y), ids=np.arange(100, 160))
    everything = np.concatenate([rows for _, rows in puma.per_sample_gradients()])
    ((where, rows),) = puma.per_sample_gradients([141, 103])
    assert where.tolist() == [41, 3]
    assert rows.dtype == everything.dtype == np.float32
    np.testing.assert_allclose(rows, everything[[41, 3]], rtol=1e-5, atol=1e-7)


def test_the_model_is_itself_between_two_chunks(convex):
    model = of_kind("batch norm").train()
    before = torch.random.get_rng_state()
    for _ in puma_of(convex, model, batch_size=20).per_sample_gradients():
        assert all(module.training for module in model.modules())
    assert torch.equal(torch.random.get_rng_state(), before)


def test_a_projection_keeps_inner_products_on_average(convex):
    model = of_kind("batch norm")
    puma = puma_of(convex, model)
    (_, whole), *_ = puma.per_sample_gradients(range(20))
    grams = []
    for seed in range(200):
        ((_, rows),) = puma.per_sample_gradients(range(20), projection=8, seed=seed)
        assert rows.shape == (20, 8)
        grams.append(rows @ rows.T)
    truth, norms = whole @ whole.T, (whole**2).sum(1)
    bound = np.sqrt((np.outer(norms, norms) + truth**2) / 8)
    assert (np.std(grams, axis=0) <= 1.2 * bound).all()
    assert (np.abs(np.mean(grams, axis=0) - truth) <= 4.5 * bound / np.sqrt(200)).all()


def test_a_sketch_is_linear_and_seeded():
    rows = torch.randn(3, 50, dtype=torch.float64)
    sketch = CountSketch(50, 7, seed=1)
    torch.testing.assert_close(sketch(2 * rows), 2 * sketch(rows))
    torch.testing.assert_close(CountSketch(50, 7, seed=1)(rows), sketch(rows))
    assert not torch.equal(CountSketch(50, 7, seed=2)(rows), sketch(rows))
