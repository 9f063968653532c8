"""A convex problem with an exact answer: ridge-regularised softmax regression in float64.

Refitting it by Newton's method to rounding is the oracle of every influence.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy


@dataclass(frozen=True)
class Problem:
    X: Tensor
    y: Tensor
    X_out: Tensor
    y_out: Tensor
    decay: float

    @property
    def classes(self):
        return int(self.y.max()) + 1

    def objective(self, theta, weights):
        """J with one weight per sample: (1/n) Σ w_i L_i + (γ/2)‖θ‖²."""
        losses = cross_entropy(self.logits(theta, self.X), self.y, reduction="none")
        return weights @ losses / len(self.X) + self.decay / 2 * theta @ theta

    def logits(self, theta, X):
        W = theta[: self.classes * X.shape[1]].view(self.classes, -1)
        return X @ W.T + theta[W.numel() :]

    def criterion(self, theta):
        return cross_entropy(self.logits(theta, self.X_out), self.y_out)

    def fit(self, weights=None):
        """Newton's method until the step is nought to rounding."""
        weights = torch.ones(len(self.X), dtype=torch.float64) if weights is None else weights
        theta = torch.zeros(self.classes * (self.X.shape[1] + 1), dtype=torch.float64)
        for _ in range(50):
            gradient = torch.func.grad(self.objective)(theta, weights)
            step = torch.linalg.solve(torch.func.hessian(self.objective)(theta, weights), gradient)
            theta = theta - step
            if step.norm() <= 1e-15 * (1 + theta.norm()):
                break
        return theta

    def model(self, theta=None):
        theta = self.fit() if theta is None else theta
        model = nn.Linear(self.X.shape[1], self.classes, dtype=torch.float64)
        nn.utils.vector_to_parameters(theta.clone(), model.parameters())
        return model

    @property
    def data(self):
        return self.X, self.y

    @property
    def holdout(self):
        return self.X_out, self.y_out


def problem(n=300, features=4, classes=3, decay=0.02, seed=0):
    """Overlapping classes with heavy-tailed features, so that leverages differ widely."""
    generator = torch.Generator().manual_seed(seed)
    X = torch.randn(2 * n, features, generator=generator, dtype=torch.float64)
    X *= torch.exp(0.3 * torch.randn(2 * n, 1, generator=generator, dtype=torch.float64))
    truth = torch.randn(features, classes, generator=generator, dtype=torch.float64)
    noise = torch.distributions.Gumbel(0.0, 1.0)
    uniform = torch.rand(2 * n, classes, generator=generator, dtype=torch.float64)
    y = (X @ truth + noise.icdf(uniform)).argmax(1)
    return Problem(X[:n], y[:n], X[n:], y[n:], decay)
