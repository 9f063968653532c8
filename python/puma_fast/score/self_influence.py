"""Self-influence: what every sample does for its own loss, ∇L_jᵀH⁻¹∇L_j."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from puma_fast.score.inverse_root import inverse_root
from puma_fast.warning import warn

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from puma_fast.score.influence import Influence

_ROOT_TOLERANCE = 1e-4
"""Residual of the probes' roots: with automatic damping an error of at most 0.3 %, well below their noise."""

_BLOCK = 16
"""Right-hand sides solved together: they share passes over the data, and what each learns of H."""

_PROBE_NUMBERS = 2**25
"""Numbers in the probes held at once, at most (but for one): 256 MB."""


def exact(influence: Influence, positions: NDArray[np.int64]) -> NDArray[np.float64]:
    """Compute ∇L_jᵀH⁻¹∇L_j of the samples at `positions`, (m,): one curvature solve each."""
    parts = []
    for _, rows in influence.passes.gradients(positions):
        for block in torch.split(rows.double(), _BLOCK):
            solve = influence.inverse(block.T, stage="self-influence solve")
            parts.append((block * solve.x.T).sum(1).cpu().numpy())
    return np.concatenate(parts)


def estimated(
    influence: Influence, positions: NDArray[np.int64], *, probes: int, seed: int
) -> NDArray[np.float64]:
    """Estimate the same from random probes, whatever the number of samples.

    For w = H^(−1/2)z with z ~ N(0, I), (∇L_jᵀw)² has the mean ∇L_jᵀH⁻¹∇L_j; the mean over r probes follows
    that times χ²_r/r. Each probe costs the Lanczos products of one root, and the probes share passes of
    forward mode over the samples.
    """
    generator = torch.Generator().manual_seed(seed)
    size = influence.objective.layout.size
    total = np.zeros(len(positions))
    at_once = max(1, _PROBE_NUMBERS // size)
    for first in range(0, probes, at_once):
        starts = [
            torch.randn(size, generator=generator, dtype=torch.float64, device="cpu")
            for _ in range(min(at_once, probes - first))
        ]
        roots = torch.stack([_root(influence, start) for start in starts])
        for places, columns in influence.passes.derivatives(roots, positions):
            total[places] += np.square(columns).sum(1)
    return influence.samples.ranks.assembled(total) / probes


def _root(influence: Influence, start: Tensor) -> Tensor:
    with influence.samples.bar("probe", unit="product") as bar:
        curvature = influence.curvature
        curvature.bar = bar
        root, residual = inverse_root(
            curvature,
            start.to(influence.objective.device),
            tol=_ROOT_TOLERANCE,
            max_products=influence.max_products,
        )
    if residual > _ROOT_TOLERANCE:
        warn(
            f"a probe stopped at residual {residual:.1e} after {influence.max_products} products; raise "
            "damping or max_iter"
        )
    return root
