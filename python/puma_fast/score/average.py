"""Influence averaged over checkpoints of one training run, or over runs.

A mean in a file, ``scores.npy``, is made of one file of scores for each checkpoint, which lie beside it as
``scores.checkpoint-0.npy`` and so on. A killed computation takes each of them up where it stood, and as they
are kept, the mean is made of them again without a solve.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from puma_fast.atomic import replacing
from puma_fast.score.checkpoint import load_checkpoint
from puma_fast.score.store import ScoreStore, stream_scores, write_scores

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator
    from pathlib import Path

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
    _check(influence, checkpoints)
    total: NDArray[np.float64] | float = 0.0
    for there in _at_each(influence, checkpoints):
        with there.objective.untouched():
            total = total + there.scores(criteria.each)
    return np.asarray(total / len(checkpoints))


def stream_average(
    influence: Influence,
    criteria: Criteria,
    checkpoints: Sequence[Checkpoint],
    path: str | os.PathLike[str],
) -> NDArray[np.float64]:
    """Compute the same into a file, or what of it is missing there; see `Puma.influence`.

    Raises
    ------
    TypeError
        As `average_scores`.
    ValueError
        As `average_scores`, or a file that holds something else.
    """
    _check(influence, checkpoints)
    store, count = ScoreStore(path), len(checkpoints)
    ranks = influence.samples.ranks
    ranks.first(lambda: store.claim({"checkpoints": count}))
    parts = []
    for place, there in enumerate(_at_each(influence, checkpoints)):
        own = store.path.with_name(f"{store.path.stem}.checkpoint-{place}.npy")
        with there.objective.untouched():
            parts.append(stream_scores(there, criteria, own))
    ranks.first(lambda: _write_mean(parts, store.path))
    return store.read()


def _check(influence: Influence, checkpoints: Sequence[Checkpoint]) -> None:
    """Refuse before long work what cannot be loaded."""
    if isinstance(checkpoints, (str, bytes, Mapping)) or not isinstance(checkpoints, Sequence):
        msg = f"checkpoints must be a list of state dicts or files, got {type(checkpoints).__name__}"
        raise TypeError(msg)
    if not checkpoints:
        msg = "checkpoints is empty; give at least one, or leave it out for the model as it is"
        raise ValueError(msg)
    for place in range(len(checkpoints)):
        _loaded(influence.objective.model, checkpoints, place)


def _at_each(influence: Influence, checkpoints: Sequence[Checkpoint]) -> Iterator[Influence]:
    """Give the same settings at every checkpoint; one copy of the model is made at a time."""
    for place in range(len(checkpoints)):
        yield influence.of(_loaded(influence.objective.model, checkpoints, place))


def _write_mean(parts: Sequence[NDArray[np.float64]], path: Path) -> None:
    """Write the mean of mapped files, a few rows at a time."""
    with replacing(path) as there:
        write_scores(there, parts[0].shape, lambda rows: np.mean([part[rows] for part in parts], axis=0))


def _loaded(model: nn.Module, checkpoints: Sequence[Checkpoint], place: int) -> nn.Module:
    other = copy.deepcopy(model)
    load_checkpoint(other, checkpoints[place], name=f"checkpoints[{place}]")
    return other
