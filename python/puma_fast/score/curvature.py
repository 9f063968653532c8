"""Products with the curvature of J, one pass over the data each; never a matrix of n × p or p × p.

H = (1/n) Σ_i H_i + γ·I + damping·I, where H_i is one of three matrices of the sample's loss L_i:

- the generalised Gauss-Newton matrix Jᵀ(∇²ℓ)J of the loss ℓ of outputs with Jacobian J (default; never
  indefinite for the usual losses; for cross-entropy it is the true Fisher matrix);
- the exact Hessian, which may be indefinite;
- the empirical Fisher matrix ∇L_i∇L_iᵀ at the labels that were observed. It is cheap and never
  indefinite, but no approximation of the Hessian far from a well-specified model's optimum (Kunstner,
  Hennig and Balles 2019), and it shrinks with the training loss. It is there to compare with work that
  uses it, and for losses known only as a whole.

Products are formed in the model's type per batch and added up in float64. Within a call the model is
evaluated once per batch, as far as memory is granted to the graphs (see `Recorded`), else once per product.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import torch

from puma_fast import sweep
from puma_fast.data.kept import MEMORY
from puma_fast.score.forward import one_by_one
from puma_fast.score.heaviest import heaviest
from puma_fast.score.recorded import Recorded, TooLargeError
from puma_fast.score.reverse import detached, leaves, pulled_back, slopes

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor
    from tqdm import tqdm

    from puma_fast.data import Samples
    from puma_fast.score.objective import Objective

    Product = Callable[..., dict[str, Tensor]]
    """``product(tangent, several=False)``; with `several` the tangent's tensors have their rows first."""

Kind = Literal["ggn", "hessian", "fisher"]
KINDS: tuple[Kind, ...] = ("ggn", "hessian", "fisher")

VECTORS_AT_ONCE = 4
"""Vectors that share one evaluation of the model, whose activations take so many times the memory. Four cost
a third of four alone on a digits MLP and two thirds on a small CNN; eight took the CNN out of the cache."""

LEFT_TO_A_PART = 0.25
"""What the graphs of all samples leave to those of a part of them, which is multiplied by more often."""

_SAME = 1e-3
"""Relative difference of two products that is taken for rounding, in float32 and with cancellation."""

_UNRECORDABLE = (TooLargeError, RuntimeError)
"""What a batch raises that cannot be recorded or walked; memory that runs out and operators that have no
derivative are RuntimeErrors."""


class Curvature:
    """The damped curvature of the training objective as an operator on float64 vectors (p,).

    Parameters
    ----------
    objective : Objective
        What is differentiated.
    samples : Samples
        The training data.
    kind : {"ggn", "hessian", "fisher"}
        Which matrix; an `objective` given whole has no outputs, so it takes "hessian" or "fisher".
    damping : float
        Added to the diagonal, at least 0.
    positions : ndarray of shape (m,), int64, optional
        The samples whose H_i are added up, by default all; 1/n stays.

    Attributes
    ----------
    share : float
        The samples that a product reads, as a part of all.
    products : int
        Products with one vector formed so far.
    bar : tqdm or None
        A progress bar that counts them along.
    """

    def __init__(
        self,
        objective: Objective,
        samples: Samples,
        kind: Kind = "ggn",
        damping: float = 0.0,
        *,
        positions: NDArray[np.int64] | None = None,
    ) -> None:
        if not isinstance(kind, str) or kind not in KINDS:
            msg = f"curvature must be one of {', '.join(KINDS)}, got {kind!r}"
            raise ValueError(msg)
        if kind == "ggn" and not objective.has_outputs:
            msg = (
                "curvature='ggn' needs outputs and a loss; with objective= pass curvature='hessian' "
                "(or 'fisher')"
            )
            raise ValueError(msg)
        self.objective = objective
        self.samples = samples
        self.kind = kind
        self.damping = float(damping)
        self.positions = positions
        self.share = 1.0 if positions is None else len(positions) / samples.n
        self.products = 0
        self.bar: tqdm[Any] | None = None
        self._shares_evaluations = True

    @property
    def size(self) -> int:
        """The number p of edited parameters."""
        return self.objective.layout.size

    @property
    def blocks(self) -> list[int]:
        """The sizes of the parameter tensors, in their order."""
        return [value.numel() for value in self.objective.parameters.values()]

    def heaviest(self) -> Curvature | None:
        """Give the curvature of the few samples that hold most of it; None where they are not few."""
        few = heaviest(self.objective, self.samples, self.kind)
        if few is None:
            return None
        return Curvature(self.objective, self.samples, self.kind, self.damping, positions=few)

    def rehearse(self, batch: Any) -> None:
        """Try a product on a few samples; where it comes out the same recorded, others will be.

        A walk takes a function whose own gradient torch cannot follow for a constant, without a word.
        """
        objective = self.objective
        generator = torch.Generator().manual_seed(0)
        v = torch.randn(self.size, generator=generator, dtype=torch.float64, device="cpu")
        tangent = objective.layout.split(v.to(objective.device))
        evaluated = objective.layout.join(_PRODUCTS[self.kind](objective, batch)(tangent))
        objective.finite(evaluated, self.samples)
        try:
            walked = objective.layout.join(Recorded(objective, batch, self.kind, MEMORY)(tangent))
        except _UNRECORDABLE:
            return
        if float((walked - evaluated).norm()) <= _SAME * float(evaluated.norm()):
            objective.recordable.add(self.kind)

    def __matmul__(self, vectors: Tensor) -> Tensor:
        """Multiply a float64 vector (p,), or the columns of a block (p, m): one pass over the data."""
        layout = self.objective.layout
        rows = vectors[None] if vectors.ndim == 1 else vectors.T
        tangents = [layout.split(row) for row in rows]

        def products(places: NDArray[np.int64], batch: Any) -> Tensor:
            where = places if self.positions is None else self.positions[places]
            walked = self._walked(where, batch, tangents)
            return self._evaluated(batch, rows) if walked is None else walked

        nought = torch.zeros_like(rows, memory_format=torch.contiguous_format)
        total = sweep.total(self.samples, products, nought, self.positions, description="curvature")
        self.products += len(rows)
        if self.bar is not None:
            self.bar.update(len(rows))
        self.objective.finite(total, self.samples)
        total = total[0] if vectors.ndim == 1 else total.T
        return total / self.samples.n + (self.objective.weight_decay + self.damping) * vectors

    def _walked(
        self, where: NDArray[np.int64], batch: Any, tangents: list[dict[str, Tensor]]
    ) -> Tensor | None:
        """Multiply every tangent by a batch's recorded product, (k, p); None where there cannot be one."""
        kept, maker = self.samples.kept, (self.objective, self.kind)
        product: Recorded | Literal[False] | None = kept.made(maker, where)
        room = kept.room(leaving=LEFT_TO_A_PART if self.positions is None else 0.0)
        try:
            if product is None and room > 0 and self.kind in self.objective.recordable:
                product = Recorded(self.objective, batch, self.kind, room)
                kept.keep(maker, where, product, product.nbytes)
            if not product:
                return None
            return torch.stack([self.objective.layout.join(product(tangent)) for tangent in tangents])
        except _UNRECORDABLE:
            # Nor are the other products with this batch to try.
            kept.keep(maker, where, False, 0)
            return None

    def _evaluated(self, batch: Any, rows: Tensor) -> Tensor:
        """Multiply the rows by a batch's product, (k, p), several in one evaluation where torch can."""
        layout, product = self.objective.layout, _PRODUCTS[self.kind](self.objective, batch)
        shares = self._shares_evaluations and self.objective.forward.missing is None
        # Several Hessian products are walks of one graph, where rehearsal saw that these can be trusted.
        shares = shares and (self.kind != "hessian" or self.kind in self.objective.recordable)
        if len(rows) > 1 and shares:
            try:
                blocks = [
                    product(layout.split(some), several=True) for some in torch.split(rows, VECTORS_AT_ONCE)
                ]
            except (NotImplementedError, RuntimeError, ValueError) as error:
                self._shares_evaluations = False
                one_by_one("several directions", error)
            else:
                return torch.cat([layout.join(block) for block in blocks])
        return torch.stack([layout.join(product(layout.split(row))) for row in rows])


