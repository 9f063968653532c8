"""Influence of every training sample end to end, ours against pyDVL, dattri and captum.

Run with ``python benches/python/bench_influence.py`` (ten minutes, and as long again where the rivals'
environments are to be made first); prints Markdown for benches/RESULTS.md. What is asked for is the
influence on the mean held-out loss, exact Hessian with the same damping for all, float32, all training
samples in one batch, where every rival is right and fast. Rivals stand twice: with the held-out
set as one sample, so that they solve once as we do, and "per sample" as documented, with a solve for every
held-out sample and the mean of the scores.
The referee is float64, by torch.func alone (dense.py).
"""

from __future__ import annotations

import argparse
import os

from referee import versions

import numpy as np  # isort: skip

from dense import influence  # isort: skip
from peers import MissingError, run  # isort: skip
from trained import task  # isort: skip

DAMPING = {"digits mlp": 0.01, "mnist cnn": 0.05}
"""The same for all, above the magnitude of the Hessian's most negative eigenvalue."""

OURS = "puma-fast Hessian"
ONCE = ("pyDVL CG", "dattri CG", "captum Arnoldi")
DENSE = ("pyDVL Direct", "dattri explicit", "captum Naive")
PER_SAMPLE = ("pyDVL block CG", "dattri CG")


def contenders(name):
    """Give (contender, per sample) in the order of the table; dense ones where the matrix is small."""
    once = [*ONCE, *(DENSE if name == "digits mlp" else ())]
    return [(OURS, False), *((other, False) for other in once), *((other, True) for other in PER_SAMPLE)]


def rows(name, limit):
    """Run one task; print the lines of its table as they come, ours first, and give who is not in it."""
    problem, damping = task(name), DAMPING[name]
    reference = influence(problem, damping)[0]
    mine, skipped = None, []
    for contender, each in contenders(name):
        called = contender + ", per sample" * each
        try:
            outcome = run(contender, problem, damping, each=each, limit=limit)
        except MissingError as why:
            skipped.append(f"{name}, {called}: {why}")
            continue
        mine = outcome.seconds if contender == OURS else mine
        ratio = f"{outcome.seconds / mine:.1f}" if mine else ""
        error = np.linalg.norm(outcome.scores.mean(0) - reference) / np.linalg.norm(reference)
        print(
            f"| {name} | {called} | {outcome.seconds:.2f} | {ratio} "
            f"| {outcome.mebibytes:.0f} | {error:.1e} |",
            flush=True,
        )
    return skipped


def main() -> None:
    """Print the table and who is not in it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", nargs="*", choices=DAMPING, default=list(DAMPING))
    parser.add_argument("--limit", type=float, default=300, help="seconds for each contender")
    arguments = parser.parse_args()
    print("Exact Hessian, float32, error against float64, " + versions("torch") + "\n")
    print("| model | contender | seconds | / puma-fast | peak, MiB | relative error |")
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
