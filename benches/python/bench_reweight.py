"""Reweighting with one criterion: ours against everything else that solves the same problem.

Run with ``python benches/python/bench_reweight.py``; prints Markdown for benches/RESULTS.md. The rivals:

- the closed form in NumPy, one sort and two cumulative sums;
- SciPy's SLSQP with λ = u − v, u, v ≥ 0 (so that the 1-norm is smooth) and the analytic gradient;
- QP solvers, through qpsolvers, in the lifted form that suits them: variables u, v ≥ 0 and the residual r,
  cost l2(u² + v²) + l1(u + v) + r², one row ψᵀ(u − v) − r = b. Nobody is handed an n × n matrix.
  ``pip install qpsolvers piqp proxsuite clarabel osqp scs highspy qpalm daqp quadprog`` has them all.

One referee, the objective summed without rounding by math.fsum, judges every answer against the lower
bound of our certificate. A solver that is not installed, fails, or would take too long is named.
"""

from __future__ import annotations

import argparse
import math
import time
import warnings
from importlib.util import find_spec

from referee import alternate, versions

import numpy as np  # isort: skip
from scipy import sparse  # isort: skip
from scipy.optimize import minimize  # isort: skip

import puma_fast as pf  # isort: skip

TOLERANCE = 1e-6
SETTINGS = {
    "clarabel": {
        "tol_gap_abs": TOLERANCE,
        "tol_gap_rel": 0.0,
        "tol_feas": TOLERANCE,
        "max_threads": 1,
    },
    "osqp": {"eps_abs": TOLERANCE, "eps_rel": 0.0, "max_iter": 100_000, "polishing": True},
    "piqp": {"eps_abs": TOLERANCE, "eps_rel": 0.0, "check_duality_gap": True},
    "proxqp": {"eps_abs": TOLERANCE, "eps_rel": 0.0, "check_duality_gap": True},
    "qpalm": {"eps_abs": TOLERANCE, "eps_rel": 0.0, "max_iter": 100_000},
    "scs": {"eps_abs": TOLERANCE, "eps_rel": 0.0, "max_iters": 100_000},
    "highs": {"dual_feasibility_tolerance": TOLERANCE, "primal_feasibility_tolerance": TOLERANCE},
    "daqp": {"dual_tol": TOLERANCE, "primal_tol": TOLERANCE},
    "quadprog": {},
}
"""Absolute tolerance for all, relative ones off, duality gap checked where that can be asked."""

DENSE = {"daqp": 500, "quadprog": 500}
"""Largest n for solvers that want dense matrices."""

LIMIT = 10.0
"""Seconds that a solve may be expected to take, by the smaller size before it."""


def objective(psi, b, l1, l2, weights):
    """Judge weights: (ψᵀλ − b)² + l1‖λ‖₁ + l2‖λ‖², sums free of rounding."""
    r = math.fsum([*(psi * weights), -b])
    return r * r + l1 * math.fsum(np.abs(weights)) + l2 * math.fsum(weights * weights)


def slsqp(psi, b, l1, l2):
    """Solve in u, v ≥ 0 with λ = u − v."""
    n = len(psi)

    def value_and_gradient(x):
        weights = x[:n] - x[n:]
        r = psi @ weights - b
        step = 2 * r * psi + 2 * l2 * weights
        value = r * r + l1 * x.sum() + l2 * weights @ weights
        return value, np.concatenate([step + l1, l1 - step])

    answer = minimize(
        value_and_gradient,
        np.zeros(2 * n),
        jac=True,
        method="SLSQP",
        bounds=[(0, None)] * (2 * n),
        options={"ftol": 1e-15, "maxiter": 10_000},
    )
    if not answer.success:
        raise RuntimeError(answer.message)
    return answer.x[:n] - answer.x[n:]


def closed_form(psi, b, l1, l2):
    """Sort once; the price of every support size follows from two cumulative sums."""
    y = np.abs(psi)
    ranked = np.sort(y)[::-1]
    prices = (2 * l2 * abs(b) + l1 * np.cumsum(ranked)) / (l2 + np.cumsum(ranked * ranked))
    support = np.count_nonzero(prices * ranked > l1)
    price = prices[max(support - 1, 0)]
    return np.sign(b) * np.sign(psi) * np.maximum(price * y - l1, 0) / (2 * l2)


