"""Curvature products against dense matrices written down from their definition."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.func import functional_call, hessian, jacrev
from torch.nn import functional

from puma_fast.data import Samples
from puma_fast.score.curvature import Curvature
from puma_fast.score.objective import Objective

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
    else:
        J = jacrev(outputs)(theta, X)
        per_sample = [
            hessian(mean)(z[None], t[None]).reshape(2, 2) for z, t in zip(outputs(theta, X), y, strict=True)
        ]
        matrix = sum(j.T @ h @ j for j, h in zip(J, per_sample, strict=True)) / len(X)
    return matrix + decay * torch.eye(len(theta), dtype=torch.float64)


@pytest.mark.parametrize("kind", ["ggn", "hessian"])
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("decay", [0.0, 0.1])
@pytest.mark.parametrize("batch_size", [1, 7, 23])
def test_products_equal_the_dense_matrix(kind, loss, bias, decay, batch_size):
    model, X, y = case(loss, bias=bias)
    objective = Objective(model, loss, weight_decay=decay)
    curvature = Curvature(objective, Samples((X, y), batch_size=batch_size), kind, damping=0.25)
    eye = torch.eye(curvature.size, dtype=torch.float64)
    product = torch.stack([curvature @ row for row in eye])
    expected = dense(kind, loss, model, X, y, decay) + 0.25 * eye
    torch.testing.assert_close(product, expected, rtol=1e-10, atol=1e-12)
    assert curvature.products == curvature.size


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
