"""Which samples may be reweighted to make up for the marked ones (D_up of Algorithm 1)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

from puma_fast.numeric.order import apportion
from puma_fast.score.groups import classes

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from puma_fast.data import Samples
    from puma_fast.score.objective import Objective

    Up = Literal["rest"] | int | ArrayLike | None
    """Every unmarked sample, that many drawn, the ids given, or none."""


def choose_up(
    up: Up, samples: Samples, objective: Objective, marked: NDArray[np.int64], seed: int
) -> NDArray[np.int64]:
    """Find the positions of the samples to reweight.

    Parameters
    ----------
    up : "rest", int, array_like or None
        Every unmarked sample; that many of them, drawn per class in proportion; ids; or none.
    samples : Samples
        The training data.
    objective : Objective
        Tells the targets of a batch.
    marked : ndarray of shape (m,), int64
        Positions that are out of the question.
    seed : int
        Of the draw.

    Returns
    -------
    ndarray of shape (u,), int64
        Sorted, but for ids, which keep their order.

    Raises
    ------
    ValueError
        A marked sample among the ids, or more drawn than there are.
    """
    if up is None:
        return np.empty(0, dtype=np.int64)
    rest = np.setdiff1d(np.arange(samples.n), marked)
    if isinstance(up, str):
        if up == "rest":
            return rest
        msg = f"up must be 'rest', a number of samples, ids or None, got {up!r}"
        raise ValueError(msg)
    if isinstance(up, (int, np.integer)) and not isinstance(up, bool):
        if not 0 < up <= len(rest):
            msg = f"up={up}: of the unmarked samples 1 to {len(rest)} can be drawn; or pass 'rest' for all"
            raise ValueError(msg)
        labels = classes(samples, objective.targets) if objective.has_outputs else None
        # Where there are no classes, all samples are of one.
        strata = np.zeros(len(rest), dtype=np.int64) if labels is None else labels[rest]
        return _draw(int(up), rest, strata, np.random.default_rng(seed))
    positions = samples.positions(up, name="up")
    both = np.intersect1d(positions, marked)
    if both.size:
        msg = f"up holds the marked sample at position {both[0]}; leave marked samples out of up"
        raise ValueError(msg)
    return positions


def _draw(
    count: int, candidates: NDArray[np.int64], classes: NDArray[np.int64], random: np.random.Generator
) -> NDArray[np.int64]:
    """Draw `count` of `candidates`, each class in proportion, the fractions settled by largest remainder."""
    labels, sizes = np.unique(classes, return_counts=True)
    drawn = [
        random.choice(candidates[classes == label], size, replace=False)
        for label, size in zip(labels, apportion(sizes, count), strict=True)
    ]
    return np.sort(np.concatenate(drawn))
