"""Influence is right against really refitting, and the same whatever the batches."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

import puma_fast as pf
from convex import problem

ROUNDING = 1e-13


@pytest.fixture(scope="module")
def convex():
    return problem(n=600)


def leverages(convex, theta):
    """Trace of each sample's share of the curvature in units of the whole."""
    weights = torch.ones(len(convex.X), dtype=torch.float64)
    inverse = torch.linalg.inv(torch.func.hessian(convex.objective)(theta, weights))
    p = convex.logits(theta, convex.X).softmax(1)
    bound = torch.einsum("nc,nd->ncd", p, p)
    output = torch.diag_embed(p) - bound
    features = torch.cat([convex.X, torch.ones(len(convex.X), 1, dtype=torch.float64)], 1)
    order = [*range(convex.X.shape[1])]
    blocks = []
    for c in range(convex.classes):
        weight = [c * convex.X.shape[1] + j for j in order]
        blocks.append([*weight, convex.classes * convex.X.shape[1] + c])
    at = torch.tensor(blocks)
    pair = inverse[at[:, None, :, None], at[None, :, None, :]]
    return torch.einsum("ncd,ni,cdij,nj->n", output, features, pair, features) / len(convex.X)


def test_removal_of_one_sample_errs_by_the_square_of_its_weight(convex):
    """The error of criterion and parameters falls fourfold per halving, at every leverage."""
    theta = convex.fit()
    model = convex.model(theta)
    puma = pf.Puma(
        model, convex.data, holdout=convex.holdout, weight_decay=convex.decay, damping=0.0, tol=1e-13
    )
    n = len(convex.X)
    by_leverage = leverages(convex, theta).argsort()
    chosen = by_leverage[torch.linspace(0, n - 1, 24).long()].tolist()
    assert leverages(convex, theta)[chosen[-1]] > 20 * leverages(convex, theta)[chosen[0]]
    start = float(convex.criterion(theta))
    weights = [1.0, 0.5, 0.25, 0.125]
    slopes = {"parameters": [], "criterion": []}
    for sample in chosen:
        removal = puma.remove([sample], eta=1 / n, up=None)
        errors = {"parameters": [], "criterion": []}
        for epsilon in weights:
            keep = torch.ones(n, dtype=torch.float64)
            keep[sample] -= epsilon
            refit = convex.fit(keep)
            at = removal.at(epsilon / n)
            patched = nn.utils.parameters_to_vector(at.model.parameters()).detach()
            errors["parameters"].append(float((patched - refit).norm()))
            moved = float(convex.criterion(refit)) - start
            errors["criterion"].append(abs(at.predicted.by_scores - moved))
        for name, values in errors.items():
            # A sample of next to no effect moves the criterion by less than its own rounding.
            if min(values) > ROUNDING:
                slopes[name].append(np.polyfit(np.log(weights), np.log(values), 1)[0])
    assert min(map(len, slopes.values())) >= 20
    np.testing.assert_allclose(slopes["parameters"], 2, atol=0.1)
    np.testing.assert_allclose(slopes["criterion"], 2, atol=0.1)


