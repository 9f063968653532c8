"""What every bench shares: the same single thread for all, the versions, and timing in turn."""

from __future__ import annotations

import os
import statistics
import time
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

# Read by the libraries when they are loaded, so a bench imports this file before them.
for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS"):
    os.environ.setdefault(_variable, "1")

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


def versions(*packages: str) -> str:
    """Name what was measured and on how many threads."""
    named = ", ".join(f"{package} {version(package)}" for package in packages)
    return f"{named}; {os.environ['OMP_NUM_THREADS']} thread for each contender."


def alternate(
    contenders: Mapping[str, Callable[[], Any]],
    rounds: int,
    of: Callable[[list[float]], float] = statistics.median,
) -> tuple[dict[str, float], dict[str, Any]]:
    """Time the contenders in turn, `rounds` times; give `of` each one's seconds and its last answer.

    In turn, so that whatever else the machine does meanwhile falls on all of them alike.
    """
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    answers: dict[str, Any] = {}
    for _ in range(rounds):
        for name, run in contenders.items():
            start = time.perf_counter()
            answers[name] = run()
            seconds[name].append(time.perf_counter() - start)
    return {name: of(times) for name, times in seconds.items()}, answers
