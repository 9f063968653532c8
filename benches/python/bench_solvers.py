"""Curvature products that a solve takes: ours against the peers' solvers.

Run with ``python benches/python/bench_solvers.py``; prints Markdown for benches/RESULTS.md. Everyone
solves with the same damped Gauss-Newton matrix (damping 1e-3 of its largest eigenvalue, given) and the
same right-hand sides. Of a digits MLP the matrix is formed once; they are the gradient of the held-out
loss, then the two of a removal, to a relative residual of 1e-6. Of LeNet-5, which has learned its images,
a product is a pass over them, in float32, and the one right-hand side is solved for to 1e-5; MNIST is read
from the folder PUMA_FAST_DATA. Peers are given the smallest budget with which their true residual, which
we compute, is below the tolerance (found by bisection, not counted); ours stops by itself and counts its
set-up and its own check. Who took over 1000 products for the MLP is not asked to solve for LeNet-5. A peer
that is not installed is named as skipped.
"""

from __future__ import annotations

import argparse
import importlib
import logging
import math
import time
import warnings
from dataclasses import replace

from referee import versions

import torch  # isort: skip

from puma_fast.score.solve import ConjugateGradient, Lanczos, Lissa, Nystrom, solver_named  # isort: skip
from solver_tasks import Counted, Remembered, digits_mlp, learned_cnn  # isort: skip

MOST = 1000
"""Products after which a solver is given up."""


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
        device, dtype = counted.like.device, counted.like.dtype

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

    return Operator(counted.like), module


def _quadratic(counted):
    """Half of xᵀAx, whose Hessian-vector product is a product with A."""

    class Product(torch.autograd.Function):
        @staticmethod
        def vmap(info, in_dims, x) -> tuple[torch.Tensor, int]:
            return counted @ x.movedim(in_dims[0], 1), 1

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


def needed(peer, task, largest, rhs):
    """Give the products of the smallest budget that reaches the tolerance; infinity where none does."""

    def products(budget):
        counted = Counted(task.operator, len(rhs), largest)
        x = peer(counted, rhs, budget)
        good = float((rhs - task.operator @ x).norm()) <= task.tol
        return counted.products if good else math.inf

    low, high = 0, 16
    while (found := products(high)) == math.inf:
        if high >= MOST:
            return math.inf
        low, high = high, min(2 * high, MOST)
    while high - low > 1:
        middle = (low + high) // 2
        there = products(middle)
        low, high, found = (middle, high, found) if there == math.inf else (low, middle, there)
    return found


def shown(products):
    """Give a count as a cell."""
    return f"> {MOST}" if products == math.inf else str(products)


class Dividing(Counted):
    """The matrix of a task, which tells the part that its heaviest samples make."""

    def __init__(self, task) -> None:
        super().__init__(task.operator, len(task.sides[0]))
        self.task = task

    def heaviest(self):
        """Find it, as part of the solve."""
        part = self.task.heaviest()
        return None if part is None else Counted(part, self.size, share=self.task.share)


def counts_of_ours(task, solver, *, learns=False):
    """Give the products of each solve, and the seconds of all; without a solver a new one for each."""
    counted = Dividing(task)
    if learns:
        solver.learn(counted, task.space.basis.T, task.space.images(task.damping))
    start = time.perf_counter()
    solves = [(solver or ConjugateGradient(task.tol)).solve(counted, rhs) for rhs in task.sides]
    seconds = time.perf_counter() - start
    return [solve.iterations if solve.status == "solved" else math.inf for solve in solves], seconds


def of_peers(task, names, largest=math.nan):
    """Give (name, products of each solve) of the peers called `names`, or why one is skipped."""
    for name in names:
        package, peer = PEERS[name]
        try:
            importlib.import_module(package)
        except ImportError as error:
            yield name, f"skipped: {error.name} is not installed"
            continue
        yield name, [needed(peer, task, largest, rhs) for rhs in task.sides]


def of_the_mlp():
    """Print the table of the digits MLP; give the peers that finished."""
    task = digits_mlp()
    largest = float(torch.linalg.eigvalsh(task.operator)[-1])
    condition = largest / task.damping
    print(f"{task.name}: p = {len(task.sides[0])}, condition number {condition:.0f} at most; ", end="")
    print(f"the heaviest samples: {task.share:.3f} of them. Relative residual {task.tol:g}.")
    print(versions("torch") + "\n")
    print("| solver | first solve | second | third | all three |")
    print("|---|---|---|---|---|")
    ours = {
        "ours, `cg`": solver_named("cg", task.tol, MOST),
        'ours, `cg` after `damping="auto"` (its 20 products apart)': solver_named("cg", task.tol, MOST),
        "ours, `cg` without the heaviest samples": ConjugateGradient(task.tol),
        "ours, `cg` without them and without recycling": None,
        "ours, `nystrom`, rank 20, without recycling": ConjugateGradient(
            task.tol, memory=0, preconditioner=Nystrom(20)
        ),
        "ours, `lanczos`, rank 500": Lanczos(task.tol, 500),
        "ours, `lissa`": Lissa(task.tol, MOST),
    }
    for name, solver in ours.items():
        counts, _ = counts_of_ours(task, solver, learns="auto" in name)
        print(f"| {name} | {' | '.join(map(shown, [*counts, sum(counts)]))} |", flush=True)
    finished = []
    for name, counts in of_peers(task, PEERS, largest):
        if isinstance(counts, str):
            print(f"| {name} | {counts} | | | |", flush=True)
            continue
        print(f"| {name} | {' | '.join(map(shown, [*counts, sum(counts)]))} |", flush=True)
        if sum(counts) < math.inf:
            finished.append(name)
    return finished


def of_the_cnn(n, peers):
    """Print the table of LeNet-5."""
    with learned_cnn(n) as task:
        print(
            f"{task.name}: p = {len(task.sides[0])}; the heaviest samples: {task.share:.3f} of them. ", end=""
        )
        print(f"Relative residual {task.tol:g}.\n")
        print("| solver | products | seconds |")
        print("|---|---|---|")
        ours = {
            "ours, `cg`": solver_named("cg", task.tol, MOST),
            'ours, `cg` after `damping="auto"` (its 20 products apart)': solver_named("cg", task.tol, MOST),
            "ours, `cg` without the heaviest samples": ConjugateGradient(task.tol),
        }
        # The graphs of the images are made before the first is timed.
        _ = task.operator @ task.sides[0]
        for name, solver in ours.items():
            (count,), seconds = counts_of_ours(task, solver, learns="auto" in name)
            print(f"| {name} | {shown(count)} | {seconds:.1f} |", flush=True)
        for name, found in of_peers(replace(task, operator=Remembered(task.operator)), peers):
            print(f"| {name} | {found if isinstance(found, str) else shown(found[0])} | |", flush=True)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=6000, help="that LeNet-5 learns")
    images = parser.parse_args().images
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    peers = of_the_mlp()
    print()
    try:
        of_the_cnn(images, peers)
    except FileNotFoundError as why:
        print(f"LeNet-5 is left out: {why}.")


if __name__ == "__main__":
    main()
