"""k-means against scikit-learn (Lloyd and Elkan), its Intel patch and FAISS, on one and on two threads.

Run with ``python benches/python/bench_kmeans.py``; prints Markdown for benches/RESULTS.md. From equal centers
every contender makes the same iterations (tol=0, FAISS without subsampling and with as many iterations as
scikit-learn needed); from its own start each runs with the defaults of scikit-learn. The referee recomputes
every inertia from the labels' means in float64. MNIST is read from the folder PUMA_FAST_DATA where it is
named. A rival that is not installed is named and left out.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import statistics
import time
import warnings
from functools import partial
from pathlib import Path

from referee import alternate, versions

import numpy as np  # isort: skip
from sklearn.cluster import KMeans, kmeans_plusplus  # isort: skip
from sklearn.exceptions import ConvergenceWarning  # isort: skip
from threadpoolctl import threadpool_limits  # isort: skip

import puma_fast as pf  # isort: skip
from puma_fast import _core  # isort: skip

RIVALS = {"faiss": "faiss-cpu", "sklearnex": "scikit-learn-intelex"}
MOST_ITERATIONS = 300


def inertia(X, labels):
    """Judge labels: Σ ‖x − mean of its cluster‖², in float64 by the direct formula."""
    total = 0.0
    for label in np.unique(labels):
        rows = X[labels == label].astype(np.float64)
        total += ((rows - rows.mean(axis=0)) ** 2).sum()
    return total


def ours(X, k, init, threads, seed, *, bounds=True):
    """Cluster by the core itself, which alone can leave its bounds out."""
    centers = None if init is None else init.astype(np.float64)
    tol = 1e-4 if init is None else 0.0
    return _core.kmeans(X, k, centers, 1, MOST_ITERATIONS, tol, seed, threads, None, None, bounds)[0]


def scikit_learn(X, k, init, threads, seed, *, algorithm="lloyd", kind=KMeans):
    """Cluster by scikit-learn's class, or the one that an extension puts in its place."""
    start = {"init": "k-means++" if init is None else init, "tol": 1e-4 if init is None else 0.0}
    model = kind(k, n_init=1, max_iter=MOST_ITERATIONS, random_state=seed, algorithm=algorithm, **start)
    with threadpool_limits(threads), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return model.fit(X).labels_


def faiss(X, k, init, threads, seed, *, iterations):
    """Cluster by FAISS on all rows; it knows no convergence, so it is told how long to run."""
    import faiss as library

    library.omp_set_num_threads(threads)
    X = np.ascontiguousarray(X, dtype=np.float32)
    model = library.Kmeans(
        X.shape[1], k, niter=iterations, seed=seed, max_points_per_centroid=len(X), min_points_per_centroid=1
    )
    model.train(X, init_centroids=None if init is None else init.astype(np.float32))
    return model.index.search(X, 1)[1].ravel()


def contenders(X, k, init):
    """Name every contender that is installed."""
    named = {
        "ours": ours,
        "scikit-learn Lloyd": scikit_learn,
        "scikit-learn Elkan": partial(scikit_learn, algorithm="elkan"),
    }
    if importlib.util.find_spec("sklearnex"):
        from sklearnex.cluster import KMeans as Patched

        named["scikit-learn-intelex"] = partial(scikit_learn, kind=Patched)
    if importlib.util.find_spec("faiss") and init is not None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            model = KMeans(k, init=init, n_init=1, tol=0, max_iter=MOST_ITERATIONS).fit(X)
        named["FAISS"] = partial(faiss, iterations=model.n_iter_)
    return named


def rows(name, X, k, threads, rounds):
    """Time everybody on one data set, from equal centers and from its own; lines of the table."""
    given, _ = kmeans_plusplus(X, k, random_state=0)
    for start, init in (("equal", given), ("own", None)):
        calls = {who: partial(call, X, k, init, threads, 0) for who, call in contenders(X, k, init).items()}
        seconds, labels = alternate(calls, rounds)
        mine = inertia(X, labels["ours"])
        differ = np.count_nonzero(labels["ours"] != labels["scikit-learn Lloyd"])
        for who in calls:
            excess = inertia(X, labels[who]) / mine - 1
            note = f"; {differ} labels differ" if who == "scikit-learn Lloyd" and init is not None else ""
            yield (
                f"| {name}, k = {k} | {start} | {threads} | {who} | {seconds[who] * 1e3:,.1f} "
                f"| {seconds[who] / seconds['ours']:.1f}× | {excess:+.1e}{note} |"
            )


