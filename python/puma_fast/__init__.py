"""Remove training samples from a trained torch model without losing accuracy, with evidence.

Four verbs, and data flows through them in one direction: ``score`` (a number per training sample),
``select`` (indices out of millions of numbers), ``edit`` (a new model), ``audit`` (evidence).

The public names below are loaded on first use, so that ``import puma_fast`` stays light and the
numeric functions work without torch.
"""

from __future__ import annotations

import importlib
from typing import Any

from puma_fast._core import __version__

_HOME = {
    "KMeans": "puma_fast.numeric.kmeans",
    "adaptive_eps": "puma_fast.select.prune",
    "argsort": "puma_fast.numeric.order",
    "kmeans": "puma_fast.numeric.kmeans",
    "mark_clusters": "puma_fast.select.clusters",
    "prune_by_margin": "puma_fast.select.prune",
    "top_k": "puma_fast.numeric.order",
}

__all__ = ["__version__", *sorted(_HOME)]  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    """Import a public name from its home on first use."""
    if name not in _HOME:
        msg = f"module 'puma_fast' has no attribute {name!r}"
        raise AttributeError(msg)
    value = getattr(importlib.import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """List the public names, loaded or not."""
    return __all__
