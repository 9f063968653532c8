"""Every kind of loss gives one finite number per sample, as the user's own training would."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

import puma_fast as pf
from puma_fast.data import Samples
from puma_fast.score.losses import LOSSES
from puma_fast.score.objective import Objective
from score.inputs import BINARY, CLASSES, POSITIVE, REAL, SEQUENCES, TOKENS, N, X, linear


def losses(loss, model, data, **arguments):
    """All losses through the package, one batch."""
    objective = Objective(model, loss, **arguments)
    with objective.untouched():
        objective.preflight(Samples(data))
        return objective.losses(objective.parameters, data).detach()


TARGETS = {
    "binary_cross_entropy": (BINARY, nn.Sigmoid()),
    "binary_cross_entropy_with_logits": (BINARY, nn.Identity()),
    "cross_entropy": (CLASSES, nn.Identity()),
    "huber_loss": (REAL, nn.Identity()),
    "l1_loss": (REAL, nn.Identity()),
    "mse_loss": (REAL, nn.Identity()),
    "nll_loss": (CLASSES, nn.LogSoftmax(1)),
    "poisson_nll_loss": (POSITIVE, nn.Identity()),
    "smooth_l1_loss": (REAL, nn.Identity()),
}


@pytest.mark.parametrize("name", LOSSES)
def test_a_named_loss_is_torchs_loss_of_each_sample(name):
    """One sample's loss is torch's loss of a batch of that one, in the reduction that was asked for."""
    targets, last = TARGETS[name]
    model = linear(3, last)
    function = getattr(functional, name)

    def each(reduction):
        one = [function(model(X[i : i + 1]), targets[i : i + 1], reduction=reduction) for i in range(N)]
        return torch.stack(one).detach()

    for loss in (name, function, partial(function, reduction="mean")):
        torch.testing.assert_close(losses(loss, model, (X, targets)), each("mean"))
    summed = partial(function, reduction="sum")
    torch.testing.assert_close(losses(summed, model, (X, targets)), each("sum"))
    mean = losses(name, model, (X, targets)).mean()
    torch.testing.assert_close(mean, function(model(X), targets).detach())


@pytest.mark.parametrize(
    ("loss", "targets", "function"),
    [
        (nn.CrossEntropyLoss(), CLASSES, functional.cross_entropy),
        (
            nn.CrossEntropyLoss(weight=torch.tensor([1.0, 2.0, 4.0]), label_smoothing=0.1),
            CLASSES,
            partial(functional.cross_entropy, weight=torch.tensor([1.0, 2.0, 4.0]), label_smoothing=0.1),
        ),
        (nn.CrossEntropyLoss(reduction="sum"), CLASSES, functional.cross_entropy),
        (nn.CrossEntropyLoss(), POSITIVE / POSITIVE.sum(1, keepdim=True), functional.cross_entropy),
        (nn.MSELoss(), REAL, functional.mse_loss),
        (nn.MSELoss(reduction="sum"), REAL, partial(functional.mse_loss, reduction="sum")),
        (nn.HuberLoss(delta=0.2), REAL, partial(functional.huber_loss, delta=0.2)),
        (
            nn.BCEWithLogitsLoss(pos_weight=torch.tensor([1.0, 2.0, 3.0])),
            BINARY,
            partial(functional.binary_cross_entropy_with_logits, pos_weight=torch.tensor([1.0, 2.0, 3.0])),
        ),
        (nn.KLDivLoss(reduction="batchmean"), BINARY, partial(functional.kl_div, reduction="batchmean")),
        (partial(functional.kl_div, reduction="batchmean"), BINARY, nn.KLDivLoss(reduction="batchmean")),
        (partial(functional.mse_loss, reduction="sum"), REAL, nn.MSELoss(reduction="sum")),
        (lambda o, t: (o - t).square().sum(1), REAL, partial(functional.mse_loss, reduction="sum")),
        (lambda o, t: (o - t).square(), REAL, partial(functional.mse_loss, reduction="sum")),
    ],
)
def test_modules_and_functions_are_called_without_their_reduction(loss, targets, function):
    model = linear()
    got = losses(loss, model, (X, targets))
    outputs = model(X)
    if isinstance(function, partial) and "weight" in function.keywords:
        # A mean over one sample would divide its weight out again.
        want = function(outputs, targets, reduction="none")
    else:
        want = torch.stack([function(outputs[i : i + 1], targets[i : i + 1]) for i in range(N)])
    torch.testing.assert_close(got, want.detach())


def test_the_users_loss_module_keeps_its_reduction():
    loss = nn.CrossEntropyLoss()
    losses(loss, linear(), (X, CLASSES))
    assert loss.reduction == "mean"


class Tagger(nn.Module):
    """One label per token, classes in the second dimension as torch has it."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.head = nn.Linear(4, 3)

    def forward(self, x):
        return self.head(x).transpose(1, 2)


@pytest.mark.parametrize(
    "loss",
    [
        "cross_entropy",
        functional.cross_entropy,
        partial(functional.cross_entropy, ignore_index=-100),
        nn.CrossEntropyLoss(),
        lambda o, t: functional.cross_entropy(o, t.clamp(min=0), reduction="none"),
    ],
)
def test_token_losses_are_summed_over_what_is_not_ignored(loss):
    model = Tagger()
    per_token = functional.cross_entropy(model(SEQUENCES), TOKENS, reduction="none")
    want = (per_token * (TOKENS != -100)).sum(1).detach()
    torch.testing.assert_close(losses(loss, model, (SEQUENCES, TOKENS)), want)


