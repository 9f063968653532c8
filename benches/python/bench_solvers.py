"""Curvature products to a relative residual of 1e-6 on a digits MLP: ours against the peers' solvers.

Run with ``python benches/python/bench_solvers.py``; prints Markdown for benches/RESULTS.md. Everyone
solves with the same damped Gauss-Newton matrix (damping 1e-3 of its largest eigenvalue, given) and the
same right-hand sides: the gradient of the held-out loss, then the two of a removal. The matrix is formed
once; a product is one multiplication by it, whoever asks. Peers are given the smallest budget with which
their true residual, which we compute, is below the tolerance (found by bisection, not counted); ours
stops by itself and counts its set-up and its own check. A peer that is not installed is named as skipped.
"""

from __future__ import annotations

import importlib
import logging
import math
import warnings

from referee import versions

import torch  # isort: skip
from sklearn.datasets import load_digits  # isort: skip
from torch import nn  # isort: skip

from puma_fast.data import Samples  # isort: skip
from puma_fast.score.curvature import Curvature  # isort: skip
from puma_fast.score.damping import choose_damping  # isort: skip
from puma_fast.score.objective import Objective  # isort: skip
from puma_fast.score.solve import ConjugateGradient, Lanczos, Lissa, Nystrom, solver_named  # isort: skip

TOL = 1e-6
MOST = 1000
"""Products after which a solver is given up."""


class Counted:
    """The matrix, its products counted, with its largest eigenvalue for those who must be told."""

    def __init__(self, dense, largest, part=None) -> None:
        self.dense, self.largest, self.size, self.products = dense, largest, len(dense), 0
        self.part = part

    def __matmul__(self, vectors: torch.Tensor) -> torch.Tensor:
        """Multiply a vector or the columns of a block."""
        self.products += 1 if vectors.ndim == 1 else vectors.shape[1]
        return self.dense @ vectors

    def heaviest(self):
        """Give the part of the matrix that the heaviest samples make."""
        return self.part


class Part(Counted):
    """The same of some samples, and what share of all they are."""

    share: float


def formed(curvature, damping):
    """Form a damped curvature, symmetric to the last bit."""
    identity = torch.eye(curvature.size, dtype=torch.float64)
    dense = curvature @ identity
    return (dense + dense.T) / 2 + damping * identity


