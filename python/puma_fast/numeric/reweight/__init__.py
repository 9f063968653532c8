"""Reweighting: weights on the remaining samples that make up for the removal of the marked ones."""

from __future__ import annotations

from puma_fast.numeric.reweight.info import WeightsInfo
from puma_fast.numeric.reweight.path import WeightsPath, solve_weights_path
from puma_fast.numeric.reweight.solve import solve_weights

__all__ = ["WeightsInfo", "WeightsPath", "solve_weights", "solve_weights_path"]
