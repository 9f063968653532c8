"""The one forward-mode pass gives what per-sample gradients times v give, on a convolutional network."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.func import functional_call, grad, vmap
from torch.nn.functional import cross_entropy

import puma_fast as pf
from puma_fast.score.solve import Solve

N = 23


class Given:
    """A solver that knows v."""

    def __init__(self, v):
        self.v = v

    def solve(self, operator, rhs):
        return Solve(x=self.v, residual=0.0, iterations=0, smallest_ritz=float("nan"), status="solved")


@pytest.mark.parametrize("batch_size", [1, 7, N])
def test_a_pass_equals_per_sample_gradients_times_the_direction(batch_size):
    """7 leaves a short last batch of 2."""
    generator = torch.Generator().manual_seed(0)
    with torch.random.fork_rng():
        torch.manual_seed(1)
        model = nn.Sequential(
            nn.Conv2d(1, 4, 3),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(4, 6, 3),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(6 * 9, 5),
        ).double()
    X = torch.randn(N, 1, 12, 12, generator=generator, dtype=torch.float64)
    y = torch.randint(5, (N,), generator=generator)
    parameters = {name: value.detach() for name, value in model.named_parameters()}
    v = torch.randn(sum(map(torch.numel, parameters.values())), generator=generator, dtype=torch.float64)

    def loss(at, x, target):
        return cross_entropy(functional_call(model, at, (x[None],)), target[None])

    gradients = vmap(grad(loss), (None, 0, 0))(parameters, X, y)
    expected = torch.cat([gradients[name].flatten(1) for name in parameters], 1) @ v

    puma = pf.Puma(model, (X, y), holdout=(X, y), solver=Given(v), damping=1.0, batch_size=batch_size)
    np.testing.assert_allclose(
        puma.influence(), expected, rtol=1e-11, atol=1e-12 * float(expected.abs().max())
    )


@pytest.mark.parametrize("loss", ["mse_loss", "l1_loss", "binary_cross_entropy_with_logits"])
@pytest.mark.parametrize("shape", [(N,), (N, 1), (N, 1, 1)])
def test_a_pass_takes_outputs_of_any_number_of_dimensions(loss, shape):
    torch.manual_seed(0)
    model = nn.Linear(3, 1).double()
    X, y = torch.randn(N, 3, dtype=torch.float64), torch.rand(shape, dtype=torch.float64)
    v = torch.randn(4, dtype=torch.float64)

    def forward(model, batch):
        return model(batch[0]).reshape(-1, *shape[1:])

    puma = pf.Puma(
        model, (X, y), holdout=(X, y), loss=loss, forward=forward, solver=Given(v), damping=1.0, batch_size=7
    )
    logits = model(X).flatten().requires_grad_()
    losses = getattr(torch.nn.functional, loss)(logits, y.flatten(), reduction="sum")
    (slopes,) = torch.autograd.grad(losses, logits)
    expected = slopes * (X @ v[:3] + v[3])
    np.testing.assert_allclose(puma.influence(), expected.detach(), rtol=1e-12)
