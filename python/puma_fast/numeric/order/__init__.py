"""Exact order of scores: the best k, all of them sorted, those within bounds, or what pruning keeps.

Samples are compared by (score, position): equal scores go by position, lowest first, and -0.0 equals 0.0.
No two samples are equal in this order, so every result is unique, whatever the number of threads or shards.
Scores in a mapped file (`numpy.memmap`, ``numpy.load(..., mmap_mode="r")``) are read where they lie, from
the first to the last, in constant memory (`suspects` keeps one bit for each sample).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from puma_fast.numeric.order.groups import group_sums
from puma_fast.numeric.order.pruning import apportion, prune
from puma_fast.numeric.order.ranking import argsort, bottom_k, top_k
from puma_fast.numeric.order.selection import select_scores, suspects
from puma_fast.numeric.order.sets import difference, intersection

if TYPE_CHECKING:
    from puma_fast.numeric.order.ranking import Nan as Nan

__all__ = [
    "apportion",
    "argsort",
    "bottom_k",
    "difference",
    "group_sums",
    "intersection",
    "prune",
    "select_scores",
    "suspects",
    "top_k",
]
