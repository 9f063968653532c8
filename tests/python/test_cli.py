"""The command line as a user meets it: every command in a process of its own."""

import contextlib
import io
import json
import os
import pickle
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, load_model, save_file

import puma_fast
from puma_fast import Puma
from puma_fast.cli import main

PROBLEM = """
import torch
from torch import nn
from torch.utils.data import TensorDataset

class Net(nn.Module):
    def __init__(self, width=5):
        super().__init__()
        self.body = nn.Linear(4, width)
        self.head = nn.Linear(width, 2)

    def forward(self, x):
        return self.head(torch.tanh(self.body(x)))

class Tied(Net):
    def __init__(self):
        super().__init__()
        self.body = nn.Linear(4, 4)
        self.head = nn.Linear(4, 4)
        self.head.weight = self.body.weight

def net():
    return Net()

def wide():
    return Net(7)

def tensors(start, stop):
    X = torch.randn(90, 4, generator=torch.Generator().manual_seed(0))
    return X[start:stop], (X[start:stop, 0] > 0).long()

train = tensors(0, 60)

def holdout():
    return TensorDataset(*tensors(60, 90))

def smoothed(outputs, targets):
    return nn.functional.cross_entropy(outputs, targets, reduction="none", label_smoothing=0.1)

def margin(outputs, targets):
    return nn.functional.multi_margin_loss(outputs, targets, reduction="none")

def broken():
    raise OSError("the disk is gone")
"""


def run(*arguments, cwd=None, code=None):
    """Run the command line in a process of its own, or a program that prepares it first."""
    command = [sys.executable, *(["-m", "puma_fast"] if code is None else ["-c", code]), *map(str, arguments)]
    source = str(Path(puma_fast.__file__).parents[1])
    paths = [source, *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=environment, check=False)


def run_here(*arguments, cwd):
    """Run the command line in this process, which has torch loaded already: seconds less."""
    out, err = io.StringIO(), io.StringIO()
    path = sys.path.copy()
    with contextlib.chdir(cwd), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = main([str(each) for each in arguments])
        except SystemExit as end:
            code = end.code
        finally:
            sys.path[:] = path
    return subprocess.CompletedProcess(arguments, code, out.getvalue(), err.getvalue())


def refusal(ran):
    """Give the one line in which a command was refused."""
    assert ran.returncode == 2, ran.stderr
    assert ran.stdout == ""
    assert "Traceback" not in ran.stderr
    (line,) = ran.stderr.splitlines()
    assert line.startswith("puma-fast: error: ")
    return line.removeprefix("puma-fast: error: ")


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    """A folder with a user's module, a checkpoint and ids."""
    folder = tmp_path_factory.mktemp("user")
    (folder / "problem.py").write_text(PROBLEM)
    namespace = {}
    exec(PROBLEM, namespace)
    torch.manual_seed(3)
    model = namespace["net"]()
    save_file(model.state_dict(), folder / "net.safetensors")
    np.save(folder / "ids.npy", np.array([4, 7, 11]))
    return folder


@pytest.fixture
def model(here):
    """The user's trained model, made here."""
    namespace = {}
    exec(PROBLEM, namespace)
    model = namespace["net"]()
    model.load_state_dict(load_file(here / "net.safetensors"))
    return model


def remove(here, out, *more, code=None, **changed):
    """Run `puma-fast remove` on the user's module, with options changed or dropped (None)."""
    options = {
        "model": "problem:net",
        "checkpoint": "net.safetensors",
        "data": "problem:train",
        "holdout": "problem:holdout",
        "ids": "ids.npy",
        "out": out,
    } | changed
    given = [text for name, value in options.items() if value is not None for text in (f"--{name}", value)]
    if code is not None:
        return run("remove", *given, *more, cwd=here, code=code)
    return run_here("remove", *given, *more, cwd=here)


def test_ranks_of_torchrun_share_the_work(here, tmp_path):
    """Two processes: one speaks and writes, and what it writes is one process's to rounding."""
    code = "import sys; from torch.distributed.run import main; main(sys.argv[1:])"
    torchrun = ["--standalone", "--nproc-per-node", "2", "-m", "puma_fast", "remove"]
    given = ["--model", "problem:net", "--checkpoint", "net.safetensors", "--data", "problem:train"]
    given += ["--holdout", "problem:holdout", "--ids", "ids.npy", "--out", tmp_path / "two"]
    ran = run(*torchrun, *given, cwd=here, code=code)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.count("written") == 4, ran.stdout
    assert remove(here, tmp_path / "one").returncode == 0
    one, two = (load_file(tmp_path / each / "delta.safetensors") for each in ("one", "two"))
    for name, value in one.items():
        torch.testing.assert_close(two[name], value, rtol=1e-3, atol=1e-3 * float(value.abs().max()))


