"""A criterion is any differentiable function of the model; what is none is refused, what is spent is told."""

from __future__ import annotations

import json
import warnings

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import TensorDataset

import puma_fast as pf
from convex import problem

CONVERGED = r"within its own sampling noise.*Pass holdout= data as the criterion"


@pytest.fixture(scope="module")
def convex():
    return problem(n=80)


def puma_of(convex, model=None, **arguments):
    settings = {"holdout": convex.holdout, "damping": 0.01}
    return pf.Puma(model or convex.model(), convex.data, **(settings | arguments))


@pytest.mark.parametrize("form", ["tuple", "data set", "callable", "module"])
@pytest.mark.parametrize("early", [True, False])
def test_every_form_gives_the_same(convex, form, early):
    """Given to the facade or to a call; a mean loss on other data than the training data."""
    X, y = convex.X_out[::2], convex.y_out[::2]

    class Held(nn.Module):
        def forward(self, model):
            return functional.cross_entropy(model(X), y)

    criterion = {
        "tuple": (X, y),
        "data set": TensorDataset(X, y),
        "callable": lambda model: functional.cross_entropy(model(X), y),
        "module": Held(),
    }[form]
    if early:
        psi = puma_of(convex, holdout=None, criterion=criterion).influence()
    else:
        psi = puma_of(convex).influence(criterion=criterion)
    np.testing.assert_allclose(psi, puma_of(convex, holdout=(X, y)).influence(), rtol=1e-7, atol=1e-9)


def test_the_report_measures_the_criterion_that_was_asked_for(convex):
    def spread(model):
        return model(convex.X_out).square().mean()

    removal = puma_of(convex).remove([0, 1, 2], criterion=spread, eta=0.01)
    report = removal.report
    assert report.criterion_name == "spread"
    assert report.before.criterion == pytest.approx(spread(convex.model()).item())
    assert report.after.criterion == pytest.approx(spread(removal.model).item())
    assert removal.predicted.by_patch == pytest.approx(removal.predicted.by_scores, rel=1e-6)


def test_two_criteria_are_not_mistaken_for_each_other(convex):
    puma = puma_of(convex)

    def scaled(factor):
        return lambda model: factor * functional.cross_entropy(model(convex.X_out), convex.y_out)

    for factor in (1.0, 2.0, 3.0):
        np.testing.assert_allclose(
            puma.influence(criterion=scaled(factor)), factor * puma.influence(), rtol=1e-7, atol=1e-9
        )


def constant(model):
    return torch.tensor(1.0, requires_grad=True) * 2


def accuracy(model):
    return (model(torch.ones(3, 4, dtype=torch.float64)).argmax(1) == 0).double().mean()


def detached(model):
    return model.weight.detach().sum()


@torch.no_grad()
def without_gradient(model):
    return model.weight.sum()


@pytest.mark.parametrize("criterion", [constant, accuracy, detached, without_gradient])
def test_what_cannot_be_differentiated_is_refused(convex, criterion):
    with pytest.raises(
        ValueError, match=rf"criterion '{criterion.__name__}' does not depend .*smooth surrogate"
    ):
        puma_of(convex).influence(criterion=criterion)


@pytest.mark.parametrize(
    ("value", "got"),
    [
        (lambda model: 1.0, "float"),
        (lambda model: model.weight.sum().item(), "float"),
        (lambda model: model.weight, r"\(3, 4\)"),
        (lambda model: torch.ones((), dtype=torch.int64), r"\(\)"),
        (lambda model: None, "NoneType"),
    ],
)
def test_what_is_no_number_is_refused(convex, value, got):
    with pytest.raises(ValueError, match=f"must return one floating-point number as a tensor, got {got}"):
        puma_of(convex).influence(criterion=value)


def test_what_is_not_finite_is_refused(convex):
    with pytest.raises(ValueError, match=r"criterion '<lambda>' is 0\.0 and its gradient is not finite"):
        puma_of(convex).influence(criterion=lambda model: (0 * model.weight).norm().sqrt())


def test_a_criterion_may_depend_on_some_parameters_only(convex):
    puma = puma_of(convex)
    np.testing.assert_allclose(
        puma.influence(criterion=lambda model: model.weight.square().sum()),
        puma.influence(criterion=lambda model: model.weight.square().sum() + 0 * model.bias.sum()),
    )


def test_a_criterion_at_rest_asks_for_nothing(convex):
    """Its gradient is nought: no influence, no weights, and a receipt that is still JSON."""
    removal = puma_of(convex).remove([0, 1], criterion=lambda model: (0 * model.weight).square().sum())
    assert removal.b == 0
    assert not removal.weights.any()
    json.loads(json.dumps(removal.report.numbers(), allow_nan=False))


# Convergence on the training data.


def by_class(convex):
    order = torch.argsort(convex.y, stable=True)
    return convex.X[order], convex.y[order]


@pytest.mark.parametrize("sort", [False, True])
@pytest.mark.parametrize("batch_size", [None, 1, 7, 80])
def test_a_converged_training_loss_is_told(convex, sort, batch_size):
    data = by_class(convex) if sort else convex.data
    model = problem(n=80, decay=1e-6).model()
    puma = pf.Puma(model, data, damping=0.01, batch_size=batch_size)
    with pytest.warns(UserWarning, match=CONVERGED):
        puma.influence()


@pytest.mark.parametrize("sort", [False, True])
@pytest.mark.parametrize("batch_size", [None, 1, 7, 80])
def test_a_training_loss_that_still_falls_is_not(convex, sort, batch_size):
    """Half way to the optimum; data sorted by class look noisy from batch to batch but are not."""
    data = by_class(convex) if sort else convex.data
    puma = pf.Puma(convex.model(0.3 * convex.fit()), data, damping=0.01, batch_size=batch_size)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.abs(puma.influence()).max() > 0


def test_held_out_data_and_given_criteria_never_warn(convex):
    """On them a vanishing gradient would be news, not the rule."""
    model = problem(n=80, decay=1e-6).model()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        puma_of(convex, model).influence()
        puma_of(convex, model, holdout=None, criterion=convex.data).influence()