def _ggn_product(objective: Objective, batch: Any) -> Product:
    """Σ over the batch of Jᵀ(∇²ℓ)J·tangent: forward for J, backward for ∇²ℓ, which is symmetric, and Jᵀ."""
    at = leaves(objective.parameters)

    @torch.enable_grad()
    def product(tangent: Mapping[str, Tensor], *, several: bool = False) -> dict[str, Tensor]:
        forward = objective.forward.several if several else objective.forward.with_value
        outputs, moved = forward(lambda at: objective.outputs(at, batch), at, tangent)
        there = leaves(outputs)
        slope = slopes(objective.losses_of(there, batch), there, create_graph=True)
        curved = pulled_back(slope, there, detached(moved), several=several)
        pulled: dict[str, Tensor] = pulled_back(outputs, at, curved, several=several)
        return pulled

    return product


def _hessian_product(objective: Objective, batch: Any) -> Product:
    """Σ over the batch of ∇²L·tangent: the gradient of ∇L·tangent, reverse over forward.

    Of several tangents reverse over reverse, for all of them share the evaluation and the first gradient.
    """
    at = leaves(objective.parameters)

    def loss(at: Mapping[str, Tensor]) -> Tensor:
        return objective.losses(at, batch).sum()

    @torch.enable_grad()
    def product(tangent: Mapping[str, Tensor], *, several: bool = False) -> dict[str, Tensor]:
        moved: dict[str, Tensor]
        if several:
            moved = pulled_back(slopes(loss(at), at, create_graph=True), at, tangent, several=True)
        else:
            moved = slopes(objective.forward(loss, at, tangent), at)
        return moved

    return product


def _fisher_product(objective: Objective, batch: Any) -> Product:
    """Σ over the batch of ∇L_i(∇L_iᵀ·tangent): forward for the slopes, backward with them as weights."""
    at = leaves(objective.parameters)

    @torch.enable_grad()
    def product(tangent: Mapping[str, Tensor], *, several: bool = False) -> dict[str, Tensor]:
        forward = objective.forward.several if several else objective.forward.with_value
        losses, along = forward(lambda at: objective.losses(at, batch), at, tangent)
        pulled: dict[str, Tensor] = pulled_back(losses, at, detached(along), several=several)
        return pulled

    return product


_PRODUCTS: dict[Kind, Callable[[Objective, Any], Product]] = {
    "ggn": _ggn_product,
    "hessian": _hessian_product,
    "fisher": _fisher_product,
}
