"""Reweighting with several criteria: ours in passes, and against coordinate descent.

Run with ``python benches/python/bench_reweight_several.py``; prints Markdown for benches/RESULTS.md.
A pass is NumPy's product Ψz on the same array, timed in turn with the solve. The rivals solve the same
elastic net (k samples, n features, Fortran order, no copy, no intercept: alpha = (l1 + 2·l2)/2k,
l1_ratio = l1/(l1 + 2·l2)), at the loosest of their tolerances that the referee's gap accepts. One referee
judges all: the duality gap at z = −2r, scaled into the dual's domain where l2 = 0.
"""

from __future__ import annotations

import argparse
import warnings
from importlib.util import find_spec

from referee import alternate, versions

import numpy as np  # isort: skip

import puma_fast as pf  # isort: skip

GAP = 1e-9
"""Relative to P(0) = ‖b‖²."""

TOLERANCES = (1e-4, 1e-6, 1e-8, 1e-10, 1e-12)


def gap(psi, b, l1, l2, weights):
    """P(λ) − D(z) at z = −2r, relative to ‖b‖²."""
    r = psi.T @ weights - b
    v = -2 * psi @ r
    pull = np.maximum(np.abs(v) - l1, 0)
    primal = r @ r + l1 * np.abs(weights).sum() + l2 * weights @ weights
    if l2 > 0:
        dual = -2 * b @ r - r @ r - (pull @ pull) / (4 * l2)
    else:
        s = min(1.0, l1 / np.abs(v).max())
        dual = -2 * s * b @ r - s * s * r @ r
    return (primal - dual) / (b @ b)


def elastic_nets():
    """Name each rival that is installed and give a function of (alpha, ratio, tolerance)."""
    found = {}
    if find_spec("sklearn"):
        from sklearn.linear_model import ElasticNet

        found["scikit-learn ElasticNet"] = lambda alpha, ratio, tol: ElasticNet(
            alpha=alpha, l1_ratio=ratio, fit_intercept=False, copy_X=False, tol=tol, max_iter=10**5
        )
    if find_spec("celer"):
        from celer import ElasticNet as Celer

        found["celer ElasticNet"] = lambda alpha, ratio, tol: Celer(
            alpha=alpha, l1_ratio=ratio, fit_intercept=False, tol=tol, max_iter=1000
        )
    if find_spec("skglm"):
        from skglm import ElasticNet as Skglm

        found["skglm ElasticNet"] = lambda alpha, ratio, tol: Skglm(
            alpha=alpha, l1_ratio=ratio, fit_intercept=False, tol=tol, max_iter=1000
        )
    return found


def problem(n, k, share, l2, seed=0):
    """Draw normal scores; b sums a hundred of them; l1 is a share of l1_max, l2 of ‖Ψ‖²/k."""
    psi = np.random.default_rng(seed).standard_normal((n, k))
    b = psi[:100].sum(axis=0)
    return psi, b, share * np.abs(2 * psi @ b).max(), l2 * n


def row_in_passes(n, k, share, l2, rounds):
    """Time ours beside a pass; one line of the table."""
    psi, b, l1, price = problem(n, k, share, l2)

    def ours():
        return pf.solve_weights(psi, target=b, l1=l1, l2=price, return_info=True)

    seconds, answers = alternate({"ours": ours, "pass": lambda: psi @ b}, rounds)
    info = answers["ours"][1]
    return (
        f"| {n:,} | {k} | {share} | {l2:g} | {info.nnz:,} | {seconds['ours'] * 1e3:.1f} "
        f"| {seconds['pass'] * 1e3:.1f} | {seconds['ours'] / seconds['pass']:.1f} "
        f"| {info.gap / (b @ b):.1e} | {info.status} |"
    )


def row_beside(name, make, n, l2, k=32):
    """Time ours beside a rival at its loosest tolerance that the referee accepts."""
    psi, b, l1, price = problem(n, k, 0.5, l2)

    def rival(tol):
        model = make((l1 + 2 * price) / (2 * k), l1 / (l1 + 2 * price), tol)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return model.fit(psi.T, b).coef_

    # These fits also compile what the rival compiles.
    reached = {}
    for tol in TOLERANCES:
        reached[tol] = gap(psi, b, l1, price, rival(tol))
        if reached[tol] <= GAP:
            break
    contenders = {
        "ours": lambda: pf.solve_weights(psi, target=b, l1=l1, l2=price),
        "rival": lambda: rival(tol),
    }
    seconds, answers = alternate(contenders, 3)
    return (
        f"| {n:,} | {k} | {l2:g} | {name}, tol {tol:g} | {seconds['ours'] * 1e3:.1f} "
        f"| {seconds['rival'] * 1e3:.1f} | {seconds['rival'] / seconds['ours']:.1f}× "
        f"| {gap(psi, b, l1, price, answers['ours']):.1e} | {reached[tol]:.1e} |"
    )


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n", type=int, default=10**6)
    parser.add_argument("--k", type=int, nargs="*", default=[4, 32, 256])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--rivals", type=int, default=10**6, help="rows for the rivals at k = 32; 0: none")
    arguments = parser.parse_args()
    print("Normal scores, float64; medians of alternate runs. " + versions("numpy") + "\n")
    print("| n | k | l1/l1_max | l2·k/‖Ψ‖² | nonzero | solve, ms | pass, ms | passes | gap/‖b‖² | status |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    for k in arguments.k:
        for share, l2 in ((0.5, 1e-6), (0.5, 1e-3), (0.05, 1e-3)):
            print(row_in_passes(arguments.n, k, share, l2, arguments.rounds), flush=True)
    if not arguments.rivals:
        return
    for name in ("sklearn", "celer", "skglm"):
        if not find_spec(name):
            print(f"\nSkipped, not installed: {name}.")
    print("\n| n | k | l2·k/‖Ψ‖² | rival | ours, ms | rival, ms | ratio | our gap | rival's gap |")
    print("|---|---|---|---|---|---|---|---|---|")
    for l2 in (0.0, 1e-6):
        for name, make in elastic_nets().items():
            print(row_beside(name, make, arguments.rivals, l2), flush=True)


if __name__ == "__main__":
    main()
