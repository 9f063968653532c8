"""A checkpoint is found under what trainers put around it, never unpickled and never overwritten."""

import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from cli.user import module, refusal, remove
from puma_fast.score.checkpoint import load_checkpoint


@pytest.mark.parametrize(
    "prefix", ["", "module.", "model.", "_orig_mod.", "model._orig_mod.", "module.module.", "net."]
)
@pytest.mark.parametrize("key", [None, "state_dict", "model"])
def test_a_checkpoint_is_found_under_keys_and_prefixes(here, model, tmp_path, prefix, key):
    state = {prefix + name: value for name, value in model.state_dict().items()}
    torch.save({key: state, "epoch": 3} if key else state, tmp_path / "net.ckpt")
    expected = {name: value.clone() for name, value in model.state_dict().items()}
    for value in model.parameters():
        value.data.zero_()
    load_checkpoint(model, tmp_path / "net.ckpt")
    for name, value in model.state_dict().items():
        assert torch.equal(value, expected[name])


def test_tied_tensors_come_back_from_one_name(tmp_path):
    namespace = module()
    tied, other = namespace["Tied"](), namespace["Tied"]()
    state = tied.state_dict()
    del state["head.weight"]
    save_file(state, tmp_path / "tied.safetensors")
    load_checkpoint(other, tmp_path / "tied.safetensors")
    assert torch.equal(other.head.weight, tied.body.weight)


def test_the_users_checkpoint_is_never_overwritten(here, tmp_path):
    own = here / "model.safetensors"
    own.write_bytes((here / "net.safetensors").read_bytes())
    before = own.read_bytes()
    said = refusal(remove(here, here, checkpoint=own))
    assert "--out" in said
    assert "overwrite --checkpoint" in said
    assert own.read_bytes() == before


def test_a_checkpoint_that_does_not_fit_names_what(here, tmp_path):
    said = refusal(remove(here, tmp_path, model="problem:wide"))
    assert "net.safetensors does not fit the model" in said
    assert "body.weight is (5, 4), the model's (7, 4)" in said
    assert "Give the model that was saved" in said


def test_missing_and_unexpected_entries_are_named_a_few_at_a_time(here, tmp_path):
    state = {f"extra.{place}": torch.zeros(1) for place in range(5)}
    save_file(state, tmp_path / "other.safetensors")
    said = refusal(remove(here, tmp_path / "out", checkpoint=tmp_path / "other.safetensors"))
    assert "missing: body.weight, body.bias, head.weight and 1 more" in said
    assert "not expected: extra.0, extra.1, extra.2 and 2 more" in said


class Payload:
    """Something whose unpickling would be noticed."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (Path.touch, (self.path,))


@pytest.mark.parametrize("by_torch", [True, False])
def test_nothing_is_ever_unpickled(here, tmp_path, by_torch):
    trap, file = tmp_path / "run", tmp_path / "evil.pt"
    if by_torch:
        torch.save({"state_dict": Payload(trap)}, file)
    else:
        file.write_bytes(pickle.dumps(Payload(trap)))
    said = refusal(remove(here, tmp_path / "out", checkpoint=file))
    assert "holds more than weights" in said
    assert not trap.exists()


@pytest.mark.parametrize("name", ["cut.safetensors", "cut.pt"])
def test_a_broken_checkpoint_is_said(here, tmp_path, name):
    (tmp_path / name).write_bytes(b"PK\x03\x04 half a file")
    assert f"{name} cannot be read" in refusal(remove(here, tmp_path / "out", checkpoint=tmp_path / name))


def test_a_checkpoint_without_weights_is_said(here, tmp_path):
    torch.save({"epoch": 3, "lr": 0.1}, tmp_path / "empty.pt")
    said = refusal(remove(here, tmp_path / "out", checkpoint=tmp_path / "empty.pt"))
    assert "holds no state dict" in said
