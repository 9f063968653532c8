"""Samples by position: whatever the user's data comes in, it is read in one order, again and again.

Scores are keyed by sample and a curvature product reads every sample once, so the data must give the
same sample at the same position each time. What cannot promise that (one-shot iterators, random
transforms) is refused by name before any long work.
"""

from __future__ import annotations

from puma_fast.data.samples import BATCH_SIZE, Samples

__all__ = ["BATCH_SIZE", "Samples"]
