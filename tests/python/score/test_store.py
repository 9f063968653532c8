"""Scores in a file: killed, the same call ends with the same bits; of anything else, refused."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import Dataset

import puma_fast as pf
from convex import problem
from puma_fast.score.passes import Passes


@pytest.fixture(scope="module")
def convex():
    return problem(n=64)


def puma_of(convex, model=None, data=None, **arguments):
    settings = {"holdout": convex.holdout, "weight_decay": convex.decay, "damping": 0.01, "batch_size": 4}
    return pf.Puma(model or convex.model(), data or convex.data, **(settings | arguments))


HALTING = """
import signal, sys, torch
torch.set_num_threads(1)
sys.path.insert(0, {tests!r})
import puma_fast as pf
from convex import problem
from puma_fast.score import store
from puma_fast.score.passes import Passes

store._SECONDS_BETWEEN_MARKS = 0.0
whole, steps = Passes.derivatives, iter(range({steps}, 0, -1))

def halting(*arguments):
    for step in whole(*arguments):
        yield step
        if next(steps) == 1:
            print("halted", flush=True)
            signal.pause()

Passes.derivatives = halting
convex = problem(n=64)
puma = pf.Puma(
    convex.model(), convex.data, holdout=convex.holdout, weight_decay=convex.decay, damping=0.01, batch_size=4
)
puma.influence(out={out!r}, criterion={criterion}, checkpoints={checkpoints})
"""


def killed(out, steps, criterion="None", checkpoints=None):
    """Stream scores in a process of its own, which is killed after so many batches of four."""
    tests = str(Path(__file__).parents[1])
    code = HALTING.format(
        tests=tests, out=str(out), steps=steps, criterion=criterion, checkpoints=checkpoints
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as child:
        try:
            assert child.stdout.readline() == "halted\n"
        finally:
            child.send_signal(signal.SIGKILL)


CRITERIA = {
    "one": "None",
    "several": "pf.per_class(convex.holdout)",
}


@pytest.mark.parametrize("several", [False, True])
def test_a_killed_call_is_taken_up_and_ends_with_the_same_bits(convex, tmp_path, several):
    criterion = pf.per_class(convex.holdout) if several else None
    expected = np.array(puma_of(convex).influence(out=tmp_path / "whole.npy", criterion=criterion))
    out, done = tmp_path / "scores.npy", tmp_path / "scores.done.npy"
    # One of them twice, so that what was taken up is itself taken up.
    for steps in (3,) if several else (1, 5):
        killed(out, steps, CRITERIA["several" if several else "one"])
    half = np.load(done)
    assert half.sum() == 4 * (3 if several else 6)
    assert np.isfinite(np.load(out)[half]).all()

    read = []
    whole = Passes.derivatives

    def watched(self, directions, positions=None):
        read.append(positions)
        yield from whole(self, directions, positions)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Passes, "derivatives", watched)
        scores = puma_of(convex).influence(out=out, criterion=criterion)
    np.testing.assert_array_equal(np.concatenate(read), np.flatnonzero(~half))
    np.testing.assert_array_equal(scores, expected)
    np.testing.assert_allclose(scores, puma_of(convex).influence(criterion=criterion), rtol=1e-6, atol=1e-9)
    assert {path.name for path in tmp_path.glob("scores.*")} == {
        "scores.npy",
        "scores.done.npy",
        "scores.json",
    }


def test_a_killed_mean_is_taken_up_within_its_checkpoint_and_ends_with_the_same_bits(convex, tmp_path):
    checkpoints = []
    for place in range(2):
        model = convex.model()
        with torch.no_grad():
            model.weight *= 1 + 0.1 * place
        checkpoints.append(str(tmp_path / f"{place}.pt"))
        torch.save(model.state_dict(), checkpoints[-1])
    expected = np.array(puma_of(convex).influence(out=tmp_path / "whole.npy", checkpoints=checkpoints))
    out = tmp_path / "scores.npy"
    first, second = (tmp_path / f"scores.checkpoint-{place}.done.npy" for place in range(2))
    killed(out, 2, checkpoints=checkpoints)
    assert np.load(first).sum() == 8
    assert not second.exists()
    killed(out, 14 + 2, checkpoints=checkpoints)
    assert np.load(first).all()
    assert not out.exists()

    read = []
    whole = Passes.derivatives

    def watched(self, directions, positions=None):
        read.append(positions)
        yield from whole(self, directions, positions)

    left = np.flatnonzero(~np.load(second))
    assert len(left) == 64 - 8
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Passes, "derivatives", watched)
        scores = puma_of(convex).influence(out=out, checkpoints=checkpoints)
    np.testing.assert_array_equal(np.concatenate(read), left)
    np.testing.assert_array_equal(scores, expected)


def test_an_error_in_the_middle_leaves_what_can_be_taken_up(convex, tmp_path, monkeypatch):
    out = tmp_path / "scores.npy"
    whole = Passes.derivatives

    def failing(self, directions, positions=None):
        for count, step in enumerate(whole(self, directions, positions)):
            if count == 5:
                raise KeyboardInterrupt
            yield step

    monkeypatch.setattr("puma_fast.score.store._SECONDS_BETWEEN_MARKS", 0.0)
    with monkeypatch.context() as patch:
        patch.setattr(Passes, "derivatives", failing)
        with pytest.raises(KeyboardInterrupt):
            puma_of(convex).influence(out=out)
    assert np.load(tmp_path / "scores.done.npy").sum() == 20
    scores = puma_of(convex).influence(out=out)
    np.testing.assert_allclose(scores, puma_of(convex).influence(), rtol=1e-9)


def test_a_finished_file_is_read_not_made_again(convex, tmp_path, monkeypatch):
    out = tmp_path / "scores.npy"
    first = np.array(puma_of(convex).influence(out=out))
    monkeypatch.setattr(Passes, "derivatives", lambda *_: pytest.fail("computed again"))
    again = puma_of(convex, batch_size=64).influence(out=str(out))
    np.testing.assert_array_equal(again, first)
    assert isinstance(again, np.memmap)
    assert not again.flags.writeable


FULL_DISK = """
mount -t tmpfs -o size=100k none "$1" && exec "$2" -c '
import sys
from puma_fast.score.store import ScoreStore