# --- demo and version ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo")
    figure = folder / "demo.png"
    return run("demo", "--out", folder / "report", "--figure", figure, cwd=folder), folder


def test_the_demo_shows_an_effect_of_the_reweighting(demo):
    ran, folder = demo
    assert ran.returncode == 0, ran.stderr
    numbers = json.loads((folder / "report" / "report.json").read_text())
    assert numbers["b"] != 0
    assert numbers["weights"]["nnz"] > 0
    ours, plain = numbers["criterion_change"]["after"], numbers["criterion_change"]["plain"]
    assert abs(ours["measured"]) < abs(plain["measured"])
    assert abs(ours["predicted_by_patch"]) < 1e-2 * abs(plain["predicted_by_patch"])
    before, after = numbers["measured"]["before"], numbers["measured"]["after"]
    assert after["marked_confidence"] < before["marked_confidence"]


def test_the_demo_says_in_words_what_the_json_holds(demo):
    ran, folder = demo
    numbers = json.loads((folder / "report" / "report.json").read_text())
    ours, plain = numbers["criterion_change"]["after"], numbers["criterion_change"]["plain"]
    assert f"(b = {numbers['b']:.3g})" in ran.stdout
    for change in (ours, plain):
        assert f"{change['predicted_by_patch']:+.1e}" in ran.stdout
        assert f"{change['measured']:+.1e}" in ran.stdout
    assert "membership attack: AUC" in ran.stdout
    assert "300 digits that took no part" in ran.stdout


def test_the_demo_saves_and_is_silent_beside_its_report(demo):
    ran, folder = demo
    assert ran.stderr == ""
    assert {path.name for path in (folder / "report").iterdir()} == {"report.json", "report.html"}
    assert (folder / "demo.png").read_bytes().startswith(b"\x89PNG")
    assert (folder / "demo.png").stat().st_size < 150_000


def test_version_tells_the_build_without_importing_torch():
    code = """
import sys
from puma_fast.cli import main
try:
    main(["--version"])
finally:
    print("torch" in sys.modules)
"""
    ran = run(code=code)
    version, imported = ran.stdout.splitlines()
    core = puma_fast._core
    torch_version = torch.__version__.partition("+")[0]
    assert version.startswith(
        f"puma-fast {puma_fast.__version__} ({core.build_profile} build, {core.simd_level}"
    )
    assert f"torch {torch_version}" in version
    assert imported == "False"


def test_help_names_the_commands():
    ran = run("--help")
    assert ran.returncode == 0
    assert re.search(r"^\s+demo\s", ran.stdout, re.MULTILINE)
    assert re.search(r"^\s+remove\s", ran.stdout, re.MULTILINE)


# --- remove: the work ------------------------------------------------------------------------------


def test_remove_writes_what_the_library_computes(here, model, tmp_path):
    out = tmp_path / "out"
    ran = remove(here, out, "--eta", "0.05", "--l1", "0", "--weight-decay", "0.1")
    assert ran.returncode == 0, ran.stderr
    assert {path.name for path in out.iterdir()} == {
        "model.safetensors",
        "delta.safetensors",
        "report.json",
        "report.html",
    }
    assert ran.stderr == ""
    namespace = {}
    exec(PROBLEM, namespace)
    puma = Puma(model, namespace["train"], holdout=namespace["holdout"](), weight_decay=0.1)
    removal = puma.remove([4, 7, 11], eta=0.05, l1=0.0)
    patched = namespace["net"]()
    load_model(patched, out / "model.safetensors")
    delta = load_file(out / "delta.safetensors")
    assert delta.keys() == removal.delta.keys()
    for name, value in patched.state_dict().items():
        assert torch.allclose(value, removal.model.state_dict()[name], rtol=0, atol=1e-6)
        assert torch.allclose(delta[name], removal.delta[name], rtol=1e-4, atol=1e-8)
        assert torch.allclose(model.state_dict()[name] + delta[name], value.double(), rtol=0, atol=1e-6)
    stored = json.loads((out / "report.json").read_text())
    assert stored["settings"]["weight_decay"] == 0.1
    assert stored["eta"] == 0.05
    assert stored["marked"] == 3


@pytest.mark.parametrize("up", ["none", "20"])
def test_up_is_none_or_a_number(here, tmp_path, up):
    assert remove(here, tmp_path, "--up", up).returncode == 0
    stored = json.loads((tmp_path / "report.json").read_text())
    assert stored["up"] == (0 if up == "none" else 20)


def test_eta_by_a_bound(here, tmp_path):
    ran = remove(here, tmp_path, "--eta", "auto", "--max-change", "0.003")
    assert ran.returncode == 0, ran.stderr
    stored = json.loads((tmp_path / "report.json").read_text())
    assert 0 < abs(stored["criterion_change"]["after"]["measured"]) <= 0.003
    assert stored["settings"]["max_change"] == 0.003


