"""Approximate inverses that make conjugate gradients take fewer steps, set up from products alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import torch

from puma_fast.numeric.arrays import as_count

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from puma_fast.score.solve.protocol import Operator

PRECONDITIONERS = ("jacobi", "nystrom")


class Preconditioner(Protocol):
    """A symmetric positive definite approximation of A⁻¹.

    One that spends products on being applied counts them in an attribute ``spent``.
    """

    def fit(self, operator: Operator, device: torch.device) -> int:
        """Learn the operator; give the number of products that it took."""

    def apply(self, block: Tensor) -> Tensor:
        """Multiply the columns of (p, m) by the approximation."""


class Jacobi:
    """The inverse of the diagonal, estimated from products with random signs (Bekas et al. 2007).

    An entry's estimate errs by the norm of the rest of its row over √probes, which for a curvature is
    more than the entry: on a digits MLP that took seven times the products of no preconditioner. So an
    operator with ``blocks`` (the sizes of its parameter tensors) is scaled by the mean of the diagonal
    over each block, from signs within the block alone: that repairs layers of unlike scale. Estimates
    below a millionth of the largest are raised to it.

    Parameters
    ----------
    probes : int, optional
        Products spent, per block where there are any; by default 1 per block, or 10.
    seed : int, default 0
        Of the signs.
    """

    def __init__(self, probes: int | None = None, *, seed: int = 0) -> None:
        self.probes = None if probes is None else as_count("probes", probes, least=1)
        self.seed = as_count("seed", seed)
        self._scale: Tensor | None = None

    def fit(self, operator: Operator, device: torch.device) -> int:
        """Estimate the diagonal."""
        generator = torch.Generator().manual_seed(self.seed)
        blocks: Sequence[int] | None = getattr(operator, "blocks", None)
        probes = self.probes or (10 if blocks is None else 1)
        diagonal = torch.zeros(operator.size, dtype=torch.float64, device=device)
        start = 0
        for size in blocks or [operator.size]:
            part = slice(start, start + size)
            bits = torch.randint(0, 2, (size, probes), generator=generator, device="cpu")
            signs = diagonal.new_zeros(operator.size, probes)
            signs[part] = (2.0 * bits - 1.0).to(diagonal)
            estimates = (signs * (operator @ signs))[part].mean(1)
            diagonal[part] = estimates if blocks is None else estimates.mean()
            start += size
        # Nothing above nought: A has no positive diagonal to divide by, as the iteration will see itself.
        floor = 1e-6 * float(diagonal.max().clamp_min(0)) or 1.0
        self._scale = 1 / diagonal.clamp_min(floor)
        return probes * len(blocks or [0])

    def apply(self, block: Tensor) -> Tensor:
        """Divide by the diagonal."""
        assert self._scale is not None, "fit comes first"
        return self._scale[:, None] * block


class Nystrom:
    """Randomised Nyström preconditioning (Frangella, Tropp and Udell, SIAM J. Matrix Anal. Appl. 44, 2023).

    A sketch A·Ω finds the largest eigenvalues and their vectors; on their span A is inverted, elsewhere
    scaled like the smallest of them.

    Parameters
    ----------
    rank : int, default 50
        Products spent, and vectors of p kept.
    seed : int, default 0
        Of the sketch.
    """

    def __init__(self, rank: int = 50, *, seed: int = 0) -> None:
        self.rank = as_count("rank", rank, least=1)
        self.seed = as_count("seed", seed)
        self._basis: Tensor | None = None
        self._excess: Tensor | None = None

    def fit(self, operator: Operator, device: torch.device) -> int:
        """Sketch the operator in one block of products (their Algorithm 2.1)."""
        rank = min(self.rank, operator.size)
        generator = torch.Generator().manual_seed(self.seed)
        shape = operator.size, rank
        gaussian = torch.randn(shape, generator=generator, dtype=torch.float64, device="cpu")
        sketch = torch.linalg.qr(gaussian.to(device))[0]
        images = operator @ sketch
        # The shift keeps the core positive where A is nearly singular; it is taken off the eigenvalues.
        shift = torch.finfo(torch.float64).eps * float(images.norm())
        shifted = images + shift * sketch
        core = sketch.T @ shifted
        weights, rotation = torch.linalg.eigh((core + core.T) / 2)
        # An indefinite A has no such root: the iteration, which sees that, runs on the positive part.
        seen = weights > shift
        root = shifted @ (rotation[:, seen] / weights[seen].sqrt())
        basis, values, _ = torch.linalg.svd(root, full_matrices=False)
        eigenvalues = (values.square() - shift).clamp_min(shift)
        self._basis = basis
        self._excess = eigenvalues[-1:] / eigenvalues - 1
        return rank

    def apply(self, block: Tensor) -> Tensor:
        """Invert on the sketched span, relative to its smallest eigenvalue."""
        assert self._basis is not None, "fit comes first"
        assert self._excess is not None, "fit comes first"
        return block + self._basis @ (self._excess[:, None] * (self._basis.T @ block))


def preconditioner_named(preconditioner: str | Preconditioner | None) -> Preconditioner | None:
    """Give the preconditioner that a name stands for."""
    if preconditioner is None:
        return None
    if isinstance(preconditioner, str):
        if preconditioner in PRECONDITIONERS:
            return Jacobi() if preconditioner == "jacobi" else Nystrom()
    elif all(callable(getattr(preconditioner, name, None)) for name in ("fit", "apply")):
        return preconditioner
    msg = (
        f"preconditioner must be one of {', '.join(PRECONDITIONERS)}, or have fit and apply, "
        f"got {preconditioner!r}"
    )
    raise (ValueError if isinstance(preconditioner, str) else TypeError)(msg)