def test_scores_predict_refits_in_sign_and_size(convex):
    """ψ_j > 0: the sample helps; removing it raises the criterion by ψ_j/n."""
    theta = convex.fit()
    puma = pf.Puma(
        convex.model(theta), convex.data, holdout=convex.holdout, weight_decay=convex.decay, damping=0.0
    )
    psi = puma.influence()
    n, start = len(convex.X), float(convex.criterion(theta))
    for sample in np.argsort(psi)[[0, 1, n // 2, -2, -1]]:
        keep = torch.ones(n, dtype=torch.float64)
        keep[sample] = 0
        moved = n * (float(convex.criterion(convex.fit(keep))) - start)
        assert psi[sample] == pytest.approx(moved, rel=0.2, abs=1e-3)


def test_scores_equal_per_sample_gradients_times_a_dense_solve(convex):
    theta = convex.fit()
    hessian = torch.func.hessian(convex.objective)(theta, torch.ones(len(convex.X), dtype=torch.float64))
    damping = 0.003
    v = torch.linalg.solve(
        hessian + damping * torch.eye(len(theta), dtype=torch.float64),
        torch.func.grad(convex.criterion)(theta),
    )

    def loss(at, x, y):
        return cross_entropy(convex.logits(at, x[None]), y[None])

    gradients = torch.stack([torch.func.grad(loss)(theta, x, y) for x, y in zip(*convex.data, strict=True)])
    for solver in ("cg", "exact"):
        puma = pf.Puma(
            convex.model(theta),
            convex.data,
            holdout=convex.holdout,
            weight_decay=convex.decay,
            damping=damping,
            solver=solver,
            batch_size=64,
        )
        np.testing.assert_allclose(puma.influence(), gradients @ v, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("curvature", ["ggn", "hessian"])
@pytest.mark.parametrize("batch_size", [7, 600])
def test_scores_do_not_depend_on_batches(convex, batch_size, curvature):
    model = convex.model()
    arguments = {"holdout": convex.holdout, "weight_decay": convex.decay, "damping": 0.01}
    puma = pf.Puma(model, convex.data, batch_size=batch_size, curvature=curvature, **arguments)
    reference = pf.Puma(model, convex.data, batch_size=64, **arguments)
    np.testing.assert_allclose(puma.influence(), reference.influence(), rtol=1e-7, atol=1e-10)


def test_float32_is_float64_to_rounding(convex):
    model = convex.model()
    arguments = {"weight_decay": convex.decay}
    wide = pf.Puma(model, convex.data, holdout=convex.holdout, **arguments)
    narrow = pf.Puma(
        convex.model().float(),
        (convex.X.float(), convex.y),
        holdout=(convex.X_out.float(), convex.y_out),
        **arguments,
    )
    scale = np.abs(wide.influence()).max()
    np.testing.assert_allclose(narrow.influence(), wide.influence(), atol=1e-3 * scale)
    assert narrow.damping.value == pytest.approx(wide.damping.value, rel=1e-4)


def test_a_criterion_may_be_any_function_of_the_model(convex):
    puma = pf.Puma(convex.model(), convex.data, holdout=convex.holdout, weight_decay=convex.decay)

    def held_out_loss(model):
        return cross_entropy(model(convex.X_out), convex.y_out)

    np.testing.assert_allclose(puma.influence(criterion=held_out_loss), puma.influence(), rtol=1e-7)
    np.testing.assert_allclose(puma.influence(criterion=convex.holdout), puma.influence(), rtol=1e-7)


def test_automatic_damping_is_a_thousandth_of_the_largest_eigenvalue(convex):
    theta = convex.fit()
    puma = pf.Puma(convex.model(theta), convex.data, holdout=convex.holdout, weight_decay=convex.decay)
    hessian = torch.func.hessian(convex.objective)(theta, torch.ones(len(convex.X), dtype=torch.float64))
    assert puma.damping.value == pytest.approx(1e-3 * float(torch.linalg.eigvalsh(hessian)[-1]), rel=1e-6)


def test_an_indefinite_hessian_is_refused_or_damped_by_the_rule():
    generator = torch.Generator().manual_seed(0)
    X = torch.randn(40, 3, generator=generator, dtype=torch.float64)
    y = torch.randn(40, 1, generator=generator, dtype=torch.float64)
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1)).double()
    arguments = {"loss": "mse_loss", "holdout": (X, y), "curvature": "hessian"}
    with pytest.raises(ValueError, match=r"damping=0 leaves the hessian .* pass damping='auto'"):
        pf.Puma(model, (X, y), damping=0.0, **arguments).influence()
    puma = pf.Puma(model, (X, y), **arguments)
    assert np.isfinite(puma.influence()).all()
    assert "smallest" in puma.damping.reason


def test_a_loss_that_is_linear_in_the_outputs_is_refused():
    X, y = torch.randn(20, 3), torch.randint(0, 2, (20,))
    model = nn.Sequential(nn.Linear(3, 2), nn.LogSoftmax(1))
    with pytest.raises(ValueError, match=r"curvature='ggn' is nought .* cross_entropy"):
        pf.Puma(model, (X, y), "nll_loss", holdout=(X, y)).influence()


def test_training_on_is_noticed(convex):
    model = convex.model()
    puma = pf.Puma(model, convex.data, holdout=convex.holdout, weight_decay=convex.decay)
    before = puma.influence()
    assert puma.influence() is not before
    np.testing.assert_array_equal(puma.influence(), before)
    with torch.no_grad():
        model.weight *= 0.5
    fresh = pf.Puma(model, convex.data, holdout=convex.holdout, weight_decay=convex.decay)
    np.testing.assert_allclose(puma.influence(), fresh.influence(), rtol=1e-9)
    assert np.abs(puma.influence() - before).max() > 1e-3
