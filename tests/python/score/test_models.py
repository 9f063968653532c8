"""Every architecture gives reverse mode's numbers, whatever its mode and its kernels."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

import puma_fast as pf
from score.inputs import CLASSES, SEQUENCES, TOKENS, Tied, X, linear


def oracle(model, data, v):
    """ψ by one reverse pass per sample, on a copy in eval mode."""
    model = copy.deepcopy(model).eval()
    parameters = [each for each in model.parameters() if each.requires_grad]
    rows = functional.cross_entropy(model(data[0]), data[1], reduction="none")
    gradients = [torch.autograd.grad(row, parameters, retain_graph=True) for row in rows]
    return np.array([float(torch.cat([g.flatten() for g in row]).double() @ v) for row in gradients])


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.TransformerEncoderLayer(4, 2, 8, batch_first=True)
        self.head = nn.Linear(4, 3)

    def forward(self, x):
        return self.head(self.layer(x).mean(1))


class ScaledDotProduct(nn.Module):
    def __init__(self):
        super().__init__()
        self.project = nn.Linear(4, 12)
        self.head = nn.Linear(4, 3)

    def forward(self, x):
        return self.head(functional.scaled_dot_product_attention(*self.project(x).chunk(3, -1)).mean(1))


class Recurrent(nn.Module):
    def __init__(self, kind):
        super().__init__()
        self.layer = kind(4, 3, batch_first=True)

    def forward(self, x):
        return self.layer(x)[0][:, -1]


def noisy():
    """In train mode these layers draw numbers, keep averages, and mix samples of a batch."""
    return nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Dropout(0.5), nn.Linear(6, 3))


MODELS = {
    "attention": (Attention, SEQUENCES),
    "scaled dot product": (ScaledDotProduct, SEQUENCES),
    "lstm": (lambda: Recurrent(nn.LSTM), SEQUENCES),
    "gru": (lambda: Recurrent(nn.GRU), SEQUENCES),
    "tied": (Tied, TOKENS.clamp(min=0)),
    "normalised": (noisy, X),
    "convolution": (
        lambda: nn.Sequential(
            nn.Conv1d(5, 6, 3), nn.GroupNorm(2, 6), nn.GELU(), nn.MaxPool1d(2), nn.Flatten(), nn.Linear(6, 3)
        ),
        SEQUENCES,
    ),
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", MODELS)
def test_every_architecture_gives_reverse_modes_numbers(name, dtype):
    """In train mode, where torch's layers are left, and with fused kernels where torch would take them."""
    build, inputs = MODELS[name]
    torch.manual_seed(3)
    model = build().to(dtype)
    inputs = inputs.to(dtype) if inputs.is_floating_point() else inputs
    if name == "normalised":
        model(inputs * 3 + 1)  # running averages that differ from the batch's own
    data = inputs, CLASSES
    puma = pf.Puma(model, data, holdout=data, damping=0.1, batch_size=5)
    assert puma._objective.layout.size == sum(each.numel() for each in model.parameters())
    with puma._objective.untouched():
        v = puma._influence.directions(puma._criteria.each)[0]
    want = oracle(model, data, v)
    rounding = 1e-5 if dtype == torch.float32 else 1e-12
    np.testing.assert_allclose(puma.influence(), want, atol=rounding * np.abs(want).max())
    if name == "tied":
        patched = puma.remove([0, 1], eta=0.5).model
        assert patched.head.weight is patched.embed.weight
        assert not torch.equal(patched.head.weight, model.head.weight)


def test_modes_do_not_matter():
    model = noisy()
    model(X * 3 + 1)
    settings = {"holdout": (X, CLASSES), "batch_size": 5}
    left = pf.Puma(model.train(), (X, CLASSES), **settings).influence()
    np.testing.assert_array_equal(pf.Puma(model.eval(), (X, CLASSES), **settings).influence(), left)


class Standardised(nn.Module):
    """What a BatchNorm without running statistics does to more than one sample."""

    def forward(self, x):
        return x - x.mean(0)


@pytest.mark.parametrize(
    ("model", "loss"),
    [
        (nn.Sequential(linear(4), Standardised(), linear(3)), "cross_entropy"),
        (linear(), lambda o, t: (o - o.mean(0)).square().sum(1)),
    ],
)
def test_samples_that_see_one_another_are_refused(model, loss):
    with pytest.raises(ValueError, match=r"beside the second: samples of a batch see one another"):
        pf.Puma(model, (X, CLASSES), loss, holdout=(X, CLASSES))


def test_a_batch_of_one_is_tried_before_long_work():
    def squeezed(model, batch):
        return model(batch[0]).squeeze()

    single = nn.Linear(4, 1)
    with pytest.raises(ValueError, match=r"outputs of shape \(\) with targets of shape \(1,\)") as caught:
        pf.Puma(single, (X, X[:, 0]), "mse_loss", forward=squeezed, holdout=(X, X[:, 0]))
    assert "a batch of the first sample of data" in caught.value.__notes__[0]


class Sampled(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = linear()

    def forward(self, x):
        return self.inner(x + torch.randn_like(x))


def test_a_model_that_draws_in_eval_mode_is_refused():
    with pytest.raises(ValueError, match="the model draws random numbers in eval mode; switch that off"):
        pf.Puma(Sampled(), (X, CLASSES))
