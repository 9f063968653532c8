"""A^(−1/2)z by Lanczos, in a handful of vectors.

For a start z and the Lanczos matrix T of m products, ‖z‖·V·T^(−1/2)e₁ approximates A^(−1/2)z; the method
keeps its accuracy without reorthogonalisation (Musco, Musco and Sidford, SODA 2018). The basis V is not
kept: once T is known its columns are made a second time and added up, at the price of the same products.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

if TYPE_CHECKING:
    from torch import Tensor

    from puma_fast.score.solve import Operator


def inverse_root(
    operator: Operator, start: Tensor, *, tol: float, max_products: int
) -> tuple[Tensor, float]:
    """Compute A^(−1/2)z.

    Parameters
    ----------
    operator : Operator
        A, symmetric and positive definite with condition number κ.
    start : Tensor of shape (p,), float64
        z.
    tol : float
        Residual r of A·x = z in this Krylov space at which to stop. The error is then at most √κ·r of
        the result's length: A^(−1/2) = (2/π)∫(A + t²)⁻¹dt, and no shifted system has a larger residual.
    max_products : int
        Products in the first of the two rounds, at most.

    Returns
    -------
    tuple of Tensor of shape (p,) and float
        The root times z, and the residual reached.

    Raises
    ------
    ValueError
        A is seen not to be positive definite.
    """
    scale = float(start.norm())
    diagonal: list[float] = []
    off: list[float] = []
    residual, pivot = 1.0, 1.0
    v, before, beta = start / scale, torch.zeros_like(start), 0.0
    while len(diagonal) < max_products:
        w = operator @ v - beta * before
        alpha = float(w @ v)
        # The pivots of T's factorisation; the product of β/pivot is the residual of conjugate gradients.
        pivot = alpha - (beta**2 / pivot if diagonal else 0.0)
        if not pivot > 0.0:
            msg = f"the curvature has a direction of {pivot:.3g}, so it has no inverse root; raise damping"
            raise ValueError(msg)
        diagonal.append(alpha)
        w -= alpha * v
        beta = float(w.norm())
        residual *= beta / pivot
        if residual <= tol or len(diagonal) == operator.size:
            break
        off.append(beta)
        before, v = v, w / beta
    off = off[: len(diagonal) - 1]
    values, vectors = np.linalg.eigh(np.diag(diagonal) + np.diag(off, 1) + np.diag(off, -1))
    weights = scale * (vectors @ (vectors[0] / np.sqrt(values)))
    return _combined(operator, start / scale, diagonal, off, weights.tolist()), residual


def _combined(
    operator: Operator, v: Tensor, diagonal: list[float], off: list[float], weights: list[float]
) -> Tensor:
    """Make the Lanczos vectors again and add them up with these weights."""
    total = weights[0] * v
    before = torch.zeros_like(v)
    for place, beta in enumerate(off):
        w = operator @ v - diagonal[place] * v - (off[place - 1] if place else 0.0) * before
        before, v = v, w / beta
        total += weights[place + 1] * v
    return total
