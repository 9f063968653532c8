"""Balanced pruning, ours against the NumPy loop over classes that pruning code in the wild runs.

Run with ``python benches/python/bench_prune.py [--n 10000000]``; prints Markdown for benches/RESULTS.md.
The rival is DeepCore's (deepcore/methods/deepfool.py): for each class its samples, sorted, and a slice. R1
is one read-only pass over an array, the fastest of NumPy's sum and maximum and our own scan; all timed in
turn.
"""

from __future__ import annotations

import argparse

from referee import alternate, versions

import numpy as np  # isort: skip

import puma_fast as pf  # isort: skip


def loop(margins, labels, ratio):
    """Prune class by class, in the words of DeepCore: each class looks at all labels."""
    kept = []
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        gone = round(ratio * len(members))
        kept.append(members[np.argsort(margins[members])[: len(members) - gone]])
    return np.sort(np.concatenate(kept))


def by_sorting(margins, labels, ratio):
    """Prune by one stable sort of the labels and one sort of each class: NumPy's better way."""
    order = np.argsort(labels, kind="stable")
    ends = np.cumsum(np.bincount(labels))
    parts = np.split(order, ends[:-1])
    kept = [part[np.argsort(margins[part])[: len(part) - round(ratio * len(part))]] for part in parts]
    return np.sort(np.concatenate(kept))


def row(n, classes, threads, rounds):
    """Time one problem; one line of the table."""
    rng = np.random.default_rng(0)
    margins = rng.standard_normal(n, dtype=np.float32)
    labels = rng.integers(0, classes, n)
    calls = {
        "ours": lambda: pf.prune_by_margin(margins, ratio=0.3, labels=labels, n_threads=threads),
        "sum": margins.sum,
        "max": margins.max,
        "scan": lambda: pf.select_scores(margins, at_least=np.inf, n_threads=threads),
        "labels": labels.sum,
        "labels' max": labels.max,
        "loop": lambda: loop(margins, labels, 0.3),
        "sorted": lambda: by_sorting(margins, labels, 0.3),
    }
    seconds, _ = alternate(calls, rounds, min)
    quick = {way: calls[way] for way in calls if way not in ("loop", "sorted")}
    again, _ = alternate(quick, 5 * rounds, min)
    seconds |= {way: min(seconds[way], again[way]) for way in quick}
    pass_ = min(seconds[way] for way in ("sum", "max", "scan"))
    goal = 4 * pass_ + 2 * min(seconds["labels"], seconds["labels' max"])
    return (
        f"| {classes} | {threads} | {seconds['ours'] * 1e3:.1f} | {seconds['loop'] * 1e3:.0f} "
        f"| {seconds['loop'] / seconds['ours']:.1f}× | {seconds['sorted'] * 1e3:.0f} "
        f"| {seconds['sorted'] / seconds['ours']:.1f}× | {seconds['ours'] / goal:.2f} |"
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n", type=int, default=10**7)
    parser.add_argument("--classes", type=int, nargs="*", default=[10, 100, 1000])
    parser.add_argument("--threads", type=int, nargs="*", default=[1, 2])
    parser.add_argument("--rounds", type=int, default=2)
    arguments = parser.parse_args()
    print(
        f"n = {arguments.n:,} float32 margins, int64 labels, ratio 0.3; the best of alternate runs. The last"
    )
    print("column is our time over that of four passes over the margins and two over the labels.")
    print(versions("numpy") + "\n")
    print(
        "| classes | threads | ours, ms | NumPy loop, ms | ratio | by sorting, ms | ratio | ours / passes |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for classes in arguments.classes:
        for threads in arguments.threads:
            print(row(arguments.n, classes, threads, arguments.rounds), flush=True)


if __name__ == "__main__":
    main()
