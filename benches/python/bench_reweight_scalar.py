"""One criterion against the machine: a read pass and a copy pass over the same array, in the same loop.

Run with ``python benches/python/bench_reweight_scalar.py``; prints Markdown for benches/RESULTS.md. R1 is
NumPy's sum, C1 its scaled copy into memory that is mapped, C1 fresh the same into a new array. The
rival sorts and adds up in NumPy, with its AVX-512 paths and, in a process of its own, without them.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import subprocess
import sys

from referee import alternate, versions

import numpy as np  # isort: skip

import puma_fast as pf  # isort: skip

NO_AVX512 = "X86_V4 AVX512_ICL AVX512_SPR"


def closed_form(psi, b, l1, l2):
    """Sort once; the price of every support size follows from two cumulative sums."""
    y = np.abs(psi)
    ranked = np.sort(y)[::-1]
    prices = (2 * l2 * b + l1 * np.cumsum(ranked)) / (l2 + np.cumsum(ranked * ranked))
    support = np.count_nonzero(prices * ranked > l1)
    price = prices[max(support - 1, 0)]
    return np.sign(psi) * np.maximum(price * y - l1, 0) / (2 * l2)


def problem(n, dtype):
    """Draw scores, with a target of a hundredth of their sum of sizes and half of them in the support."""
    psi = np.random.default_rng(0).standard_normal(n, dtype=dtype)
    b = float(np.abs(psi).sum() / 100)
    return psi, b


def rival(n, rounds):
    """Time the rival in this process's NumPy; one JSON number."""
    psi, b = problem(n, np.float64)
    _, info = pf.solve_weights(psi, target=b, l1=0.15 * b, return_info=True)
    seconds, _ = alternate({"rival": lambda: closed_form(psi, b, info.l1, info.l2)}, rounds, min)
    print(json.dumps(seconds["rival"]))


def rows(n, dtype, rounds, threads):
    """Time every way to ask on one problem."""
    psi, b = problem(n, dtype)
    two = psi.dtype.type(2)
    out, copy = np.ones_like(psi), np.ones_like(psi)
    _, info = pf.solve_weights(psi, target=b, l1=0.15 * b, return_info=True)
    prices = {"target": b, "l1": info.l1, "l2": info.l2}
    few = prices | {"l1": 0.8 * info.l1_max}
    asked = {"out": out, "n_threads": threads}
    box = {"lower": -2 * info.l1_norm / n, "upper": 3 * info.l1_norm / n}
    each = {side: np.full_like(psi, bound) for side, bound in box.items()}
    seconds, _ = alternate(
        {
            "R1": lambda: psi.sum(),
            "C1": lambda: np.multiply(psi, two, out=copy),
            "C1 fresh": lambda: psi * two,
            "dense, out=": lambda: pf.solve_weights(psi, **prices, **asked),
            "dense, fresh": lambda: pf.solve_weights(psi, **prices, n_threads=threads),
            "sparse": lambda: pf.solve_weights(psi, **few, sparse=True, n_threads=threads),
            "box, out=": lambda: pf.solve_weights(psi, **prices, **box, **asked),
            "max_residual, out=": lambda: pf.solve_weights(psi, **prices, max_residual=b / 50, **asked),
            "box per sample, out=": lambda: pf.solve_weights(psi, **prices, **each, **asked),
            "box, l2=0, out=": lambda: pf.solve_weights(psi, **(prices | {"l2": 0.0}), **box, **asked),
            "start=, out=": lambda: pf.solve_weights(psi, **prices, start=info, **asked),
        },
        rounds,
        min,
    )
    read, mapped, fresh = (seconds[name] for name in ("R1", "C1", "C1 fresh"))
    yardsticks = {"sparse": read, "dense, fresh": read + fresh}
    speed = psi.nbytes / 1e9
    print(f"\nn = {n:,} {psi.dtype}, threads = {threads}:", end=" ")
    print(f"R1 {speed / read:.1f} GB/s, C1 {2 * speed / mapped:.1f} GB/s.\n")
    print("| job | ms | yardstick, ms | ratio |\n| --- | ---: | ---: | ---: |")
    for name in list(seconds)[3:]:
        yardstick = yardsticks.get(name, read + mapped)
        taken = seconds[name]
        print(f"| {name} | {taken * 1e3:.2f} | {yardstick * 1e3:.2f} | {taken / yardstick:.2f} |")
    return seconds["dense, out="]


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="*", default=[10**6, 10**7])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, nargs="*", default=[1, 2], help="ours; NumPy has one")
    parser.add_argument("--rival", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.rival:
        rival(arguments.rival, 3)
        return
    print("Normal scores; minima of alternate runs. Yardsticks: R1 for sparse, R1 + C1 fresh for fresh,")
    print("R1 + C1 for the others. " + versions("numpy"))
    for n in arguments.sizes:
        ours = {}
        for dtype, threads in itertools.product((np.float64, np.float32), arguments.threads):
            ours[dtype, threads] = rows(n, dtype, arguments.rounds, threads)
        if n > 10**7:
            continue
        for name, features in (("NumPy as it is", ""), ("NumPy without AVX-512", NO_AVX512)):
            command = [sys.executable, __file__, "--rival", str(n)]
            environment = os.environ | {"NPY_DISABLE_CPU_FEATURES": features}
            seconds = json.loads(subprocess.check_output(command, env=environment, text=True))
            ratios = (f"{seconds / ours[np.float64, threads]:.0f}× ours" for threads in arguments.threads)
            print(f"\n{name}, sort + cumsum: {seconds * 1e3:.0f} ms, {', '.join(ratios)}.")


if __name__ == "__main__":
    main()
