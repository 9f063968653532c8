"""Products with the curvature of J, one pass over the data each; never a matrix of n × p or p × p.

H = (1/n) Σ_i H_i + γ·I + damping·I, where H_i is the generalised Gauss-Newton matrix Jᵀ(∇²ℓ)J of the
sample's loss ℓ of outputs with Jacobian J (default: never indefinite for the usual losses), or the
exact Hessian. Products are formed in the model's type per batch and added up in float64.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import torch
from torch.func import grad, vjp

from puma_fast import sweep

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor
    from tqdm import tqdm

    from puma_fast.data import Samples
    from puma_fast.score.objective import Objective

Kind = Literal["ggn", "hessian"]
KINDS: tuple[Kind, ...] = ("ggn", "hessian")


class Curvature:
    """The damped curvature of the training objective as an operator on float64 vectors (p,).

    Parameters
    ----------
    objective : Objective
        What is differentiated.
    samples : Samples
        The training data.
    kind : {"ggn", "hessian"}
        Which matrix; an `objective` given whole has no outputs, so it takes "hessian".
    damping : float
        Added to the diagonal, at least 0.

    Attributes
    ----------
    products : int
        Products formed so far.
    bar : tqdm or None
        A progress bar that counts them along.
    """

    def __init__(
        self, objective: Objective, samples: Samples, kind: Kind = "ggn", damping: float = 0.0
    ) -> None:
        if kind not in KINDS:
            msg = f"curvature must be one of {', '.join(KINDS)}, got {kind!r}"
            raise ValueError(msg)
        if kind == "ggn" and not objective.has_outputs:
            msg = "curvature='ggn' needs outputs and a loss; with objective= pass curvature='hessian'"
            raise ValueError(msg)
        self.objective = objective
        self.samples = samples
        self.kind = kind
        self.damping = float(damping)
        self.products = 0
        self.bar: tqdm[Any] | None = None
        self._product = _ggn_product if kind == "ggn" else _hessian_product

    @property
    def size(self) -> int:
        """The number p of edited parameters."""
        return self.objective.layout.size

    def __matmul__(self, vector: Tensor) -> Tensor:
        """Multiply a float64 vector (p,): one pass over the data."""
        layout, parameters = self.objective.layout, self.objective.parameters
        tangent = layout.split(vector)

        def product(_: NDArray[np.int64], batch: Any) -> Tensor:
            return layout.join(self._product(self.objective, parameters, tangent, batch))

        total = sweep.total(self.samples, product, torch.zeros_like(vector), description="curvature")
        self.products += 1
        if self.bar is not None:
            self.bar.update()
        self.objective.finite(total, self.samples)
        return total / self.samples.n + (self.objective.weight_decay + self.damping) * vector


def _ggn_product(
    objective: Objective, parameters: Mapping[str, Tensor], tangent: Mapping[str, Tensor], batch: Any
) -> dict[str, Tensor]:
    """Σ over the batch of Jᵀ(∇²ℓ)J·tangent: forward for J, both ways for ∇²ℓ, backward for Jᵀ."""

    def outputs(at: Mapping[str, Tensor]) -> Any:
        return objective.outputs(at, batch)

    def loss(at: Any) -> Tensor:
        return objective.losses_of(at, batch).sum()

    there, pull, *_ = vjp(outputs, parameters)
    moved = objective.forward(outputs, parameters, tangent)
    curved = objective.forward(grad(loss), there, moved)
    product: dict[str, Tensor] = pull(curved)[0]
    return product


def _hessian_product(
    objective: Objective, parameters: Mapping[str, Tensor], tangent: Mapping[str, Tensor], batch: Any
) -> dict[str, Tensor]:
    """Σ over the batch of ∇²L·tangent: forward over reverse."""

    def loss(at: Mapping[str, Tensor]) -> Tensor:
        return objective.losses(at, batch).sum()

    product: dict[str, Tensor] = objective.forward(grad(loss), parameters, tangent)
    return product
