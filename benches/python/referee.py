"""What every bench shares: where it ran, alternate timing, and the refusal of a debug build."""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
import time
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from puma_fast import _core

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


def require_release() -> None:
    """Stop where the core was built without optimisation."""
    if _core.build_profile != "release":
        msg = f"the core is a {_core.build_profile} build; benches need a release build"
        raise SystemExit(msg)


def machine(*packages: str) -> str:
    """Describe processor, commit and versions in one line each."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [line for line in cpuinfo.read_text().splitlines() if line.startswith("model name")]
        model = names[0].split(":")[1].strip() if names else model
    here = Path(__file__).parent
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=here, capture_output=True, text=True, check=False
    ).stdout.strip()
    versions = ", ".join(f"{package} {version(package)}" for package in packages)
    return (
        f"Machine: {model}, {os.cpu_count()} CPUs, {_core.simd_level}.  \n"
        f"Commit: {commit or 'unknown'}; puma-fast {_core.__version__} ({_core.build_profile}).  \n"
        f"Versions: Python {platform.python_version()}, {versions}."
    )


def alternate(
    contenders: Mapping[str, Callable[[], Any]], rounds: int
) -> tuple[dict[str, float], dict[str, Any]]:
    """Time the contenders in turn, `rounds` times; give each one's median seconds and last answer.

    In turn, so that whatever else the machine does meanwhile falls on all of them alike.
    """
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    answers: dict[str, Any] = {}
    for _ in range(rounds):
        for name, run in contenders.items():
            start = time.perf_counter()
            answers[name] = run()
            seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(times) for name, times in seconds.items()}, answers
