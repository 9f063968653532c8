"""Scores foretell refits: of one sample left out, and of random halves of the data."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import puma_fast as pf
from convex import problem

pytestmark = pytest.mark.slow


def interval(values, draws=2000, seed=0):
    """Bootstrap the mean, 95 %."""
    values = np.asarray(values)
    picked = np.random.default_rng(seed).integers(len(values), size=(draws, len(values)))
    return np.quantile(values[picked].mean(1), [0.025, 0.975])


def ranks(values):
    """Rank along the first axis."""
    return values.argsort(0).argsort(0)


@pytest.fixture(scope="module")
def convex():
    return problem(n=200, decay=0.02)


@pytest.fixture(scope="module")
def puma(convex):
    return pf.Puma(
        convex.model(), convex.data, holdout=convex.holdout, weight_decay=convex.decay, damping=0.0
    )


def test_scores_of_one_sample_correlate_with_leaving_it_out(convex, puma):
    n = len(convex.X)
    theta = convex.fit()
    moved = np.empty(n)
    for sample in range(n):
        keep = torch.ones(n, dtype=torch.float64)
        keep[sample] = 0.0
        moved[sample] = float(convex.criterion(convex.fit(keep)) - convex.criterion(theta))
    foretold = puma.influence() / n
    pairs = np.random.default_rng(0).integers(n, size=(2000, n))
    correlations = [np.corrcoef(moved[pair], foretold[pair])[0, 1] for pair in pairs]
    assert np.quantile(correlations, 0.025) > 0.95


def test_the_linear_datamodeling_score_of_softmax_regression(convex, puma):
    """Spearman of Σψ over random halves against the refitted loss, a test point at a time (LDS).

    Scores in the wrong order have an LDS of nought, those of the wrong sign a negative one.
    """
    n, halves, points = len(convex.X), 100, 60
    rng = np.random.default_rng(0)
    kept = np.stack([rng.permutation(n) < n // 2 for _ in range(halves)])
    losses = np.empty((halves, points))
    y = convex.y_out[:points]
    for row, half in enumerate(kept):
        # Weights of two keep the weight decay's share of the objective as it was.
        theta = convex.fit(torch.from_numpy(2.0 * half))
        logits = convex.logits(theta, convex.X_out[:points])
        losses[row] = torch.nn.functional.cross_entropy(logits, y, reduction="none").numpy()
    psi = np.stack(
        [puma.influence(criterion=(convex.X_out[i : i + 1], y[i : i + 1])) for i in range(points)], axis=1
    )

    def score(psi):
        foretold = -(kept.astype(float) @ psi)
        one, other = ranks(foretold), ranks(losses)
        return [np.corrcoef(one[:, i], other[:, i])[0, 1] for i in range(points)]

    assert interval(score(psi))[0] > 0.9
    shuffled = interval(score(rng.permutation(psi)))
    assert shuffled[0] < 0.1
    assert shuffled[1] > -0.1
