"""Influence of every training sample end to end, ours against pyDVL, dattri and captum.

Run with ``python benches/python/bench_influence.py`` (eight minutes, and as long again where the rivals'
environments are to be made first); prints Markdown for benches/RESULTS.md. What is asked for is the
influence on the mean held-out loss, exact Hessian with the same damping for all, float32. Each stands in
the batches, of those in which it is right, that suit it best: dattri all samples at once, the others what
fits the cache. Rivals stand twice: with the held-out set as one sample, so that they solve once as we do,
and "per sample" as documented, with a solve for every held-out sample and the mean of the scores.
Ours stands at several tolerances; a rival is compared with the fastest of ours that errs no more.
The referee is float64, by torch.func alone (dense.py).
"""

from __future__ import annotations

import argparse
import os
from dataclasses import replace

from referee import versions

import numpy as np  # isort: skip

from contender import TOLERANCES  # isort: skip
from dense import influence  # isort: skip
from peers import MissingError, run  # isort: skip
from trained import task  # isort: skip

DAMPING = {"digits mlp": 0.01, "mnist cnn": 0.5}
"""The same for all, above the magnitude of the Hessian's most negative eigenvalue."""

HELD_OUT = {"digits mlp": 599, "mnist cnn": 10}
"""Held-out samples; few where a solve for each takes seconds."""

OURS = ("puma-fast Hessian", *(f"puma-fast Hessian, tol={tol}" for tol in TOLERANCES))
ONCE = ("pyDVL CG", "dattri CG", "captum Arnoldi")
DENSE = ("pyDVL Direct", "dattri explicit", "captum Naive")
PER_SAMPLE = ("pyDVL block CG", "dattri CG")


def contenders(name):
    """Give (contender, per sample) in the order of the table; dense ones where the matrix is small."""
    once = [*OURS, *ONCE, *(DENSE if name == "digits mlp" else ())]
    return [*((each, False) for each in once), *((each, True) for each in PER_SAMPLE)]


def rows(name, limit):
    """Run one task; print the lines of its table as they come, ours first, and give who is not in it."""
    problem, damping, held = task(name), DAMPING[name], HELD_OUT[name]
    problem = replace(problem, X_out=problem.X_out[:held], y_out=problem.y_out[:held])
    reference = influence(problem, damping)[0]
    mine, skipped = [], []
    for contender, each in contenders(name):
        called = contender + ", per sample" * each
        try:
            outcome = run(contender, problem, damping, each=each, limit=limit)
        except MissingError as why:
            skipped.append(f"{name}, {called}: {why}")
            continue
        error = np.linalg.norm(outcome.scores.mean(0) - reference) / np.linalg.norm(reference)
        if contender in OURS:
            mine.append((outcome.seconds, error))
            ratio = ""
        else:
            as_exact = [seconds for seconds, ours in mine if ours <= error]
            ratio = f"{outcome.seconds / min(as_exact):.1f}" if as_exact else "more exact than ours"
        cells = [name, called, f"{outcome.seconds:.3f}", f"{outcome.mebibytes:.0f}", f"{error:.1e}", ratio]
        print(f"| {' | '.join(cells)} |", flush=True)
    return skipped


def main() -> None:
    """Print the table and who is not in it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", nargs="*", choices=DAMPING, default=list(DAMPING))
    parser.add_argument("--limit", type=float, default=60, help="seconds for each, imports included")
    arguments = parser.parse_args()
    print("Exact Hessian, float32, error against float64, " + versions("torch") + "\n")
    print("| model | contender | seconds | peak, MiB | relative error | / puma-fast as exact |")
    print("|---|---|---|---|---|---|")
    absent = []
    for name in arguments.tasks:
        if name.startswith("mnist") and "PUMA_FAST_DATA" not in os.environ:
            absent.append(f"{name}: PUMA_FAST_DATA names no folder with mnist.npz")
            continue
        absent += rows(name, arguments.limit)
    for each in absent:
        print(f"\nNot measured: {each}.")


if __name__ == "__main__":
    main()
