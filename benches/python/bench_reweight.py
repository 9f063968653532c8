"""Reweighting with one criterion: ours against SciPy's SLSQP and against the NumPy closed form.

Run with ``python benches/python/bench_reweight.py``; prints Markdown for benches/RESULTS.md. SLSQP is
given what it needs to be at its best: λ = u − v with u, v ≥ 0 (so that the 1-norm is smooth), the
analytic gradient, float64, and a limit of iterations that it does not reach. One referee, the objective
summed without rounding by math.fsum, judges every answer.
"""

from __future__ import annotations

import argparse
import math

from referee import alternate, versions

import numpy as np  # isort: skip
from scipy.optimize import minimize  # isort: skip

import puma_fast as pf  # isort: skip


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


def ours(psi, b, l1, l2):
    """Solve with the options of a user who wants the same problem."""
    return pf.solve_weights(psi, target=b, l1=l1, l2=l2)


def row(n, rival, name, rounds, seed=0):
    """Time one rival against ours on one problem; one line of the table."""
    rng = np.random.default_rng(seed)
    psi = rng.standard_normal(n)
    b = float(rng.standard_normal(max(n // 10, 1)).sum())
    _, info = pf.solve_weights(psi, target=b, return_info=True)
    problem = (psi, b, info.l1, info.l2)
    seconds, answers = alternate({"ours": lambda: ours(*problem), name: lambda: rival(*problem)}, rounds)
    mine, theirs = (objective(*problem, answers[key]) for key in ("ours", name))
    return (
        f"| {n:,} | {name} | {seconds['ours'] * 1e3:.3f} | {seconds[name] * 1e3:.3f} "
        f"| {seconds[name] / seconds['ours']:,.1f}× | {(theirs - mine) / mine:+.1e} | {info.gap / mine:.1e} |"
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--slsqp", type=int, nargs="*", default=[200, 500, 1000], help="sizes for SLSQP")
    parser.add_argument("--sorted", type=int, nargs="*", default=[10**5, 10**6], help="sizes for NumPy")
    arguments = parser.parse_args()
    print("Default l1 and l2, normal scores, float64; medians of alternate runs; the last columns are")
    print("(rival − ours)/ours by the referee, and our gap. " + versions("numpy", "scipy") + "\n")
    print("| n | rival | ours, ms | rival, ms | ratio | objective excess of rival | our gap / objective |")
    print("|---|---|---|---|---|---|---|")
    for n in arguments.slsqp:
        print(row(n, slsqp, "SLSQP", rounds=5 if n <= 200 else 3), flush=True)
    for n in arguments.sorted:
        print(row(n, closed_form, "NumPy sort + cumsum", rounds=15), flush=True)


if __name__ == "__main__":
    main()