def lifted(name):
    """Give the solver `name` of qpsolvers as a function of our problem."""
    from qpsolvers import Problem, solve_problem

    def solve(psi, b, l1, l2):
        n = len(psi)
        quadratic = sparse.diags([*np.full(2 * n, 2 * l2), 2.0], format="csc")
        linear = np.array([*np.full(2 * n, l1), 0.0])
        row = sparse.csc_matrix(np.array([[*psi, *-psi, -1.0]]))
        if name in DENSE:
            quadratic, row = quadratic.toarray(), row.toarray()
        # quadprog and DAQP take large numbers in place of infinite bounds.
        wide = np.full(2 * n + 1, 1e20)
        lower, upper = np.zeros(2 * n + 1), wide if name in DENSE else np.full(2 * n + 1, np.inf)
        lower[-1] = -upper[-1]
        problem = Problem(quadratic, linear, A=row, b=np.array([b]), lb=lower, ub=upper)
        solution = solve_problem(problem, solver=name, **SETTINGS[name])
        if not solution.found:
            msg = "found no solution"
            raise RuntimeError(msg)
        return solution.x[:n] - solution.x[n : 2 * n]

    return solve


def draw(n, seed=0):
    """Draw a problem with the default prices; give it with the lower bound of its optimum."""
    rng = np.random.default_rng(seed)
    psi = rng.standard_normal(n)
    b = float(rng.standard_normal(max(n // 10, 1)).sum())
    weights, info = pf.solve_weights(psi, target=b, return_info=True)
    problem = (psi, b, info.l1, info.l2)
    return problem, objective(*problem, weights) - info.gap


def row(n, rival, name, rounds):
    """Time one rival against ours on one problem; one line of the table and the rival's seconds."""
    problem, least = draw(n)
    psi, b, l1, l2 = problem
    seconds, answers = alternate(
        {
            "ours": lambda: pf.solve_weights(psi, target=b, l1=l1, l2=l2, n_threads=1),
            name: lambda: rival(*problem),
        },
        rounds,
    )
    mine, theirs = ((objective(*problem, answers[key]) - least) / least for key in ("ours", name))
    line = (
        f"| {n:,} | {name} | {seconds['ours'] * 1e3:.3f} | {seconds[name] * 1e3:.3f} "
        f"| {seconds[name] / seconds['ours']:,.1f}× | {mine:.1e} | {theirs:.1e} |"
    )
    return line, seconds[name]


def qp_rows(name, sizes):
    """Give the lines of one QP solver, up to the size that it still does in reasonable time."""
    solve = lifted(name)
    taken, before = 0.0, 0
    for n in sizes:
        if n > DENSE.get(name, n):
            yield f"| {n:,} | {name} | | | not run: dense matrices | | |"
            return
        if taken * (n / max(before, 1)) > LIMIT:
            yield f"| {n:,} | {name} | | | not run: {taken:.1f} s for n = {before:,} | | |"
            return
        started = time.perf_counter()
        try:
            line, taken = row(n, solve, name, rounds=3 if n <= 1000 else 1)
        except Exception as error:
            why = (str(error) or type(error).__name__).splitlines()[0].replace("|", "/")
            yield f"| {n:,} | {name} | | | failed after {time.perf_counter() - started:.1f} s: {why} | | |"
            return
        before = n
        yield line


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--slsqp", type=int, nargs="*", default=[200, 500, 1000], help="sizes for SLSQP")
    parser.add_argument("--sorted", type=int, nargs="*", default=[10**5, 10**6], help="sizes for NumPy")
    parser.add_argument("--qp", type=int, nargs="*", default=[500, 10**4, 10**5], help="for QP solvers")
    arguments = parser.parse_args()
    print("Default l1 and l2, normal scores, float64; medians of alternate runs. The last columns are by how")
    print("much, relative, the referee finds the objective above our certified lower bound of the optimum.")
    print(f"QP solvers at an absolute tolerance of {TOLERANCE:g}. {versions('numpy', 'scipy')}\n")
    print("| n | rival | ours, ms | rival, ms | ratio | excess, ours | excess, rival |")
    print("|---|---|---|---|---|---|---|")
    for n in arguments.slsqp:
        print(row(n, slsqp, "SLSQP", rounds=3 if n <= 200 else 1)[0], flush=True)
    for n in arguments.sorted:
        print(row(n, closed_form, "NumPy sort + cumsum", rounds=15)[0], flush=True)
    if not find_spec("qpsolvers"):
        print(f"\nNot run, for want of qpsolvers: {', '.join(SETTINGS)}.")
        return
    from qpsolvers import available_solvers

    # Some solvers warn of every setting that they do not know by that name.
    warnings.simplefilter("ignore")
    for name in SETTINGS:
        if name in available_solvers:
            for line in qp_rows(name, arguments.qp):
                print(line, flush=True)
    missing = [name for name in SETTINGS if name not in available_solvers]
    if missing:
        print(f"\nNot installed, so not run: {', '.join(missing)}.")


if __name__ == "__main__":
    main()
