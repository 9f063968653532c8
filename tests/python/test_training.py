"""The training loop minimises J of the samples given, the same way each time, and touches nothing else."""

import random

import numpy as np
import pytest
import torch
from torch import nn

from puma_fast.data import Samples
from puma_fast.training import train


def squared(model, batch):
    return (model(batch[0]) - batch[1]).square().sum(1)


def line(n=96, features=3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    X = torch.randn(n, features, generator=generator, dtype=torch.float64)
    y = X @ torch.arange(1.0, features + 1, dtype=torch.float64)[:, None] + 0.1
    return X, y + 0.3 * torch.randn(n, 1, generator=generator, dtype=torch.float64)


def fresh(features=3, dropout=0.0):
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return nn.Sequential(nn.Dropout(dropout), nn.Linear(features, 1)).double()


def test_it_reaches_the_minimum_of_the_regularised_objective():
    X, y = line()
    gamma = 0.3
    model = fresh()
    train(model, Samples((X, y), batch_size=96), squared, epochs=400, lr=0.05, weight_decay=gamma)
    extended = torch.cat([X, torch.ones(len(X), 1, dtype=X.dtype)], 1)
    # ∇J = (2/n) Xᵀ(Xθ − y) + γθ = 0, bias included.
    ridge = 2 / len(X) * extended.T @ extended + gamma * torch.eye(4, dtype=X.dtype)
    exact = torch.linalg.solve(ridge, 2 / len(X) * extended.T @ y).squeeze()
    found = torch.cat([model[1].weight.flatten(), model[1].bias])
    assert torch.allclose(found, exact, rtol=0, atol=1e-8)


def test_a_seed_decides_order_and_dropout():
    samples = Samples(line(), batch_size=16)

    def weights(seed):
        model = fresh(dropout=0.5)
        train(model, samples, squared, epochs=3, lr=0.01, seed=seed)
        return model[1].weight.detach().clone()

    assert torch.equal(weights(0), weights(0))
    assert not torch.equal(weights(0), weights(1))


def test_global_randomness_modes_and_gradients_are_left_alone():
    model = fresh(dropout=0.5).eval()
    torch.manual_seed(5)
    np.random.seed(5)  # noqa: NPY002
    random.seed(5)
    states = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()  # noqa: NPY002
    train(model, Samples(line(), batch_size=16), squared, epochs=2, lr=0.01)
    assert torch.equal(torch.get_rng_state(), states[0])
    assert np.array_equal(np.random.get_state()[1], states[1])  # noqa: NPY002
    assert random.getstate() == states[2]
    assert not any(module.training for module in model.modules())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_frozen_parameters_stay():
    model = fresh()
    model[1].bias.requires_grad_(False)
    before = model[1].bias.clone()
    train(model, Samples(line()), squared, epochs=2, lr=0.05, weight_decay=0.5)
    assert torch.equal(model[1].bias, before)


def test_the_history_is_the_mean_loss_and_falls():
    X, y = line()
    model = fresh()
    start = squared(model, (X, y)).mean().item()
    history = train(model, Samples((X, y), batch_size=96), squared, epochs=30, lr=0.05)
    # One batch an epoch: the first figure is the loss before the first step.
    assert history[0] == pytest.approx(start, rel=1e-12)
    assert len(history) == 30
    assert history[-1] < history[0] / 5


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("epochs", 0),
        ("lr", 0.0),
        ("lr", float("nan")),
        ("weight_decay", -1.0),
        ("weight_decay", float("inf")),
    ],
)
def test_bad_settings_are_named(name, value):
    settings = {"epochs": 1, "lr": 0.1, "weight_decay": 0.0} | {name: value}
    with pytest.raises(ValueError, match=f"^{name} must be"):
        train(fresh(), Samples(line()), squared, **settings)


def test_divergence_is_said_and_leaves_modes_alone():
    model = fresh().eval()
    with pytest.raises(ValueError, match=r"lr=1000.0 is too large.*epoch"):
        train(model, Samples(line(), batch_size=8), squared, epochs=40, lr=1000.0)
    assert not model[1].training
