"""Parameters are chosen by name, and edited in their own precision."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

import puma_fast as pf
from puma_fast.score.parameters import select_parameters
from score.inputs import CLASSES, Tied, X, linear


def test_parameters_are_chosen_by_pattern_in_the_models_order():
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 3))
    assert list(select_parameters(model, None)) == ["0.weight", "0.bias", "1.weight", "1.bias"]
    assert list(select_parameters(model, "*.bias")) == ["0.bias", "1.bias"]
    assert list(select_parameters(model, ["1.*", "0.bias", "*.bias"])) == ["0.bias", "1.weight", "1.bias"]
    assert list(select_parameters(Tied(), "*")) == ["embed.weight", "mix.weight", "mix.bias"]
    model[0].requires_grad_(False)
    assert list(select_parameters(model, None)) == ["1.weight", "1.bias"]
    assert list(select_parameters(model, "0.*")) == ["0.weight", "0.bias"]


def test_parameters_that_are_not_there_are_refused_with_the_closest_names():
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 3))
    with pytest.raises(
        ValueError, match=r"params: '1.wieght' matches no parameter; the closest names are 1.weight"
    ):
        pf.Puma(model, (X, CLASSES), params=["0.*", "1.wieght"])
    with pytest.raises(ValueError, match=r"params: no parameter of the model has requires_grad.*params='\*'"):
        pf.Puma(model.requires_grad_(False), (X, CLASSES))


def test_frozen_parameters_can_be_edited_by_name():
    model = linear().requires_grad_(False)
    settings = {"holdout": (X, CLASSES), "damping": 0.1}
    np.testing.assert_array_equal(
        pf.Puma(model, (X, CLASSES), params="*", **settings).influence(),
        pf.Puma(linear(), (X, CLASSES), **settings).influence(),
    )
    assert not any(each.requires_grad for each in model.parameters())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32_and_rounded_once(dtype):
    half, data = linear().to(dtype), (X.to(dtype), CLASSES)
    whole, same = copy.deepcopy(half).float(), (data[0].float(), CLASSES)
    one, other = (
        pf.Puma(model, given, holdout=given, damping=0.1).remove([0, 1], eta=0.5)
        for model, given in ((half, data), (whole, same))
    )
    np.testing.assert_array_equal(one.psi_up, other.psi_up)
    for name, value in one.model.named_parameters():
        assert value.dtype == dtype
        assert torch.equal(value, other.model.get_parameter(name).to(dtype))
    # What is measured is the model that is handed back, rounding included.
    with torch.no_grad():
        now = functional.cross_entropy(copy.deepcopy(one.model).float()(same[0]), CLASSES)
    assert one.report.after.criterion == pytest.approx(float(now), rel=1e-5)


def test_parameters_and_losses_may_differ_in_type():
    """A float64 head on float32 features, and a loss that is computed in float64."""

    class Mixed(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.body, self.head = nn.Linear(4, 4), nn.Linear(4, 3).double()

        def forward(self, x):
            return self.head(self.body(x).double())

    settings = {"holdout": (X, CLASSES), "damping": 0.1}
    removal = pf.Puma(Mixed(), (X, CLASSES), **settings).remove([0, 1])
    assert {each.dtype for each in removal.model.parameters()} == {torch.float32, torch.float64}
    assert {each.dtype for each in removal.delta.values()} == {torch.float64}

    def in_double(outputs, targets):
        return functional.cross_entropy(outputs.double(), targets, reduction="none")

    one = pf.Puma(linear(), (X, CLASSES), in_double, **settings).remove([0, 1]).delta
    other = pf.Puma(linear(), (X, CLASSES), **settings).remove([0, 1]).delta
    for name, value in one.items():
        torch.testing.assert_close(value, other[name], rtol=1e-3, atol=1e-6)


def test_parameters_that_no_loss_depends_on_are_refused():
    model = linear()
    model.register_module("unused", nn.Linear(2, 2))
    with pytest.raises(ValueError, match="params: the losses do not depend on any edited parameter"):
        pf.Puma(model, (X, CLASSES), params="unused.*", forward=lambda model, batch: model[0](batch[0]))

    @torch.no_grad()
    def cut(model, batch):
        return model(batch[0])

    with pytest.raises(ValueError, match="params: the losses do not depend on any edited parameter"):
        pf.Puma(linear(), (X, CLASSES), forward=cut)