def test_every_further_option_reaches_the_work(here, tmp_path):
    more = ["--params", "head.*", "--curvature", "hessian", "--solver", "exact", "--damping", "2.5"]
    more += ["--batch-size", "7", "--seed", "3", "--threads", "1", "--l2", "0.25", "--tol", "1e-6"]
    ran = remove(here, tmp_path, *more, "--max-iter", "50")
    assert ran.returncode == 0, ran.stderr
    stored = json.loads((tmp_path / "report.json").read_text())
    settings = stored["settings"]
    assert settings["parameter_names"] == ["head.weight", "head.bias"]
    assert (settings["curvature"], settings["solver"]) == ("hessian", "Exact")
    assert (settings["batch_size"], settings["seed"]) == (7, 3)
    assert stored["damping"] == {"value": 2.5, "reason": "given"}
    assert stored["reweighting"]["l2"] == 0.25


def test_a_loss_of_ones_own_and_no_checkpoint_nor_holdout(here, tmp_path):
    ran = remove(here, tmp_path, loss="problem:smoothed", checkpoint=None, holdout=None)
    assert ran.returncode == 0, ran.stderr
    stored = json.loads((tmp_path / "report.json").read_text())
    assert stored["settings"]["loss"] == "smoothed"
    assert stored["measured"]["before"]["membership_auc"] is None


@pytest.mark.parametrize("kind", ["mask", "text"])
def test_ids_as_a_mask_or_a_text(here, tmp_path, kind):
    file = tmp_path / ("ids.npy" if kind == "mask" else "ids.txt")
    if kind == "mask":
        np.save(file, np.isin(np.arange(60), [4, 7, 11]))
    else:
        file.write_text("11\n4\n\n 7 \n")
    ran = remove(here, tmp_path / "out", ids=file)
    assert ran.returncode == 0, ran.stderr
    assert json.loads((tmp_path / "out" / "report.json").read_text())["marked"] == 3


def test_bounds_and_scores_computed_elsewhere(here, tmp_path, model):
    namespace = {}
    exec(PROBLEM, namespace)
    psi = Puma(model, namespace["train"], holdout=namespace["holdout"]()).influence()
    np.save(tmp_path / "scores.npy", 0.9 * psi)
    ran = remove(here, tmp_path / "out", scores=tmp_path / "scores.npy", lower="-0.5", upper="0.5")
    assert ran.returncode == 0, ran.stderr
    settings = json.loads((tmp_path / "out" / "report.json").read_text())["settings"]
    assert (settings["scores"], settings["lower"], settings["upper"]) == ("handed in", -0.5, 0.5)


# --- remove: checkpoints ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "prefix", ["", "module.", "model.", "_orig_mod.", "model._orig_mod.", "module.module.", "net."]
)
@pytest.mark.parametrize("key", [None, "state_dict", "model"])
def test_a_checkpoint_is_found_under_keys_and_prefixes(here, model, tmp_path, prefix, key):
    from puma_fast.score.checkpoint import load_checkpoint

    state = {prefix + name: value for name, value in model.state_dict().items()}
    torch.save({key: state, "epoch": 3} if key else state, tmp_path / "net.ckpt")
    expected = {name: value.clone() for name, value in model.state_dict().items()}
    for value in model.parameters():
        value.data.zero_()
    load_checkpoint(model, tmp_path / "net.ckpt")
    for name, value in model.state_dict().items():
        assert torch.equal(value, expected[name])


def test_tied_tensors_come_back_from_one_name(tmp_path):
    from puma_fast.score.checkpoint import load_checkpoint

    namespace = {}
    exec(PROBLEM, namespace)
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


