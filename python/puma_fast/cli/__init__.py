"""The command line: ``puma-fast demo``, ``puma-fast remove``.

What is wrong with a command is said in one line before any long work, with exit code 2. torch is
imported by the commands that need it, so that ``--help`` and ``--version`` answer at once.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from importlib import metadata
from typing import TYPE_CHECKING

from puma_fast import _core
from puma_fast.cli import demo, remove
from puma_fast.cli.checks import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

_ERROR, _INTERRUPTED = 2, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    Parameters
    ----------
    arguments : sequence of str, optional
        By default those of the process.

    Returns
    -------
    int
        0; 2 where the command is refused; 130 where it was interrupted.
    """
    options = _parser().parse_args(arguments)
    with warnings.catch_warnings():
        warnings.showwarning = _Once()
        try:
            options.run(options)
        # The library's own refusals of an argument are of these two kinds.
        except (UsageError, TypeError, ValueError) as error:
            if options.traceback:
                raise
            print(f"puma-fast: error: {' '.join(str(error).split())}", file=sys.stderr)
            return _ERROR
        except KeyboardInterrupt:
            print("puma-fast: interrupted", file=sys.stderr)
            return _INTERRUPTED
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "puma-fast",
        description=(
            "Remove training samples from a trained torch model without losing accuracy, with evidence."
        ),
    )
    parser.add_argument("--version", action="version", version=_version())
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for command in (demo, remove):
        command.add_to(commands)
    return parser


def _version() -> str:
    try:
        torch = f"torch {metadata.version('torch')}"
    except metadata.PackageNotFoundError:
        torch = "no torch"
    return f"puma-fast {_core.__version__} ({_core.build_profile} build, {_core.simd_level}, {torch})"


class _Once:
    """Show a warning in one line, the same one once: what is checked early may be met again later."""

    def __init__(self) -> None:
        self._shown: set[str] = set()

    def __call__(self, message: Warning | str, *_: object, **__: object) -> None:
        line = " ".join(str(message).split())
        if line not in self._shown:
            self._shown.add(line)
            print(f"puma-fast: warning: {line}", file=sys.stderr)
