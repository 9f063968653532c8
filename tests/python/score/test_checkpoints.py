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


def test_a_mean_is_streamed_as_each_is(convex, tmp_path):
    checkpoints = [network(seed).state_dict() for seed in range(3)]
    puma = puma_of(convex, network(9))
    for name, criterion in (("one", None), ("several", pf.per_class(convex.holdout))):
        out = tmp_path / f"{name}.npy"
        psi = puma.influence(checkpoints=checkpoints, criterion=criterion, out=out)
        assert isinstance(psi, np.memmap)
        assert not psi.flags.writeable
        expected = puma.influence(checkpoints=checkpoints, criterion=criterion)
        np.testing.assert_allclose(psi, expected, rtol=1e-9, atol=1e-12)
        each = [np.load(tmp_path / f"{name}.checkpoint-{place}.npy") for place in range(3)]
        np.testing.assert_array_equal(psi, sum(each) / 3)


def test_a_streamed_mean_is_of_its_own_checkpoints_alone(convex, tmp_path):
    checkpoints = [network(seed).state_dict() for seed in range(2)]
    puma, out = puma_of(convex, network(9)), tmp_path / "scores.npy"
    mean = np.array(puma.influence(checkpoints=checkpoints, out=out))
    for other, says in (
        (checkpoints[:1], r"scores\.npy holds scores of 2 checkpoints"),
        (checkpoints[::-1], r"scores\.checkpoint-0\.npy holds scores of another model"),
        (None, r"scores\.npy holds scores of 2 checkpoints"),
    ):
        with pytest.raises(ValueError, match=says):
            puma.influence(checkpoints=other, out=out)
    with pytest.raises(ValueError, match=r"is a mean over checkpoints.*pass numpy\.load"):
        puma.remove([3], scores=out)
    np.testing.assert_array_equal(np.load(out), mean)
    puma.influence(out=tmp_path / "single.npy")
    with pytest.raises(ValueError, match=r"single\.npy holds scores of one model"):
        puma.influence(checkpoints=checkpoints, out=tmp_path / "single.npy")
    np.save(tmp_path / "own.npy", np.arange(3))
    with pytest.raises(ValueError, match="was not begun here"):
        puma.influence(checkpoints=checkpoints, out=tmp_path / "own.npy")
