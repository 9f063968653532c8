"""The rivals' environments, made with uv on first use, and one contender run in the right one.

pyDVL forces an older NumPy, so it stands alone. Both have our torch, and everything lies under target.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
FOLDER = HERE.parents[1] / "target" / "peers"
PEERS = {
    "pyDVL": ("pydvl[influence]==0.10.0", "importlib_metadata"),
    "dattri": ("dattri==0.3.0", "captum==0.9.0"),
    "captum": ("dattri==0.3.0", "captum==0.9.0"),
}


@dataclass(frozen=True)
class Outcome:
    """What a contender gave: scores (k, n), seconds from trained model to scores, peak memory in MiB."""

    scores: np.ndarray
    seconds: float
    mebibytes: float


class MissingError(RuntimeError):
    """A contender that cannot be had or does not finish; the message says which and why."""


@cache
def interpreter(library):
    """Give the interpreter of a library's environment, made now where there is none."""
    if library == "puma-fast":
        return sys.executable
    packages = PEERS[library]
    folder = FOLDER / ("pydvl" if library == "pyDVL" else "others")
    python = folder / "bin" / "python"
    done = folder / ".installed"
    wanted = "\n".join([*packages, f"torch=={version('torch').split('+')[0]}"])
    if not done.exists() or done.read_text() != wanted:
        for command in (
            ["uv", "venv", "--quiet", "--clear", "--python", sys.executable, str(folder)],
            ["uv", "pip", "install", "--quiet", "--python", str(python), *wanted.split("\n")],
        ):
            try:
                subprocess.run(command, check=True, capture_output=True, text=True)
            except (OSError, subprocess.CalledProcessError) as error:
                why = (getattr(error, "stderr", None) or str(error)).strip().splitlines()[-1]
                raise MissingError(f"{library} cannot be installed here: {why}") from None
        done.write_text(wanted)
    return str(python)


def run(contender, task, damping, *, each=False, limit=900):
    """Run one contender on a task, in its environment and a process of its own."""
    python = interpreter(contender.split()[0])
    with tempfile.TemporaryDirectory() as folder:
        task.save(Path(folder) / "task.npz")
        files = [str(Path(folder) / name) for name in ("task.npz", "out.npz")]
        command = [python, str(HERE / "contender.py"), contender, *files, str(damping)] + ["--each"] * each
        try:
            subprocess.run(command, check=True, capture_output=True, text=True, timeout=limit, env=os.environ)
        except subprocess.TimeoutExpired:
            if not Path(files[1]).exists():
                raise MissingError(f"{contender} did not finish within {limit:.0f} s") from None
        except subprocess.CalledProcessError as error:
            raise MissingError(f"{contender} failed: {error.stderr.strip().splitlines()[-1]}") from None
        with np.load(files[1]) as out:
            return Outcome(out["scores"], float(out["seconds"]), float(out["mebibytes"]))
