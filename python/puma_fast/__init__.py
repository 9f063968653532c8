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
from puma_fast.extras import extra_of, how_to_install

# The type checkers' copy of this table is __init__.pyi.
_HOME = {
    "KMeans": "puma_fast.numeric.kmeans",
    "Puma": "puma_fast.puma",
    "Shard": "puma_fast.numeric.shard",
    "UnfitInfo": "puma_fast.edit.linear",
    "WeightsInfo": "puma_fast.numeric.reweight",
    "WeightsPath": "puma_fast.numeric.reweight",
    "adaptive_eps": "puma_fast.select.prune",
    "argsort": "puma_fast.numeric.order",
    "bottom_k": "puma_fast.numeric.order",
    "difference": "puma_fast.numeric.order",
    "group_sums": "puma_fast.numeric.order",
    "intersection": "puma_fast.numeric.order",
    "kmeans": "puma_fast.numeric.kmeans",
    "linear_influence": "puma_fast.score.linear",
    "mark_clusters": "puma_fast.select.clusters",
    "per_class": "puma_fast.score.groups",
    "per_group": "puma_fast.score.groups",
    "prune_by_margin": "puma_fast.select.prune",
    "select_scores": "puma_fast.numeric.order",
    "solve_weights": "puma_fast.numeric.reweight",
    "solve_weights_path": "puma_fast.numeric.reweight",
    "suspects": "puma_fast.numeric.order",
    "top_k": "puma_fast.numeric.order",
    "unfit": "puma_fast.edit.linear",
}

__all__ = ["__version__", *sorted(_HOME)]  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    """Import a public name from its home on first use."""
    if name not in _HOME:
        msg = f"module 'puma_fast' has no attribute {name!r}"
        raise AttributeError(msg)
    try:
        home = importlib.import_module(_HOME[name])
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        extra = extra_of(package)
        if extra is None:
            raise
        msg = (
            f"puma_fast.{name} needs {package}, which is not installed; it comes with: "
            f"{how_to_install(extra)}"
        )
        raise ImportError(msg, name=package) from error
    value = getattr(home, name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """List the public names, loaded or not."""
    return __all__
