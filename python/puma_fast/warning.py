"""Warnings that point at the line of the user's that led to them, not at ours."""

from __future__ import annotations

import sys
import warnings


def warn(message: str, category: type[Warning] = UserWarning) -> None:
    """Warn of what the nearest caller outside this package has asked for."""
    depth, frame = 1, sys._getframe()
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] == "puma_fast":
        depth, frame = depth + 1, frame.f_back
    warnings.warn(message, category, stacklevel=depth)
