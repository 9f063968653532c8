"""The linear datamodeling score: do sums of scores foretell models trained on random halves of the data?

Run with ``python benches/python/bench_lds.py`` (a study of a quarter of an hour, run only by name); prints
Markdown for benches/RESULTS.md. For each of 100 random halves of the training set the model is retrained,
with seeds that are the same for every half, and a held-out sample's losses are averaged. Its LDS is
Spearman's correlation, over the halves, of the loss with −Σψ over the half (Ilyas et al. 2022, Park et al.
2023); told are the mean over 100 held-out samples and its 95 % bootstrap interval over them, and the mean
difference from our default at the same damping, paired by sample. Every contender is given the same sweep.
"""

from __future__ import annotations

import argparse

from referee import versions

import numpy as np  # isort: skip
import torch  # isort: skip
from scipy.stats import rankdata  # isort: skip

from dataclasses import replace  # isort: skip

from peers import MissingError, run  # isort: skip
from trained import fit, losses, task  # isort: skip

POINTS = 100
CONTENDERS = ("puma-fast GGN", "puma-fast Hessian", "pyDVL block CG", "dattri CG")
"""Our default first, which the others are told beside."""


def retrained(problem, kept, seeds):
    """Give the held-out losses (halves, points) of models trained on each half, a mean over seeds."""
    out = tuple(map(torch.from_numpy, (problem.X_out, problem.y_out)))
    truth = np.zeros((len(kept), len(problem.y_out)))
    for row, half in enumerate(kept):
        for seed in range(seeds):
            model = fit(problem.name, problem.X[half], problem.y[half], seed=seed)
            with torch.no_grad():
                truth[row] += losses(model, out).double().numpy() / seeds
    return truth


def score(psi, kept, truth):
    """Give the LDS of every held-out sample (points,) of scores (points, n)."""
    foretold = rankdata(-(kept.astype(float) @ psi.T), axis=0)
    happened = rankdata(truth, axis=0)
    return np.array([np.corrcoef(foretold[:, i], happened[:, i])[0, 1] for i in range(truth.shape[1])])


def interval(values, draws=10_000):
    """Give the mean and its bootstrap interval."""
    picked = np.random.default_rng(0).integers(len(values), size=(draws, len(values)))
    low, high = np.quantile(values[picked].mean(1), [0.025, 0.975])
    return f"{values.mean():.3f} [{low:.3f}, {high:.3f}]"


def main() -> None:
    """Print the table and who is not in it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", nargs="*", default=["digits softmax", "digits mlp"])
    parser.add_argument("--dampings", nargs="*", type=float, default=[1e-3, 1e-2, 1e-1])
    parser.add_argument("--halves", type=int, default=100)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--limit", type=float, default=900, help="seconds for each contender's scores")
    arguments = parser.parse_args()
    halves, seeds = arguments.halves, arguments.seeds
    print(f"{halves} halves, {seeds} seeds each, {POINTS} held-out samples. " + versions("torch") + "\n")
    print("| model | damping | contender | LDS | less our default |")
    print("|---|---|---|---|---|")
    absent = []
    for name in arguments.tasks:
        whole = task(name)
        problem = replace(whole, X_out=whole.X_out[:POINTS], y_out=whole.y_out[:POINTS])
        rng, n = np.random.default_rng(0), len(problem.y)
        kept = np.stack([rng.permutation(n) < n // 2 for _ in range(halves)])
        truth = retrained(problem, kept, seeds)
        for damping in arguments.dampings:
            ours = None
            for contender in CONTENDERS:
                try:
                    outcome = run(contender, problem, damping, each=True, limit=arguments.limit)
                except MissingError as why:
                    absent.append(f"{name}, damping {damping:g}: {why}")
                    continue
                if not np.isfinite(outcome.scores).all():
                    absent.append(f"{name}, damping {damping:g}: {contender} gave scores that are not finite")
                    continue
                lds = score(outcome.scores, kept, truth)
                ours = lds if contender == CONTENDERS[0] else ours
                against = "" if ours is None or lds is ours else interval(lds - ours)
                print(f"| {name} | {damping:g} | {contender} | {interval(lds)} | {against} |", flush=True)
    for each in absent:
        print(f"\nNot measured: {each}.")


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
