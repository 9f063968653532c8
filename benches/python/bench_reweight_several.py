"""Reweighting with several criteria: ours in passes, and against coordinate descent and QP solvers.

Run with ``python benches/python/bench_reweight_several.py``; prints Markdown for benches/RESULTS.md.
A pass (R1) reads the array once: the faster of NumPy's sum, of as many parts as there are threads, and its
product Ψz. What is allowed: 7 passes and a tenth where the optimum is sparse; 5 and one ΨᵀΨ (NumPy's dsyrk)
where it is dense. All are timed in turn with the solve, on as many threads.

The rivals by coordinate descent solve the same elastic net (k samples, n features, Fortran order, no copy,
no intercept: alpha = (l1 + 2·l2)/2k, l1_ratio = l1/(l1 + 2·l2)). The QP solvers get the lifted form: u, v ≥ 0
and r in ℝᵏ with Ψᵀ(u − v) − r = b and the cost l1·Σ(u + v) + l2(u² + v²) + r², so no n×n matrix. Each has
the loosest of its tolerances (absolute, eps_rel = 0) that the referee's gap accepts and at most `LIMIT`
seconds; ProxQP cannot be limited and gets fewer rows. One referee judges all: the duality gap of the
weights, at z = −2r or scaled into the domain of the dual without l2, whichever is smaller.
"""

from __future__ import annotations

import argparse
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec

from referee import alternate, versions

import numpy as np  # isort: skip
from threadpoolctl import threadpool_limits  # isort: skip

import puma_fast as pf  # isort: skip

GAP = 1e-9
"""Relative to P(0) = ‖b‖²."""

TOLERANCES = (1e-4, 1e-6, 1e-8, 1e-10, 1e-12)

LIMIT = 10.0
"""Seconds after which a QP solver gives up, and no rival gets another round or a tighter tolerance."""

FEWER = {"proxqp": 200}
"""Rows at most for a solver that cannot be limited."""

CASES = (
    ("sparse", 0.5, 1e-6),
    ("sparse", 0.5, 1e-3),
    ("sparse", 0.05, 1e-3),
    ("dense", 0.05, 0.1),
    ("dense", 0.0, 1e-3),
)
"""What the optimum is like, l1 as a share of l1_max, l2 as a share of ‖Ψ‖²/k."""


def gap(psi, b, l1, l2, weights):
    """P(λ) − D(z), relative to ‖b‖²."""
    r = psi.T @ weights - b
    v = -2 * psi @ r
    primal = r @ r + l1 * np.abs(weights).sum() + l2 * weights @ weights
    s = min(1.0, l1 / np.abs(v).max())
    dual = -2 * s * b @ r - s * s * r @ r
    if l2 > 0:
        pull = np.maximum(np.abs(v) - l1, 0)
        dual = max(dual, -2 * b @ r - r @ r - (pull @ pull) / (4 * l2))
    return (primal - dual) / (b @ b)


def elastic_nets():
    """Name each rival that is installed and give a function of (psi, b, l1, l2, tolerance)."""
    makers = {}
    if find_spec("sklearn"):
        from sklearn.linear_model import ElasticNet

        makers["scikit-learn"] = lambda **kept: ElasticNet(copy_X=False, max_iter=10**5, **kept)
    if find_spec("celer"):
        from celer import ElasticNet as Celer

        makers["celer"] = lambda **kept: Celer(max_iter=1000, **kept)
    if find_spec("skglm"):
        from skglm import ElasticNet as Skglm

        makers["skglm"] = lambda **kept: Skglm(max_iter=1000, **kept)

    def solver(make):
        def solve(psi, b, l1, l2, tol):
            alpha, ratio = (l1 + 2 * l2) / (2 * len(b)), l1 / (l1 + 2 * l2)
            return make(alpha=alpha, l1_ratio=ratio, fit_intercept=False, tol=tol).fit(psi.T, b).coef_

        return solve

    return {name: solver(make) for name, make in makers.items()}


