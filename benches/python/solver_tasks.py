"""The systems of bench_solvers: a damped curvature, its heaviest part and right-hand sides of length one."""

from __future__ import annotations

import math
import os
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import torch
from sklearn.datasets import load_digits
from torch import nn

from puma_fast.data import Samples
from puma_fast.score.curvature import Curvature
from puma_fast.score.damping import choose_damping
from puma_fast.score.objective import Objective
from trained import fit, images

if TYPE_CHECKING:
    from collections.abc import Callable

DECAY = 1e-3


@dataclass(frozen=True, eq=False)
class Task:
    """A x = b for several b, with what solvers may know of A.

    Attributes
    ----------
    name : str
        The model and its data.
    operator : operator
        The damped curvature, by ``@``.
    heaviest : callable
        Gives that of its heaviest samples, or None.
    share : float
        These samples, as a part of all.
    damping : float
        What was added.
    space : KrylovSpace
        What choosing the damping taught of the curvature without it.
    sides : list of Tensor of shape (p,)
        Right-hand sides.
    tol : float
        Relative residual to reach.
    """

    name: str
    operator: Any
    heaviest: Callable[[], Any]
    share: float
    damping: float
    space: Any
    sides: list[torch.Tensor]
    tol: float


class Counted:
    """A matrix, its products counted, with its largest eigenvalue for those who must be told."""

    def __init__(self, operator, size, largest=math.nan, share=1.0) -> None:
        self.operator, self.size, self.largest, self.products = operator, size, largest, 0
        self.share = share
        # Of the shape, type and device of the matrix, for libraries that ask a tensor for these.
        self.like = torch.zeros(1, dtype=torch.float64).expand(size, size)

    def __matmul__(self, vectors: torch.Tensor) -> torch.Tensor:
        """Multiply a vector or the columns of a block."""
        self.products += 1 if vectors.ndim == 1 else vectors.shape[1]
        return self.operator @ vectors


class Remembered:
    """An operator that forms no product twice: budgets are found by repeating a solve from its start."""

    def __init__(self, operator) -> None:
        self.operator = operator
        self._known: dict[bytes, torch.Tensor] = {}

    def __matmul__(self, vectors: torch.Tensor) -> torch.Tensor:
        """Multiply a vector or the columns of a block."""
        if vectors.ndim == 2:
            return torch.stack([self @ column for column in vectors.T], dim=1)
        key = sha256(vectors.detach().contiguous().numpy().tobytes()).digest()
        if key not in self._known:
            self._known[key] = self.operator @ vectors
        return self._known[key].clone()


def formed(curvature, damping):
    """Form a damped curvature, symmetric to the last bit."""
    identity = torch.eye(curvature.size, dtype=torch.float64)
    dense = curvature @ identity
    return (dense + dense.T) / 2 + damping * identity


def unit(vector):
    """Scale to length one."""
    return vector / vector.norm()


def digits_mlp():
    """Train a digits MLP in float64; form its Gauss-Newton matrix, for a solve and the two of a removal."""
    X, y = (torch.as_tensor(each) for each in load_digits(return_X_y=True))
    X = X / 16
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10)).double()
    optimizer = torch.optim.Adam(model.parameters(), 1e-2, weight_decay=DECAY)
    for _ in range(300):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(X[:1200]), y[:1200]).backward()
        optimizer.step()
    objective = Objective(model, weight_decay=DECAY)
    curvature = Curvature(objective, Samples((X[:1200], y[:1200]), batch_size=100))
    damping, space = choose_damping(curvature)
    few = curvature.heaviest()
    part = None if few is None else formed(few, damping.value)
    weights = torch.randn(1170, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    sides = [
        objective.gradient((X[1200:], y[1200:])),
        objective.gradient((X[:30], y[:30])),
        objective.gradient((X[30:1200], y[30:1200]), weights),
    ]
    return Task(
        "digits MLP",
        formed(curvature, damping.value),
        lambda: part,
        math.nan if few is None else few.share,
        damping.value,
        space,
        list(map(unit, sides)),
        1e-6,
    )


@contextmanager
def learned_cnn(n):
    """Train LeNet-5 in float32 on n MNIST images, which it learns; products are passes over them.

    Raises
    ------
    FileNotFoundError
        PUMA_FAST_DATA names no folder with mnist.npz.
    """
    if "PUMA_FAST_DATA" not in os.environ:
        raise FileNotFoundError("PUMA_FAST_DATA names no folder with mnist.npz")
    X, y, X_out, y_out = images(n, 1000)
    model = fit("mnist cnn", X, y)
    data, held_out = ((torch.from_numpy(each), torch.from_numpy(of)) for each, of in ((X, y), (X_out, y_out)))
    objective, samples = Objective(model, weight_decay=DECAY), Samples(data, batch_size=128)
    with torch.no_grad():
        right = float((model(data[0]).argmax(1) == data[1]).double().mean())
    undamped = Curvature(objective, samples)
    with ExitStack() as stack:
        stack.enter_context(objective.untouched())
        stack.enter_context(samples.keeping())
        undamped.rehearse(samples.first(2))
        damping, space = choose_damping(undamped)
        curvature = Curvature(objective, samples, damping=damping.value)
        few = curvature.heaviest()
        yield Task(
            f"LeNet-5 on {n} MNIST images, {100 * right:.1f} % of them right",
            curvature,
            curvature.heaviest,
            math.nan if few is None else few.share,
            damping.value,
            space,
            [unit(objective.gradient(held_out))],
            1e-5,
        )
