"""A user at the command line: the module of theirs, a command run on it, the line in which it was refused."""

import contextlib
import io
import os
import subprocess
import sys
from pathlib import Path

import puma_fast
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


def module():
    """Give what the user's module holds."""
    namespace = {}
    exec(PROBLEM, namespace)
    return namespace


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
