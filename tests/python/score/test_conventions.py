"""What goes into the model and what is the target, where nothing is said and where it is."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

import puma_fast as pf
from score.inputs import CLASSES, TOKENS, N, X, linear


class Named(nn.Module):
    """A model as language libraries write them: called by name, answering with an object."""

    def __init__(self):
        super().__init__()
        self.inner = linear()

    def forward(self, inputs, scale=None):
        logits = self.inner(inputs)
        return SimpleNamespace(logits=logits if scale is None else logits * scale[:, None])


@pytest.mark.parametrize("key", ["labels", "label", "y"])
def test_a_mapping_goes_in_by_its_keys(key):
    scale = torch.linspace(0.5, 2, N)
    data = {"inputs": X, key: CLASSES, "scale": scale}
    puma = pf.Puma(Named(), data, holdout=data, damping=0.1)
    same = pf.Puma(
        Named(),
        (X, scale, CLASSES),
        holdout=(X, scale, CLASSES),
        forward=lambda model, batch: model(*batch[:2]).logits,
        damping=0.1,
    )
    np.testing.assert_allclose(puma.influence(), same.influence(), rtol=1e-5)


def test_targets_may_be_anywhere():
    data = {"inputs": X, "gold": CLASSES}
    with pytest.raises(
        ValueError, match=r"targets: the batch has the keys \['gold', 'inputs'\].*pass targets="
    ):
        pf.Puma(Named(), data, forward=lambda model, batch: model(batch["inputs"]).logits)
    puma = pf.Puma(
        Named(),
        data,
        holdout=data,
        forward=lambda model, batch: model(batch["inputs"]).logits,
        targets=lambda batch: batch["gold"],
    )
    assert puma.influence().shape == (N,)


class Rows(torch.utils.data.Dataset):
    """Plain tensors, as for an autoencoder."""

    def __len__(self):
        return N

    def __getitem__(self, position):
        return X[position]


def test_a_batch_may_be_one_tensor():
    with pytest.raises(ValueError, match=r"a batch of type Tensor has no second item; pass targets="):
        pf.Puma(linear(4), Rows(), "mse_loss")
    with pytest.raises(ValueError, match=r"targets: a batch of type list has no second item"):
        pf.Puma(linear(4), TensorDataset(X), "mse_loss")
    settings = {"damping": 0.1}
    one = pf.Puma(linear(4), Rows(), "mse_loss", targets=lambda batch: batch, holdout=Rows(), **settings)
    two = pf.Puma(linear(4), (X, X), "mse_loss", holdout=(X, X), **settings)
    np.testing.assert_allclose(one.influence(), two.influence(), rtol=1e-5)


def test_what_does_not_fit_together_is_raised_with_what_was_given():
    """NumPy's float64 beside a float32 model is the commonest first mistake."""
    with pytest.raises(RuntimeError, match="dtype") as caught:
        pf.Puma(linear(), (X.double().numpy(), CLASSES.numpy()))
    (note,) = caught.value.__notes__
    assert "(float64 (2, 4), int64 (2,))" in note
    assert "torch.float32 on cpu" in note
    assert "forward= and targets=" in note
    bag = nn.Sequential(nn.EmbeddingBag(3, 4), linear())
    with pytest.raises(NotImplementedError) as caught:
        pf.Puma(bag, (TOKENS.clamp(min=0), CLASSES))
    assert "differentiable in torch, twice" in caught.value.__notes__[0]
