"""Gradients of single samples for those who want them: a chunk at a time, projected on request."""

from __future__ import annotations

from typing import TYPE_CHECKING

from puma_fast.score.sketch import CountSketch

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    from numpy.typing import NDArray

    from puma_fast.score.passes import Passes


def per_sample_gradients(
    passes: Passes,
    positions: NDArray[np.int64],
    *,
    projection: int | None = None,
    seed: int = 0,
    chunk: int | None = None,
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float32] | NDArray[np.float64]]]:
    """Give ∇L_j, chunk by chunk; see `Puma.per_sample_gradients`.

    Between two chunks the user's model is as it was: they may take as long as they like over each.
    """
    objective = passes.objective
    sketch = None
    if projection is not None:
        sketch = CountSketch(objective.layout.size, projection, seed=seed, device=objective.device)
    chunks = passes.gradients(positions, chunk=chunk)
    while True:
        with objective.untouched():
            step = next(chunks, None)
        if step is None:
            return
        where, rows = step
        yield where, (rows if sketch is None else sketch(rows)).cpu().numpy()
