"""Seconds per stage of long work, for reports."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


class Stages(dict[str, float]):
    """Wall-clock seconds by name of the stage, in the order of their first start."""

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        """Time the block under `name`; the last run counts."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self[name] = time.perf_counter() - start

    def kept(self, name: str) -> None:
        """Note that what `name` stands for was known from an earlier call and took no time."""
        if name not in self:
            self[f"{name} (kept)"] = 0.0
