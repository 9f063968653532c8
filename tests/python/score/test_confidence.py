"""Losses, confidences and accuracy are what anyone would compute from the model's outputs by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

import puma_fast as pf
from puma_fast.data import Samples
from puma_fast.score.confidence import predict
from puma_fast.score.objective import Objective

N = 17
generator = torch.Generator().manual_seed(0)
X = torch.randn(N, 4, generator=generator)
Y = torch.randint(0, 3, (N,), generator=generator)
BINARY = (torch.rand(N, generator=generator) > 0.5).float()


def model(out, *after):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, out), *after)


def predictions(model, targets, loss, positions=None, batch_size=5):
    objective = Objective(model, loss)
    with objective.untouched():
        return predict(
            objective, objective.parameters, Samples((X, targets), batch_size=batch_size), positions
        )


@pytest.mark.parametrize("dtype", [torch.int64, torch.int32, torch.uint8])
@pytest.mark.parametrize("loss", ["cross_entropy", "nll_loss", nn.CrossEntropyLoss(label_smoothing=0.1)])
def test_classification(loss, dtype):
    network = model(3, *([nn.LogSoftmax(1)] if loss == "nll_loss" else []))
    probability = network(X).double().softmax(1).detach()
    forward_loss = functional.nll_loss if loss == "nll_loss" else functional.cross_entropy
    if dtype != torch.int64:
        # torch's own loss takes no narrow labels; a function of one's own may.
        loss = narrow
        forward_loss = functional.cross_entropy
        network = model(3)
    seen = predictions(network, Y.to(dtype), loss)
    np.testing.assert_allclose(seen.confidence, probability[torch.arange(N), Y], rtol=1e-6)
    assert seen.correct.tolist() == (probability.argmax(1) == Y).tolist()
    assert seen.accuracy == pytest.approx(float((probability.argmax(1) == Y).double().mean()))
    if not isinstance(loss, nn.Module):
        np.testing.assert_allclose(
            seen.loss, forward_loss(network(X), Y, reduction="none").detach(), rtol=1e-6
        )


def narrow(outputs, targets):
    return functional.cross_entropy(outputs, targets.long(), reduction="none")


@pytest.mark.parametrize("column", [False, True])
@pytest.mark.parametrize(
    ("loss", "after"),
    [
        ("binary_cross_entropy", nn.Sigmoid()),
        (nn.BCELoss(), nn.Sigmoid()),
        ("binary_cross_entropy_with_logits", nn.Identity()),
        (nn.BCEWithLogitsLoss(), nn.Identity()),
    ],
)
def test_binary_classification(loss, after, column):
    network = model(1, after, *([] if column else [nn.Flatten(0)]))
    seen = predictions(network, BINARY[:, None] if column else BINARY, loss)
    positive = model(1)(X).double().sigmoid().flatten().detach()
    np.testing.assert_allclose(seen.confidence, torch.where(BINARY > 0, positive, 1 - positive), rtol=1e-5)
    assert seen.correct.tolist() == ((positive > 0.5) == (BINARY > 0)).tolist()


@pytest.mark.parametrize(
    ("targets", "loss", "out"),
    [
        (torch.randn(N, 3), "mse_loss", 3),
        (torch.rand(N, 3).round(), "binary_cross_entropy_with_logits", 3),
        (torch.full((N, 3), 1 / 3), "cross_entropy", 3),
        (torch.where(torch.arange(N) == 11, -100, Y), "cross_entropy", 3),
    ],
)
def test_what_is_no_classification_of_every_sample_has_no_confidence(targets, loss, out):
    seen = predictions(model(out), targets, loss)
    assert seen.confidence is seen.correct is seen.accuracy is None
    assert seen.loss.shape == (N,)
    assert seen.loss.dtype == np.float64


@pytest.mark.parametrize("batch_size", [1, 4, 100])
def test_batches_and_order_do_not_matter(batch_size):
    whole = predictions(model(3), Y, "cross_entropy", batch_size=100)
    positions = np.array([16, 2, 3, 0])
    some = predictions(model(3), Y, "cross_entropy", positions, batch_size)
    np.testing.assert_allclose(some.loss, whole.loss[positions], rtol=1e-6)
    np.testing.assert_allclose(some.confidence, whole.confidence[positions], rtol=1e-6)
    assert some.correct.tolist() == whole.correct[positions].tolist()


def test_regression_is_attacked_by_its_losses():
    targets = torch.randn(N, 3)
    puma = pf.Puma(model(3), (X, targets), "mse_loss", holdout=(X + 0.1, targets))
    report = puma.remove([0, 1]).report
    assert report.before.accuracy is None
    assert report.before.marked_confidence is None
    assert report.before.attack is not None
    assert "confidence" not in str(report)