QP_OPTIONS = {
    "clarabel": lambda tol: {
        "tol_gap_abs": tol,
        "tol_gap_rel": 0.0,
        "tol_feas": tol,
        "time_limit": LIMIT,
        "max_threads": 1,
    },
    "piqp": lambda tol: {
        "eps_abs": tol,
        "eps_rel": 0.0,
        "check_duality_gap": True,
        "eps_duality_gap_abs": tol,
        "eps_duality_gap_rel": 0.0,
    },
    "osqp": lambda tol: {
        "eps_abs": tol,
        "eps_rel": 0.0,
        "polishing": True,
        "time_limit": LIMIT,
        "max_iter": 10**6,
    },
    "proxqp": lambda tol: {
        "backend": "sparse",
        "eps_abs": tol,
        "eps_rel": 0.0,
        "check_duality_gap": True,
        "eps_duality_gap_abs": tol,
        "eps_duality_gap_rel": 0.0,
    },
    "scs": lambda tol: {"eps_abs": tol, "eps_rel": 0.0, "time_limit_secs": LIMIT, "max_iters": 10**6},
    "highs": lambda tol: {
        "time_limit": LIMIT,
        "primal_feasibility_tolerance": max(tol, 1e-10),
        "dual_feasibility_tolerance": max(tol, 1e-10),
    },
}


def qp_solvers():
    """Give the same functions for the QP solvers that are installed."""
    if not (find_spec("qpsolvers") and find_spec("scipy")):
        return {}
    import qpsolvers
    import scipy.sparse as sp

    def solver(name):
        def solve(psi, b, l1, l2, tol):
            n, k = psi.shape
            price = np.concatenate([np.full(2 * n, 2 * l2), np.full(k, 2.0)])
            cost = np.concatenate([np.full(2 * n, l1), np.zeros(k)])
            psi = sp.csc_matrix(psi.T)
            problem = qpsolvers.Problem(
                P=sp.diags(price, format="csc"),
                q=cost,
                A=sp.hstack([psi, -psi, -sp.eye(k)], format="csc"),
                b=b,
                lb=np.concatenate([np.zeros(2 * n), np.full(k, -np.inf)]),
                ub=np.full(2 * n + k, np.inf),
            )
            x = qpsolvers.solve_problem(problem, solver=name, **QP_OPTIONS[name](tol)).x
            return np.zeros(n) if x is None else x[:n] - x[n : 2 * n]

        return solve

    return {name: solver(name) for name in QP_OPTIONS if name in qpsolvers.available_solvers}


def problem(n, k, share, l2, seed=0):
    """Draw normal scores; b sums a hundred of them; l1 is a share of l1_max, l2 of ‖Ψ‖²/k."""
    psi = np.random.default_rng(seed).standard_normal((n, k))
    b = psi[:100].sum(axis=0)
    return psi, b, share * np.abs(2 * psi @ b).max(), l2 * n


def rows_in_passes(n, k, rounds, threads):
    """Time ours beside what is allowed, all cases of one k; lines of the table."""
    psi, b, steepest, _ = problem(n, k, 1.0, 0.0)
    parts = np.array_split(psi, threads)
    with ThreadPoolExecutor(threads) as pool, threadpool_limits(threads):
        for kind, share, l2 in CASES:
            priced = {"l1": share * steepest, "l2": l2 * n, "n_threads": threads}
            contenders = {
                "ours": lambda priced=priced: pf.solve_weights(psi, target=b, return_info=True, **priced),
                "sum": lambda: list(pool.map(np.sum, parts)),
                "product": lambda: psi @ b,
            }
            if kind == "dense":
                contenders["syrk"] = lambda: psi.T @ psi
            seconds, answers = alternate(contenders, rounds, of=min)
            info, read = answers["ours"][1], min(seconds["sum"], seconds["product"])
            allowed = 5 * read + seconds["syrk"] if kind == "dense" else 7 * 1.1 * read
            syrk = f"{seconds['syrk'] * 1e3:.1f}" if kind == "dense" else ""
            yield (
                f"| {n:,} | {k} | {threads} | {kind} | {share} | {l2:g} | {info.nnz:,} "
                f"| {seconds['ours'] * 1e3:.1f} | {read * 1e3:.1f} | {psi.nbytes / read / 1e9:.1f} | {syrk} "
                f"| {seconds['ours'] / read:.1f} | {allowed * 1e3:.1f} | {seconds['ours'] / allowed:.2f} "
                f"| {info.gap / (b @ b):.1e} | {info.status} |"
            )


