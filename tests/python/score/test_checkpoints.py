"""Several checkpoints: the mean of each one's own scores, and the user's model as it was."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

import puma_fast as pf
from convex import problem


@pytest.fixture(scope="module")
def convex():
    return problem(n=40)


def network(seed):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.Tanh(), nn.Linear(5, 3)).double()


def puma_of(convex, model):
    return pf.Puma(model, convex.data, holdout=convex.holdout, weight_decay=0.01)


def test_the_mean_of_what_each_gives_alone(convex, tmp_path):
    models = [network(seed) for seed in range(3)]
    save_file(models[1].state_dict(), tmp_path / "one.safetensors")
    torch.save({"state_dict": models[2].state_dict()}, tmp_path / "two.ckpt")
    checkpoints = [models[0].state_dict(), tmp_path / "one.safetensors", str(tmp_path / "two.ckpt")]
    user = network(9).train()
    puma, kept = puma_of(convex, user), copy.deepcopy(user.state_dict())
    before = puma.influence()
    for criterion in (None, pf.per_class(convex.holdout)):
        expected = np.mean([puma_of(convex, each).influence(criterion=criterion) for each in models], axis=0)
        psi = puma.influence(criterion=criterion, checkpoints=checkpoints)
        np.testing.assert_allclose(psi, expected, rtol=1e-9, atol=1e-12)
    np.testing.assert_array_equal(puma.influence(), before)
    assert all(torch.equal(value, kept[name]) for name, value in user.state_dict().items())
    assert all(module.training for module in user.modules())


def test_an_exception_leaves_the_model_as_it_was(convex):
    user = network(9).train()
    kept = copy.deepcopy(user.state_dict())
    broken = {name: value * torch.nan for name, value in network(1).state_dict().items()}
    with pytest.raises(ValueError, match="must be finite"):
        puma_of(convex, user).influence(checkpoints=[network(0).state_dict(), broken])
    assert all(torch.equal(value, kept[name]) for name, value in user.state_dict().items())
    assert all(module.training for module in user.modules())


@pytest.mark.parametrize(
    ("checkpoints", "error", "says"),
    [
        ([], ValueError, "checkpoints is empty"),
        ("run.ckpt", TypeError, "must be a list of state dicts or files, got str"),
        (network(0).state_dict(), TypeError, "must be a list of state dicts or files"),
        ([network(0).state_dict(), {"other": torch.zeros(3)}], ValueError, r"checkpoints\[1\] does not fit"),
        (["nowhere.pt"], ValueError, r"checkpoints\[0\] nowhere\.pt cannot be read"),
    ],
)
def test_what_cannot_be_loaded_is_told_before_long_work(convex, checkpoints, error, says, monkeypatch):
    puma = puma_of(convex, network(9))
    monkeypatch.setattr("puma_fast.score.influence.Influence.scores", lambda *_: pytest.fail("long work"))
    with pytest.raises(error, match=says):
        puma.influence(checkpoints=checkpoints)


def test_a_mean_is_not_streamed(convex, tmp_path):
    with pytest.raises(ValueError, match="out and checkpoints do not go together"):
        puma_of(convex, network(9)).influence(checkpoints=[network(0).state_dict()], out=tmp_path / "a.npy")
