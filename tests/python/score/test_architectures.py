"""Scores are right for the layers that people use, against plain reverse mode in float64."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

import puma_fast as pf

TOKENS = 11


class Tied(nn.Module):
    """Embedding and output share one matrix, as language models do."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(TOKENS, 6)
        self.mix = nn.Linear(6, 6)
        self.head = nn.Linear(6, TOKENS, bias=False)
        self.head.weight = self.embed.weight

    def forward(self, x):
        return self.head(torch.tanh(self.mix(self.embed(x)).mean(1)))


class Attention(nn.Module):
    def __init__(self, layer):
        super().__init__()
        self.embed = nn.Embedding(TOKENS, 8)
        self.layer = layer
        self.norm = nn.LayerNorm(8)
        self.head = nn.Linear(8, 3)

    def forward(self, x):
        h = self.embed(x)
        h = self.layer(h, h, h)[0] if isinstance(self.layer, nn.MultiheadAttention) else self.layer(h)
        return self.head(self.norm(h).mean(1))


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(4, 5, batch_first=True)
        self.head = nn.Linear(5, 3)

    def forward(self, x):
        return self.head(self.lstm(x)[0][:, -1])


class Prototypes(nn.Module):
    """torch has no forward-mode derivative of distances."""

    def __init__(self):
        super().__init__()
        self.centers = nn.Parameter(torch.randn(5, 4))
        self.head = nn.Linear(5, 3)

    def forward(self, x):
        return self.head(torch.exp(-torch.cdist(x, self.centers)))


def convolution():
    return nn.Sequential(
        nn.Conv2d(2, 4, 3),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Dropout(0.5),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(4, 3),
    )


CASES = {
    "convolution with BatchNorm and Dropout": (convolution, lambda n: torch.randn(n, 2, 6, 6).double()),
    "tied embedding": (Tied, lambda n: torch.randint(0, TOKENS, (n, 4))),
    "multi-head attention": (
        lambda: Attention(nn.MultiheadAttention(8, 2, batch_first=True)),
        lambda n: torch.randint(0, TOKENS, (n, 4)),
    ),
    "transformer encoder": (
        lambda: Attention(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)),
        lambda n: torch.randint(0, TOKENS, (n, 4)),
    ),
    "LSTM": (Recurrent, lambda n: torch.randn(n, 3, 4).double()),
    "distances, without a forward mode": (Prototypes, lambda n: torch.randn(n, 4).double()),
}


@pytest.mark.parametrize("name", CASES)
def test_scores_equal_gradients_times_the_solved_direction(name):
    """ψ_j = vᵀ∇L_j with ∇L_j by one backward pass a sample, and H·v = ∇C with H by its definition."""
    make, inputs = CASES[name]
    torch.manual_seed(0)
    model = make().double()
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.normal_()
                module.running_var.uniform_(0.5, 2.0)
    X, y = inputs(13), torch.randint(0, 3, (13,))
    X_out, y_out = inputs(9), torch.randint(0, 3, (9,))
    model.train()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        puma = pf.Puma(model, (X, y), holdout=(X_out, y_out), weight_decay=0.01, batch_size=5, tol=1e-12)
        psi = puma.influence()
        removal = puma.remove([0, 1])
    named = [str(each.message) for each in caught if "no forward-mode derivative" in str(each.message)]
    assert len(named) == (name == "distances, without a forward mode")

    model.eval()
    parameters = list(model.parameters())
    v = direction(model, parameters, X, y, X_out, y_out, puma.damping.value + 0.01)
    gradients = [
        flat_gradient(cross_entropy(model(x[None]), t[None]), parameters) for x, t in zip(X, y, strict=True)
    ]
    np.testing.assert_allclose(psi, torch.stack(gradients) @ v, rtol=1e-6, atol=1e-9)
    assert removal.predicted.by_patch == pytest.approx(removal.predicted.by_scores, rel=1e-7)


def flat_gradient(value, parameters, **options):
    return torch.cat([g.reshape(-1) for g in torch.autograd.grad(value, parameters, **options)])


def direction(model, parameters, X, y, X_out, y_out, shift):
    """(GGN + shift)⁻¹∇C with the GGN from the Jacobian of the logits, row by row."""
    size = sum(p.numel() for p in parameters)
    matrix = shift * torch.eye(size, dtype=torch.float64)
    with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        for x in X:
            logits = model(x[None])[0]
            J = torch.stack([flat_gradient(z, parameters, retain_graph=True) for z in logits])
            p = logits.detach().softmax(0)
            matrix += J.T @ (torch.diag(p) - torch.outer(p, p)) @ J / len(X)
        gradient = flat_gradient(cross_entropy(model(X_out), y_out), parameters)
    return torch.linalg.solve(matrix, gradient)
