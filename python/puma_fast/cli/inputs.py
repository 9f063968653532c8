"""What a command names: objects in the user's modules, and files of ids."""

from __future__ import annotations

import importlib
import sys
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from puma_fast.cli.checks import UsageError

if TYPE_CHECKING:
    from numpy.typing import NDArray


def named(option: str, reference: str, *, call: bool = True) -> Any:
    """Import ``pkg.mod:name``; a function or class is called, models and data are taken as they are.

    Parameters
    ----------
    option : str
        The option's name, for messages.
    reference : str
        Module and attribute. The current folder is searched first.
    call : bool, default True
        Whether a function is called without arguments, or is itself what is meant.

    Raises
    ------
    UsageError
        Where the module or name is not there, or importing or calling it fails.
    """
    from torch import nn
    from torch.utils.data import DataLoader, Dataset

    module_name, separator, attribute = reference.partition(":")
    if not (separator and module_name and attribute):
        msg = f"{option} {reference}: write it as package.module:name"
        raise UsageError(msg)
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        found = attrgetter(attribute)(importlib.import_module(module_name))
        as_it_is = isinstance(found, (nn.Module, Dataset, DataLoader)) or not callable(found)
        return found if as_it_is or not call else found()
    # The user's own code may raise anything; the option that named it is what helps.
    except Exception as error:
        if isinstance(error, ModuleNotFoundError) and module_name.startswith(error.name or " "):
            reason = f"there is no module {error.name!r} here or in the Python environment"
        else:
            reason = f"{type(error).__name__}: {error} (--traceback shows where)"
        msg = f"{option} {reference}: {reason}"
        raise UsageError(msg) from error


def read_ids(path: Path) -> NDArray[Any]:
    """Read which samples are meant: ``.npy``, or a text file with one position on each line.

    Raises
    ------
    UsageError
        Where the file is missing, unreadable or holds something else; the line is named.
    """
    try:
        if path.suffix.lower() == ".npy":
            ids: NDArray[Any] = np.load(path, allow_pickle=False)
            return ids
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        msg = f"--ids {path}: there is no such file"
        raise UsageError(msg) from None
    except (OSError, ValueError, EOFError) as error:
        msg = f"--ids {path} cannot be read ({error}); give a .npy of integers or booleans, or a text file"
        raise UsageError(msg) from error
    positions = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            positions.append(int(line))
        except ValueError:
            msg = f"--ids {path}: line {number} is {line.strip()[:40]!r}; each line holds one position"
            raise UsageError(msg) from None
    return np.array(positions, dtype=np.int64)
