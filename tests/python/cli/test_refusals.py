"""What is wrong with an option is said in one line, before any long work."""

import numpy as np
import pytest

from cli.user import refusal, remove


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
