"""What each optional part of the package needs, and how to install it.

The one list that the rest of the code asks; the same stands, for pip, in pyproject.toml.
"""

from __future__ import annotations

from importlib.util import find_spec

EXTRAS = {
    "torch": ("torch", "tqdm", "safetensors"),
    "plot": ("matplotlib",),
    "report": ("jinja2", "matplotlib"),
    "study": ("sklearn", "scipy"),
}
"""Modules by the name of the extra that brings them; the first extra that has one is named to the user."""


def extra_of(module: str) -> str | None:
    """Give the extra that a module comes with; None for one of no extra."""
    return next((extra for extra, modules in EXTRAS.items() if module in modules), None)


def missing(extra: str) -> str | None:
    """Say which modules of an extra are not installed and what to do about it; None where all are.

    Examples
    --------
    >>> missing("torch") is None
    True
    """
    absent = [module for module in EXTRAS[extra] if find_spec(module) is None]
    return f"{' and '.join(absent)} not installed; {how_to_install(extra)}" if absent else None


def how_to_install(extra: str) -> str:
    """Give the command."""
    return f'pip install "puma-fast[{extra}]"'
