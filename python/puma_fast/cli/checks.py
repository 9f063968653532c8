"""What every command checks before long work, and how it refuses."""

from __future__ import annotations

import argparse
import math
import os
from pathlib import Path

from puma_fast.extras import missing

_PICTURES = (".png", ".svg", ".pdf")


class UsageError(Exception):
    """A command that cannot be run as it was given; its text is all that the user sees."""


def installed(*extras: str) -> None:
    """Refuse where a package of one of the extras is missing."""
    for extra in extras:
        absent = missing(extra)
        if absent is not None:
            raise UsageError(absent)


def folder(path: Path) -> Path:
    """Make the output folder, or refuse where it cannot be one or cannot be written to."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        msg = f"--out {path}: there is a file of that name; give a folder"
        raise UsageError(msg) from None
    except OSError as error:
        msg = f"--out {path} cannot be made: {error.strerror}"
        raise UsageError(msg) from None
    if not os.access(path, os.W_OK | os.X_OK):
        msg = f"--out {path} cannot be written to; give another folder"
        raise UsageError(msg)
    return path


def file(option: str, path: Path | None) -> None:
    """Refuse a file that is not there."""
    if path is not None and not path.is_file():
        msg = f"{option} {path}: there is no such file"
        raise UsageError(msg)


def picture(path: Path | None) -> Path | None:
    """Refuse a figure of an unknown kind, or in a folder that is not there."""
    if path is None:
        return None
    installed("plot")
    if path.suffix.lower() not in _PICTURES:
        msg = f"--figure {path}: the name must end in one of {', '.join(_PICTURES)}"
        raise UsageError(msg)
    if not path.parent.is_dir() or path.is_dir():
        msg = (
            f"--figure {path}: {path.parent} is not a folder"
            if not path.is_dir()
            else f"--figure {path} is a folder"
        )
        raise UsageError(msg)
    return path


def device(name: str) -> str:
    """Refuse a device that torch does not know or that is not there."""
    from puma_fast.score.unwrapped import checked_device

    try:
        checked_device(name)
    except ValueError as error:
        msg = f"--{error}"
        raise UsageError(msg) from None
    return name


def add_outputs(parser: argparse.ArgumentParser, *, out: Path | None) -> None:
    """Add the options that every command shares."""
    parser.add_argument(
        "--out",
        type=Path,
        default=out,
        required=out is None,
        metavar="DIR",
        help="folder for the results, made where it does not exist" + (f" (default: {out})" if out else ""),
    )
    parser.add_argument(
        "--figure", type=Path, metavar="FILE", help="save the report's figure too (.png, .svg or .pdf)"
    )
    parser.add_argument("--device", default="cpu", help="where to compute (default: cpu)")
    parser.add_argument("--seed", type=natural, default=0, help="seed of every random draw (default: 0)")
    parser.add_argument("--traceback", action="store_true", help="show the whole traceback of an error")


def natural(text: str) -> int:
    """Read an integer of at least 0."""
    return _integer(text, least=0)


def positive(text: str) -> int:
    """Read an integer of at least 1."""
    return _integer(text, least=1)


def number(text: str) -> float:
    """Read a finite number."""
    value = _float(text)
    if not math.isfinite(value):
        msg = f"{text!r} is not a finite number"
        raise argparse.ArgumentTypeError(msg)
    return value


def amount(text: str) -> float:
    """Read a finite number of at least 0."""
    value = _float(text)
    if not 0 <= value < math.inf:
        msg = f"{text!r} is not a finite number of at least 0"
        raise argparse.ArgumentTypeError(msg)
    return value


def amount_or_auto(text: str) -> float | str:
    """Read a finite number of at least 0, or the word auto."""
    return text if text == "auto" else amount(text)


def _float(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def count_or_auto(text: str) -> int | str:
    """Read an integer of at least 1, or the word auto."""
    return text if text == "auto" else positive(text)


def _integer(text: str, *, least: int) -> int:
    try:
        value = int(text)
    except ValueError:
        value = least - 1
    if value < least:
        msg = f"{text!r} is not an integer of at least {least}"
        raise argparse.ArgumentTypeError(msg)
    return value