try:
    ScoreStore(sys.argv[1] + "/scores.npy").begin({}, (60_000,))
except OSError as error:
    print(error.strerror)
' "$1"
"""


def test_a_full_disk_is_an_error_and_not_the_end_of_the_process(tmp_path):
    apart = ["unshare", "--user", "--map-root-user", "--mount"]
    try:
        subprocess.run([*apart, "mount", "-t", "tmpfs", "none", tmp_path], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no disk can be mounted here")
    shell = [*apart, "sh", "-c", FULL_DISK, "sh", tmp_path, sys.executable]
    run = subprocess.run(shell, capture_output=True, text=True, check=False)
    assert run.stdout == "No space left on device\n", run.stderr


@pytest.mark.parametrize(
    ("name", "content"),
    [("scores.npy", b"\x93NUMPY"), ("scores.npy", None), ("scores.done.npy", None), ("scores.json", b"{")],
)
def test_what_was_written_to_by_others_is_refused(convex, tmp_path, name, content):
    out, file = tmp_path / "scores.npy", tmp_path / name
    puma_of(convex).influence(out=out)
    if content is None:
        np.save(file, np.load(file)[:5])
    else:
        file.write_bytes(content)
    with pytest.raises(ValueError, match=r"scores.npy or what lies beside it is not as it was left here"):
        puma_of(convex).influence(out=out)


def test_scores_that_were_deleted_are_made_again(convex, tmp_path):
    out = tmp_path / "scores.npy"
    first = np.array(puma_of(convex).influence(out=out))
    out.unlink()
    np.testing.assert_allclose(puma_of(convex).influence(out=out), first, rtol=1e-9)


def other_labels(convex):
    y = convex.y.clone()
    y[17] = (y[17] + 1) % 3
    return convex.X, y


def scaled(convex):
    model = convex.model()
    with torch.no_grad():
        model.bias += 1e-6
    return model


@pytest.mark.parametrize(
    ("change", "call", "says"),
    [
        (lambda c: {"model": scaled(c)}, {}, "another model"),
        (lambda c: {"data": other_labels(c)}, {}, "other data"),
        (lambda c: {"data": (c.X[:63], c.y[:63])}, {}, "other data"),
        (lambda c: {"ids": range(1, 65)}, {}, "samples of other names"),
        (lambda c: {"holdout": (c.X_out[1:], c.y_out[1:])}, {}, "another criterion"),
        (lambda c: {}, {"criterion": lambda model: model.weight.sum()}, "another criterion"),
        (lambda c: {}, {"criterion": [lambda model: model.weight.sum()] * 2}, "another criterion"),
        (
            lambda c: {"loss": lambda f, y: 2 * nn.functional.cross_entropy(f, y, reduction="none")},
            {},
            "another (loss|criterion)",
        ),
        (lambda c: {"weight_decay": 0.5}, {}, "weight_decay was 0.02, and is 0.5"),
        (lambda c: {"damping": 0.02}, {}, "damping was 0.01, and is 0.02"),
        (lambda c: {"curvature": "hessian"}, {}, "curvature was 'ggn', and is 'hessian'"),
        (lambda c: {"params": "weight"}, {}, "another|parameter_names was"),
    ],
)
def test_a_file_of_something_else_is_refused_by_name(convex, tmp_path, change, call, says):
    out = tmp_path / "scores.npy"
    puma_of(convex).influence(out=out)
    before = out.read_bytes()
    puma = puma_of(convex, **change(convex))
    with pytest.raises(ValueError, match=rf"scores.npy holds scores of .*({says})"):
        puma.influence(out=out, **call)
    assert out.read_bytes() == before
    if not call:
        with pytest.raises(ValueError, match=says):
            puma.remove([3], scores=out)


def test_a_file_of_the_users_own_is_never_overwritten(convex, tmp_path):
    out = tmp_path / "scores.npy"
    np.save(out, np.arange(3))
    with pytest.raises(ValueError, match="was not begun here; name another one, or delete it"):
        puma_of(convex).influence(out=out)
    assert np.load(out).tolist() == [0, 1, 2]


@pytest.mark.parametrize("name", ["scores.txt", "nowhere/scores.npy"])
def test_out_is_a_file_in_a_folder(convex, tmp_path, name):
    with pytest.raises(ValueError, match=r"must be a \.npy file in a folder that exists"):
        puma_of(convex).influence(out=tmp_path / name)


class Items(Dataset):
    def __init__(self, convex):
        self.convex = convex

    def __len__(self):
        return len(self.convex.X)

    def __getitem__(self, position):
        return {"x": self.convex.X[position], "y": self.convex.y[position]}


def test_batches_and_kinds_of_data_do_not_matter(convex, tmp_path):
    """A mapping read item by item hashes as one read in other batches does."""
    options = {"forward": lambda model, batch: model(batch["x"]), "holdout": Items(convex)}
    facts = []
    for batch_size in (1, 7, 64):
        out = tmp_path / f"{batch_size}.npy"
        puma_of(convex, data=Items(convex), batch_size=batch_size, **options).influence(out=out)
        facts.append(json.loads(out.with_suffix(".json").read_text())["data"])
    assert len(set(facts)) == 1


def test_a_stored_file_is_handed_in(convex, tmp_path):
    out = tmp_path / "scores.npy"
    puma = puma_of(convex)
    puma.influence(out=out)
    ours, theirs = puma.remove([3, 4]), puma_of(convex).remove([3, 4], scores=out)
    np.testing.assert_allclose(theirs.weights, ours.weights, rtol=1e-7)
    done = np.load(tmp_path / "scores.done.npy")
    done[5:] = False
    np.save(tmp_path / "scores.done.npy", done)
    with pytest.raises(ValueError, match="lacks 59 of 64 samples; finish it with influence"):
        puma.remove([3, 4], scores=str(out))
    with pytest.raises(ValueError, match="there is no such file"):
        puma.remove([3, 4], scores=tmp_path / "none.npy")
    (tmp_path / "text.npy").write_text("no numbers")
    with pytest.raises(ValueError, match=r"cannot be read as a \.npy file"):
        puma.remove([3, 4], scores=tmp_path / "text.npy")
