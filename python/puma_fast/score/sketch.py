"""Long vectors in few numbers, inner products kept: the count sketch.

Every coordinate is added, with a sign of its own, to one of d sums (Charikar, Chen and Farach-Colton
2002; Weinberger et al. 2009). For sketches Sx, Sy of two vectors E⟨Sx, Sy⟩ = ⟨x, y⟩ over the draw, and
the variance is at most (‖x‖²‖y‖² + ⟨x, y⟩²)/d, as for a dense random projection, which costs d times as
much and has to hold or redraw p·d numbers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor


class CountSketch:
    """A seeded random projection from p numbers to d; it holds p bucket numbers and p signs.

    Parameters
    ----------
    size : int
        p.
    width : int
        d.
    seed : int, default 0
        Of the draw.
    device : torch.device or str, default "cpu"
        Where the vectors are; the draw is the same everywhere.
    """

    def __init__(self, size: int, width: int, *, seed: int = 0, device: torch.device | str = "cpu") -> None:
        generator = torch.Generator().manual_seed(seed)
        self.width = width
        self._buckets = torch.randint(width, (size,), generator=generator, device="cpu").to(device)
        signs = torch.randint(2, (size,), generator=generator, dtype=torch.int8, device="cpu")
        self._signs = (2 * signs - 1).to(device)

    def __call__(self, rows: Tensor) -> Tensor:
        """Project rows (B, p) to (B, d), in their own type."""
        sums = torch.zeros(len(rows), self.width, dtype=rows.dtype, device=rows.device)
        return sums.index_add_(1, self._buckets, rows * self._signs)