def shares(name, X, k, rounds):
    """Say what each mechanism spares, on one thread."""
    given, _ = kmeans_plusplus(X, k, random_state=0)
    seconds, _ = alternate(
        {
            "bounds": partial(ours, X, k, given, 1, 0),
            "none": partial(ours, X, k, given, 1, 0, bounds=False),
            "start": lambda: pf.kmeans(X, k, tol=np.inf, max_iter=1, n_threads=1),
            "step": lambda: pf.kmeans(X, k, init=given, tol=np.inf, max_iter=1, n_threads=1),
            "rival": lambda: kmeans_plusplus(X, k, random_state=0),
        },
        rounds,
    )
    moved, before, iterations = 0, None, 0
    for count in range(1, MOST_ITERATIONS):
        found = pf.kmeans(X, k, init=given, tol=0, max_iter=count)
        moved += len(X) if before is None else np.count_nonzero(found.labels != before)
        before, iterations = found.labels, found.n_iter
        if found.converged:
            break
    start = max(seconds["start"] - seconds["step"], 0.0)
    return (
        f"| {name}, k = {k} | {seconds['none'] / seconds['bounds']:.2f}× "
        f"| {moved / iterations / len(X):.1%} | {start * 1e3:,.1f} | {seconds['rival'] * 1e3:,.1f} |"
    )


def cases():
    """Give the data sets: MNIST where it lies, and drawn ones."""
    folder = os.environ.get("PUMA_FAST_DATA")
    if folder is None:
        print("PUMA_FAST_DATA names no folder: MNIST is left out.\n")
    else:
        data = np.load(Path(folder) / "mnist.npz")
        X = np.ascontiguousarray(data["x_train"].reshape(-1, 784) / np.float32(255), dtype=np.float32)
        yield "MNIST, class 3", np.ascontiguousarray(X[data["y_train"] == 3]), 8, 5
        yield "MNIST, 10,000", X[:10_000], 100, 1
    rng = np.random.default_rng(0)
    for columns in (2, 8):
        middles = rng.standard_normal((30, columns)) * 3
        X = middles[rng.integers(0, 30, 100_000)] + rng.standard_normal((100_000, columns))
        yield f"drawn, d = {columns}", X.astype(np.float32), 8, 3


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, nargs="*", default=[1, 2])
    arguments = parser.parse_args()
    began = time.perf_counter()
    absent = [package for module, package in RIVALS.items() if not importlib.util.find_spec(module)]
    installed = [package for package in RIVALS.values() if package not in absent]
    print(
        "float32; medians of alternate runs; the last column is inertia/ours − 1 by the referee. Threads as"
    )
    print(f"the column says. {versions('numpy', 'scikit-learn', *installed).split(';')[0]}.")
    print(f"Not installed: {', '.join(absent) or 'none'}.\n")
    known = list(cases())
    print("| data | centers | threads | who | ms | ours is faster | inertia |\n|---|---|---|---|---|---|---|")
    for name, X, k, rounds in known:
        for threads in arguments.threads:
            for line in rows(name, X, k, threads, rounds):
                print(line, flush=True)
    print("\nWhat each part of ours spares, on one thread: the time without bounds over that with; the rows")
    print("whose sums are touched in an iteration; k-means++ by us and by scikit-learn.\n")
    print("| data | bounds | rows moved | k-means++, ms | scikit-learn's, ms |\n|---|---|---|---|---|")
    for name, X, k, rounds in known:
        print(shares(name, X, k, rounds), flush=True)
    print("\nMedian inertia over 10 seeds, one start each, by the referee:\n")
    print("| data | ours / scikit-learn |\n|---|---|")
    for name, X, k, _ in known:
        medians = [
            statistics.median(inertia(X, call(X, k, None, 2, seed)) for seed in range(10))
            for call in (ours, scikit_learn)
        ]
        print(f"| {name}, k = {k} | {medians[0] / medians[1]:.4f} |", flush=True)
    print(f"\nThe whole took {time.perf_counter() - began:.0f} s.")


if __name__ == "__main__":
    main()