def test_a_real_target_of_minus_hundred_is_no_mark():
    targets = REAL.clone()
    targets[2, 1] = -100.0
    model = linear()
    want = (model(X) - targets).square().sum(1).detach()
    torch.testing.assert_close(losses(nn.MSELoss(reduction="sum"), model, (X, targets)), want)
    torch.testing.assert_close(losses(lambda o, t: (o - t).square(), model, (X, targets)), want)


class Mean(nn.Module):
    def forward(self, outputs, targets):
        return functional.cross_entropy(outputs, targets)


def my_mean(outputs, targets):
    return functional.cross_entropy(outputs, targets)


@pytest.mark.parametrize("loss", [my_mean, Mean()])
def test_one_number_for_a_batch_is_refused(loss):
    with pytest.raises(ValueError, match=r"loss '(my_mean|Mean)' gives one number .* drop its final mean"):
        losses(loss, linear(), (X, CLASSES))


def squared(outputs, targets):
    return (outputs - targets) ** 2


@pytest.mark.parametrize(
    "loss", ["mse_loss", "poisson_nll_loss", nn.L1Loss(), nn.SmoothL1Loss(), functional.huber_loss, squared]
)
@pytest.mark.parametrize(("out", "shape"), [(1, (N,)), (None, (N, 1))])
def test_broadcast_losses_are_refused(loss, out, shape):
    """(B, 1) beside (B,) would silently become (B, B)."""
    model = linear(1) if out else nn.Sequential(linear(1), nn.Flatten(0))
    with pytest.raises(ValueError, match=r"compares outputs of shape .*make them equal, e\.g\. forward="):
        losses(loss, model, (X, POSITIVE[:, 0].reshape(shape)))


@pytest.mark.parametrize(
    ("loss", "error", "message"),
    [
        ("crossentropy", ValueError, "loss: 'crossentropy' is not known; use one of .*cross_entropy"),
        (3, TypeError, "loss must be a name, a torch loss or a function, got int"),
    ],
)
def test_losses_that_are_none_are_refused(loss, error, message):
    with pytest.raises(error, match=message):
        Objective(linear(), loss)


def whole_loss(model, batch):
    return functional.cross_entropy(model(batch[0]), batch[1], reduction="none")


def test_an_objective_stands_for_loss_forward_and_targets():
    settings = {"holdout": (X, CLASSES), "damping": 0.1}
    whole = pf.Puma(linear(), (X, CLASSES), objective=whole_loss, curvature="hessian", **settings)
    parts = pf.Puma(linear(), (X, CLASSES), curvature="hessian", **settings)
    np.testing.assert_allclose(whole.influence(), parts.influence(), rtol=1e-3, atol=1e-5)
    report = whole.remove([0, 1], up=4).report
    assert report.before.accuracy is None
    assert report.before.marked.loss == pytest.approx(losses("cross_entropy", linear(), (X, CLASSES))[:2])
    with pytest.raises(ValueError, match=r"curvature='ggn' needs outputs.*pass curvature='hessian'"):
        pf.Puma(linear(), (X, CLASSES), objective=whole_loss)
    with pytest.raises(ValueError, match=r"objective must give one loss per sample.*drop its final mean"):
        pf.Puma(linear(), (X, CLASSES), objective=lambda m, b: whole_loss(m, b).mean(), curvature="hessian")


@pytest.mark.parametrize("decay", [-1.0, float("nan"), float("inf")])
def test_weight_decay_is_a_number(decay):
    with pytest.raises(ValueError, match="weight_decay must be a finite number, at least 0"):
        pf.Puma(linear(), (X, CLASSES), weight_decay=decay)


def test_losses_that_are_not_finite_are_refused_by_position():
    bad = X.clone()
    bad[7, 1] = torch.nan
    with pytest.raises(
        ValueError, match=r"loss is nan at position 7 of data; .*mend or leave out that sample"
    ):
        pf.Puma(linear(), (bad, CLASSES), holdout=(X, CLASSES), batch_size=5).influence()
    with pytest.raises(ValueError, match="loss is nan at position 7 of data"):
        pf.Puma(linear(), (bad, CLASSES), holdout=(X, CLASSES), damping=0.1, solver="exact").influence()
    with pytest.raises(ValueError, match="loss is nan at position 7 of holdout"):
        pf.Puma(linear(), (X, CLASSES), holdout=(bad, CLASSES), batch_size=5).influence()
    bad[0, 0] = torch.inf
    with pytest.raises(ValueError, match=r"loss is \[.*\] on the first samples; it must be finite"):
        pf.Puma(linear(), (bad, CLASSES))


def test_derivatives_that_are_not_finite_are_told_from_losses():
    def root(outputs, targets):
        return functional.cross_entropy(outputs, targets, reduction="none") + outputs[:, 0].abs().sqrt()

    model = linear()
    nn.init.zeros_(model[0].weight[0])
    nn.init.zeros_(model[0].bias)
    with pytest.raises(
        ValueError, match=r"a derivative of the loss on .* is not finite, though every loss is"
    ):
        pf.Puma(model, (X, CLASSES), root, damping=0.1).influence()