def problem():
    """Train a digits MLP; give its Gauss-Newton matrix, part, damping, Krylov space and right-hand sides."""
    X, y = (torch.as_tensor(each) for each in load_digits(return_X_y=True))
    X = X / 16
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10)).double()
    optimizer = torch.optim.Adam(model.parameters(), 1e-2, weight_decay=1e-3)
    for _ in range(300):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(X[:1200]), y[:1200]).backward()
        optimizer.step()
    objective = Objective(model, weight_decay=1e-3)
    curvature = Curvature(objective, Samples((X[:1200], y[:1200]), batch_size=100))
    damping, space = choose_damping(curvature)
    dense, few = formed(curvature, damping.value), curvature.heaviest()
    part = None
    if few is not None:
        part = Part(formed(few, damping.value), math.nan)
        part.share = few.share
    weights = torch.randn(1170, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    sides = [
        objective.gradient((X[1200:], y[1200:])),
        objective.gradient((X[:30], y[:30])),
        objective.gradient((X[30:1200], y[30:1200]), weights),
    ]
    return dense, part, damping.value, space, [side / side.norm() for side in sides]


# --- the peers: each takes (counted matrix, right-hand side, budget) -------------------------------


def curvlinops_cg(counted, rhs, budget):
    """Solve as CGInverseLinearOperator does."""
    from linear_operator.utils.linear_cg import linear_cg

    return linear_cg(
        counted.__matmul__, rhs[:, None], max_iter=budget, max_tridiag_iter=0, tolerance=1e-300, eps=1e-300
    )[:, 0]


def curvlinops_neumann(counted, rhs, budget):
    """Sum the series at the largest scale that converges on this matrix, which the user has to know."""
    import curvlinops

    class Dense(curvlinops._torch_base.PyTorchLinearOperator):
        device, dtype = counted.dense.device, counted.dense.dtype

        def _matmat(self, X):
            return [counted @ X[0]]

        def _adjoint(self):
            return self

    shape = [(counted.size,)]
    inverse = curvlinops.NeumannInverseLinearOperator(
        Dense(shape, shape), num_terms=budget, scale=1.9 / counted.largest
    )
    return inverse @ rhs


def pydvl_cg(counted, rhs, budget):
    """Solve with CgOperator."""
    operator, module = _pydvl(counted)
    return module.CgOperator(operator, rtol=0.0, atol=1e-150, maxiter=budget).apply(rhs).flatten()


def pydvl_arnoldi(counted, rhs, budget):
    """Invert on the eigenpairs of operator_spectral_approximation."""
    from pydvl.influence.torch.functional import operator_spectral_approximation

    operator, module = _pydvl(counted)
    low_rank = operator_spectral_approximation(operator, rank=min(budget, counted.size - 2), tol=1e-6)
    return module.LowRankOperator(low_rank, regularization=1e-300).apply(rhs).flatten()


def _pydvl(counted):
    module = importlib.import_module("pydvl.influence.torch.operator")

    class Operator(module.MatrixOperator):
        def _apply_to_mat(self, mat):
            return (counted @ mat.t()).t()

        def _apply_to_vec(self, vec):
            return counted @ vec

    return Operator(counted.dense), module


def _quadratic(counted):
    """Half of xᵀAx, whose Hessian-vector product is a product with A."""

    class Product(torch.autograd.Function):
        generate_vmap_rule = True

        @staticmethod
        def forward(x) -> torch.Tensor:
            return counted @ x

        @staticmethod
        def setup_context(ctx, inputs, output) -> None:
            pass

        @staticmethod
        def backward(ctx, gradient) -> torch.Tensor:
            return Product.apply(gradient)

    def half(x):
        # The value is a product too, of dattri's making; it is counted.
        return 0.5 * (x * Product.apply(x)).sum()

    return half


def dattri_cg(counted, rhs, budget):
    """Solve with ihvp_at_x_cg."""
    from dattri.func.hessian import ihvp_at_x_cg

    x = torch.zeros_like(rhs)
    solve = ihvp_at_x_cg(_quadratic(counted), x, max_iter=budget)
    counted.products = budget
    return solve(rhs).flatten()


PEERS = {
    "curvlinops CG": ("curvlinops", curvlinops_cg),
    "curvlinops Neumann series (LiSSA)": ("curvlinops", curvlinops_neumann),
    "pyDVL CG": ("pydvl.influence.torch.operator", pydvl_cg),
    "pyDVL Arnoldi": ("pydvl.influence.torch.operator", pydvl_arnoldi),
    "dattri CG": ("dattri.func.hessian", dattri_cg),
}


def needed(peer, dense, largest, rhs):
    """Give the products of the smallest budget that reaches the tolerance; infinity where none does."""

    def products(budget):
        counted = Counted(dense, largest)
        x = peer(counted, rhs, budget)
        good = float((rhs - dense @ x).norm()) <= TOL
        return counted.products if good else math.inf

    low, high = 0, 16
    while (found := products(high)) == math.inf:
        if high >= MOST:
            return math.inf
        low, high = high, min(4 * high, MOST)
    while high - low > 1:
        middle = (low + high) // 2
        there = products(middle)
        low, high, found = (middle, high, found) if there == math.inf else (low, middle, there)
    return found


def shown(products):
    """Give a count as a cell."""
    return f"> {MOST}" if products == math.inf else str(products)


def main() -> None:
    """Print the table."""
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    dense, part, damping, space, sides = problem()
    largest = float(torch.linalg.eigvalsh(dense)[-1])
    held = "none" if part is None else f"{part.share:.3f} of them"
    print(
        f"p = {len(dense)}, condition number {largest / damping:.0f} at most; the heaviest samples: {held}."
    )
    print(versions("torch") + "\n")
    print("| solver | first solve | second | third | all three |")
    print("|---|---|---|---|---|")
    ours = {
        "ours, `cg`": solver_named("cg", TOL, MOST),
        'ours, `cg` after `damping="auto"` (its 20 products apart)': solver_named("cg", TOL, MOST),
        "ours, `cg` without the heaviest samples": ConjugateGradient(TOL),
        "ours, `cg` without them and without recycling": None,
        "ours, `nystrom`, rank 20, without recycling": ConjugateGradient(
            TOL, memory=0, preconditioner=Nystrom(20)
        ),
        "ours, `lanczos`, rank 500": Lanczos(TOL, 500),
        "ours, `lissa`": Lissa(TOL, MOST),
    }
    for name, solver in ours.items():
        counted = Counted(dense, largest, part)
        if "auto" in name:
            solver.learn(counted, space.basis.T, space.images(damping))
        # A new one for each right-hand side knows nothing of the one before.
        solves = [(solver or ConjugateGradient(TOL)).solve(counted, rhs) for rhs in sides]
        counts = [solve.iterations if solve.status == "solved" else math.inf for solve in solves]
        print(f"| {name} | {' | '.join(map(shown, [*counts, sum(counts)]))} |", flush=True)
    for name, (package, peer) in PEERS.items():
        try:
            importlib.import_module(package)
        except ImportError as error:
            print(f"| {name} | skipped: {error.name} is not installed | | | |", flush=True)
            continue
        counts = [needed(peer, dense, largest, rhs) for rhs in sides]
        print(f"| {name} | {' | '.join(map(shown, [*counts, sum(counts)]))} |", flush=True)


if __name__ == "__main__":
    main()
