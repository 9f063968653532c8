"""`puma-fast remove` writes what the library computes, and every option reaches the work."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, load_model

from cli.user import module, remove, run
from puma_fast import Puma


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
    namespace = module()
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
    namespace = module()
    psi = Puma(model, namespace["train"], holdout=namespace["holdout"]()).influence()
    np.save(tmp_path / "scores.npy", 0.9 * psi)
    ran = remove(here, tmp_path / "out", scores=tmp_path / "scores.npy", lower="-0.5", upper="0.5")
    assert ran.returncode == 0, ran.stderr
    settings = json.loads((tmp_path / "out" / "report.json").read_text())["settings"]
    assert (settings["scores"], settings["lower"], settings["upper"]) == ("handed in", -0.5, 0.5)


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
