"""The referee of influence: ψ in float64 by torch.func alone, none of our code and none of a rival's."""

from __future__ import annotations

import numpy as np
import torch
from scipy.sparse.linalg import LinearOperator, cg
from torch.func import functional_call, grad, hessian, jvp, vmap
from torch.nn.functional import cross_entropy

LARGEST_DENSE = 1000
"""Parameters up to which the Hessian is formed; above it, SciPy's CG to 1e-12."""


def influence(task, damping, *, each=False):
    """Compute ψ = ∇Cᵀ(H + damping)⁻¹∇L of the mean loss, exact Hessian, for C the mean held-out loss (1, n).

    With `each`, C is every held-out sample's loss in turn (m, n).
    """
    model = task.model(torch.float64)
    X, y, X_out, y_out = task.tensors(torch.float64)
    shapes = {name: value.shape for name, value in model.named_parameters()}
    theta = torch.nn.utils.parameters_to_vector(model.parameters()).detach()

    def loss(at, x, target, reduction="mean"):
        pieces = at.split([shape.numel() for shape in shapes.values()])
        named = {name: piece.view(shape) for (name, shape), piece in zip(shapes.items(), pieces, strict=True)}
        return cross_entropy(functional_call(model, named, (x,)), target, reduction=reduction)

    one = grad(lambda at, x, target: loss(at, x[None], target[None]))
    per_sample = vmap(one, (None, 0, 0), chunk_size=64)
    wanted = per_sample(theta, X_out, y_out) if each else grad(loss)(theta, X_out, y_out)[None]

    if len(theta) <= LARGEST_DENSE:
        H = hessian(loss)(theta, X, y) + damping * torch.eye(len(theta), dtype=torch.float64)
        solved = torch.linalg.solve(H, wanted.T).T
    else:
        gradient = grad(lambda at: loss(at, X, y))

        def product(v):
            v = torch.from_numpy(v).flatten()
            return (jvp(gradient, (theta,), (v,))[1] + damping * v).numpy()

        operator = LinearOperator((len(theta),) * 2, product, dtype=np.float64)
        rows = []
        for row in wanted.numpy():
            x, failed = cg(operator, row, rtol=1e-12, maxiter=2000)
            if failed:
                raise RuntimeError(f"the reference's CG did not reach 1e-12 on {task.name}")
            rows.append(x)
        solved = torch.from_numpy(np.stack(rows))
    psi = torch.cat(
        [per_sample(theta, X[i : i + 64], y[i : i + 64]) @ solved.T for i in range(0, len(X), 64)]
    )
    return psi.T.numpy()