# --- remove: refusals ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"checkpoint": "nowhere.safetensors"}, "--checkpoint nowhere.safetensors: there is no such file"),
        ({"ids": "nowhere.npy"}, "--ids nowhere.npy: there is no such file"),
        ({"ids": "problem.py"}, "--ids problem.py: line 2 is 'import torch'; each line holds one position"),
        ({"model": "problem"}, "--model problem: write it as package.module:name"),
        ({"model": "nowhere:net"}, "--model nowhere:net: there is no module 'nowhere'"),
        ({"data": "problem:nothing"}, "--data problem:nothing: AttributeError"),
        ({"holdout": "problem:broken"}, "--holdout problem:broken: OSError: the disk is gone"),
        ({"model": "problem:holdout"}, "--model problem:holdout gives TensorDataset, not a torch.nn.Module"),
        ({"loss": "crossentropy"}, "loss: 'crossentropy' is not known; use one of"),
        (
            {"loss": "problem:margin"},
            "Trying to use forward AD with multi_margin_loss that does not support it",
        ),
        ({"device": "abacus"}, "--device='abacus' cannot be used here"),
        ({"params": "tail.*"}, "params: 'tail.*' matches no parameter"),
        ({"out": "net.safetensors"}, "--out net.safetensors: there is a file of that name"),
        ({"out": "net.safetensors/below"}, "--out net.safetensors/below: there is a file of that name"),
        ({"figure": "figure.gif"}, "--figure figure.gif: the name must end in one of .png, .svg, .pdf"),
        ({"figure": "nowhere/figure.png"}, "--figure nowhere/figure.png: nowhere is not a folder"),
        ({"eta": "auto"}, "eta='auto' and max_change go together"),
        ({"scores": "nowhere.npy"}, "--scores nowhere.npy: there is no such file"),
        ({"scores": "ids.npy"}, "scores must have shape (60,), one row for each training sample, got (3,)"),
        ({"up": "none", "lower": "-1"}, "lower=-1.0: with up=None nothing is weighed"),
        ({"tol": "7"}, "tol must be a number between 0 and 1"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_what_is_wrong_is_one_line(here, tmp_path, changed, says):
    assert says in refusal(remove(here, **({"out": tmp_path / "out"} | changed)))


@pytest.mark.parametrize(
    ("ids", "says"),
    [
        (np.array([1, 60]), "ids holds 60; positions run from 0 to 59"),
        (np.array([1, 1]), "ids holds 1 more than once"),
        (np.array([0.5]), "ids must be integer positions"),
        (np.ones(3, dtype=bool), "ids is a mask of shape (3,); data has 60 samples"),
        (np.empty(0, dtype=int), "ids is empty"),
        (np.arange(60), "ids mark all 60 samples"),
        (np.array([{"an": "object"}], dtype=object), "cannot be read"),
    ],
    ids=["outside", "twice", "fractions", "mask", "none", "all", "objects"],
)
def test_ids_that_do_not_fit_are_said(here, tmp_path, ids, says):
    np.save(tmp_path / "ids.npy", ids, allow_pickle=True)
    assert says in refusal(remove(here, tmp_path / "out", ids=tmp_path / "ids.npy"))


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("eta", "-1"),
        ("eta", "often"),
        ("l1", "-0.1"),
        ("l2", "nan"),
        ("up", "0"),
        ("batch-size", "0"),
        ("seed", "x"),
    ],
)
def test_numbers_out_of_range_name_the_option(here, tmp_path, option, value):
    ran = remove(here, tmp_path, **{option: value})
    assert ran.returncode == 2
    assert f"argument --{option}: '{value}' is not" in ran.stderr


@pytest.mark.parametrize(
    ("absent", "extra"), [("torch", "torch"), ("safetensors", "torch"), ("sklearn", "study")]
)
def test_a_missing_extra_is_said_before_anything_else(tmp_path, absent, extra):
    code = f"""
import importlib.util, sys
real = importlib.util.find_spec
importlib.util.find_spec = lambda name, *rest: None if name == {absent!r} else real(name, *rest)
from puma_fast.cli import main
sys.exit(main())
"""
    said = refusal(run("demo", "--out", "out", code=code, cwd=tmp_path))
    assert said == f'{absent} not installed; pip install "puma-fast[{extra}]"'
    assert list(tmp_path.iterdir()) == []


def test_without_jinja_the_work_is_done_and_one_warning_says_so(here, tmp_path):
    code = """
import importlib.util, sys
real = importlib.util.find_spec
importlib.util.find_spec = lambda name, *rest: None if name == "jinja2" else real(name, *rest)
from puma_fast.cli import main
sys.exit(main())
"""
    ran = remove(here, tmp_path, code=code)
    assert ran.returncode == 0
    (line,) = ran.stderr.splitlines()
    assert line.startswith("puma-fast: warning: no HTML page is written, only report.json: jinja2")
    assert (tmp_path / "report.json").exists()
    assert not (tmp_path / "report.html").exists()


def test_traceback_is_shown_on_request(here, tmp_path):
    code = "import sys; from puma_fast.cli import main; sys.exit(main())"
    ran = remove(here, tmp_path, "--traceback", holdout="problem:broken", code=code)
    assert ran.returncode == 1
    assert "Traceback" in ran.stderr
    assert "in broken" in ran.stderr


def test_an_interruption_is_no_traceback_and_leaves_no_half_file(here, tmp_path):
    code = """
import sys
import puma_fast.plot
from puma_fast.cli import main
def interrupted(report):
    raise KeyboardInterrupt
puma_fast.plot.plot_removal = interrupted
sys.exit(main())
"""
    ran = remove(here, tmp_path, code=code)
    assert ran.returncode == 130
    assert ran.stderr == "puma-fast: interrupted\n"
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".") or path.suffix == ".html"]