def row_beside(name, solve, n, l2, rounds, k=32):
    """Time ours beside a rival at its loosest tolerance that the referee accepts."""
    small = problem(50, k, 0.5, l2)
    solve(*small, TOLERANCES[0])  # Compiles what the rival compiles.
    psi, b, l1, price = problem(n, k, 0.5, l2)

    def rival(tol):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return solve(psi, b, l1, price, tol)

    for tol in TOLERANCES:
        start = time.perf_counter()
        reached = gap(psi, b, l1, price, rival(tol))
        spent = time.perf_counter() - start
        if reached <= GAP or spent > LIMIT:
            break
    contenders = {"ours": lambda: pf.solve_weights(psi, target=b, l1=l1, l2=price, n_threads=1)}
    if spent <= LIMIT:
        contenders["rival"] = lambda: rival(tol)
    seconds, answers = alternate(contenders, rounds, of=min)
    seconds["rival"] = min(spent, seconds.get("rival", spent))
    missed = "" if reached <= GAP else ", missed"
    return (
        f"| {n:,} | {k} | {l2:g} | {name}, tol {tol:g}{missed} | {seconds['ours'] * 1e3:.1f} "
        f"| {seconds['rival'] * 1e3:.1f} | {seconds['rival'] / seconds['ours']:.1f}× "
        f"| {gap(psi, b, l1, price, answers['ours']):.1e} | {reached:.1e} |"
    )


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n", type=int, default=10**6)
    parser.add_argument("--k", type=int, nargs="*", default=[4, 32, 256])
    parser.add_argument("--threads", type=int, nargs="*", default=[1, 2])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--rivals", type=int, default=10**5, help="rows for coordinate descent; 0: none")
    parser.add_argument("--qp", type=int, default=10**4, help="rows for the QP solvers; 0: none")
    arguments = parser.parse_args()
    print(f"Normal scores, float64; minima of alternate runs. numpy {np.__version__}.\n")
    print(
        "| n | k | threads | optimum | l1/l1_max | l2·k/‖Ψ‖² | nonzero | solve, ms | R1, ms | GB/s "
        "| syrk, ms | passes | allowed, ms | solve/allowed | gap/‖b‖² | status |"
    )
    print("|" + "---|" * 16)
    for threads in arguments.threads:
        for k in arguments.k:
            for line in rows_in_passes(arguments.n, k, arguments.rounds, threads):
                print(line, flush=True)
    rivals = [(name, solve, arguments.rivals, (0.0, 1e-6)) for name, solve in elastic_nets().items()]
    for name, solve in qp_solvers().items():
        rivals.append((name, solve, min(arguments.qp, FEWER.get(name, arguments.qp)), (1e-6,)))
    print(f"\nRivals at a gap of at most {GAP:g}·‖b‖² by the referee, k = 32. {versions('numpy')}")
    names = {name for name, *_ in rivals}
    for name in ("scikit-learn", "celer", "skglm", *QP_OPTIONS):
        if name not in names:
            print(f"Skipped, not installed: {name}.")
    print("\n| n | k | l2·k/‖Ψ‖² | rival | ours, ms | rival, ms | ratio | our gap | rival's gap |")
    print("|" + "---|" * 9)
    for name, solve, n, prices in rivals:
        for l2 in prices if n else ():
            print(row_beside(name, solve, n, l2, min(arguments.rounds, 2)), flush=True)


if __name__ == "__main__":
    main()
