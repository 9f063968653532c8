"""Influence averaged over checkpoints of one training run, or over runs."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from puma_fast.score.checkpoint import load_checkpoint

if TYPE_CHECKING:
    import os

    import numpy as np
    from numpy.typing import NDArray
    from torch import nn

    from puma_fast.score.criteria import Criteria
    from puma_fast.score.influence import Influence

    Checkpoint = Mapping[str, Any] | str | os.PathLike[str]
    """A state dict, or the file of one."""


def average_scores(
    influence: Influence, criteria: Criteria, checkpoints: Sequence[Checkpoint]
) -> NDArray[np.float64]:
    """Compute the mean of ψ over checkpoints, each with its own gradient, damping and solves, (n, k).

    One copy of the model is made at a time; the user's own is not touched.

    Raises
    ------
    TypeError
        A single checkpoint that is not in a list.
    ValueError
        No checkpoint, or one that cannot be read or does not fit, told before any long work.
    """
    if isinstance(checkpoints, (str, bytes, Mapping)) or not isinstance(checkpoints, Sequence):
        msg = f"checkpoints must be a list of state dicts or files, got {type(checkpoints).__name__}"
        raise TypeError(msg)
    if not checkpoints:
        msg = "checkpoints is empty; give at least one, or leave it out for the model as it is"
        raise ValueError(msg)
    for place in range(len(checkpoints)):
        _loaded(influence.objective.model, checkpoints, place)

    def scores_at(place: int) -> NDArray[np.float64]:
        there = influence.of(_loaded(influence.objective.model, checkpoints, place))
        with there.objective.untouched():
            return there.scores(criteria.each)

    count = len(checkpoints)
    return sum((scores_at(place) for place in range(1, count)), start=scores_at(0)) / count


def _loaded(model: nn.Module, checkpoints: Sequence[Checkpoint], place: int) -> nn.Module:
    other = copy.deepcopy(model)
    load_checkpoint(other, checkpoints[place], name=f"checkpoints[{place}]")
    return other
