"""k-means against scikit-learn (Lloyd and Elkan) and every other library that is installed.

Run with ``python benches/python/bench_kmeans.py``; prints Markdown for benches/RESULTS.md. From equal centers
every contender makes the same iterations (tol=0, FAISS without subsampling and with as many iterations as
scikit-learn needed). From its own start each runs with scikit-learn's defaults, several seeds together;
libraries without a stop of their own are told to make scikit-learn's iterations, and those that subsample
are given all rows (geokmeans has one thread). The referee recomputes every inertia from the labels' means
in float64. MNIST is read from the folder PUMA_FAST_DATA where it is named. A rival that is not installed is
named and left out; `uv pip install` brings them all.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
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

RIVALS = {
    "sklearnex": "scikit-learn-intelex",
    "faiss": "faiss-cpu",
    "superkmeans": "superkmeans",
    "geokmeans": "geokmeans",
    "fastkmeanspp": "fastkmeanspp",
    "fastkmeans": "fastkmeans",
}
MOST_ITERATIONS = 300
SEEDS = 3
"""Starts of a contender that are timed together: one alone may need few iterations or many."""


def inertia(X, labels):
    """Judge labels: Σ ‖x − mean of its cluster‖², in float64 by the direct formula."""
    total = 0.0
    for label in np.unique(labels):
        rows = X[labels == label].astype(np.float64)
        total += ((rows - rows.mean(axis=0)) ** 2).sum()
    return total


def is_installed(module):
    """Tell whether a rival is there, and the torch that one of them runs on."""
    return all(map(importlib.util.find_spec, [module, "torch"][: 1 + (module == "fastkmeans")]))


# --- the contenders: each takes (X, k, given centers or None, threads, seed) and gives labels ------------


def ours(X, k, init, threads, seed, *, bounds=True):
    """Cluster by the core itself, which alone can leave its bounds out."""
    centers = None if init is None else init.astype(np.float64)
    tol = 1e-4 if init is None else 0.0
    return _core.kmeans(X, k, centers, 1, MOST_ITERATIONS, tol, seed, threads, None, None, bounds)[0]


def scikit_learn(X, k, init, threads, seed, *, algorithm="lloyd", kind=KMeans):
    """Cluster by scikit-learn's class, or the one that an extension puts in its place."""
    start = {"init": "k-means++" if init is None else init, "tol": 1e-4 if init is None else 0.0}
    model = kind(k, n_init=1, max_iter=MOST_ITERATIONS, random_state=seed, algorithm=algorithm, **start)
    with threadpool_limits(threads):
        return model.fit(X).labels_


def faiss(X, k, init, threads, seed, *, iterations):
    """Cluster by FAISS on all rows; it knows no convergence, so it is told how long to run."""
    import faiss as library

    library.omp_set_num_threads(threads)
    model = library.Kmeans(
        X.shape[1], k, niter=iterations, seed=seed, max_points_per_centroid=len(X), min_points_per_centroid=1
    )
    model.train(X, init_centroids=None if init is None else init)
    return model.index.search(X, 1)[1].ravel()


def superkmeans(X, k, init, threads, seed, *, iterations):
    """Cluster by SuperKMeans on all rows."""
    from superkmeans import SuperKMeans

    model = SuperKMeans(
        k, X.shape[1], hierarchical=False, iters=iterations, sampling_fraction=1.0, n_threads=threads,
        seed=seed, max_points_per_cluster=len(X),
    )  # fmt: skip
    return model.assign(X, model.train(X))


def geokmeans(X, k, init, threads, seed):
    """Cluster by the bound that its paper finds best for few columns, or for many."""
    from geokmeans import GeoKMeans

    algorithm = "exponion" if X.shape[1] <= 20 else "elkan"
    return GeoKMeans(k, algorithm=algorithm, random_state=seed).fit(X).labels_


def fastkmeanspp(X, k, init, threads, seed, *, iterations):
    """Cluster from a fast k-means++."""
    from fastkmeanspp import KMeans as FromFastSeeds

    return FromFastSeeds(k, n_iter=iterations, random_state=seed, n_jobs=threads).fit(X).labels_


def fastkmeans(X, k, init, threads, seed, *, iterations):
    """Cluster by torch on the CPU."""
    import torch
    from fastkmeans import FastKMeans

    torch.set_num_threads(threads)
    model = FastKMeans(X.shape[1], k, niter=iterations, tol=-1.0, gpu=False, seed=seed, use_triton=False)
    model.train(X)
    return model.predict(X)


def contenders(X, k, init, threads):
    """Name every contender that is installed and can begin so."""
    with threadpool_limits(2):
        start = {"init": "k-means++"} if init is None else {"init": init, "tol": 0}
        iterations = KMeans(k, n_init=1, random_state=0, max_iter=MOST_ITERATIONS, **start).fit(X).n_iter_
    named = {
        "ours": ours,
        "scikit-learn Lloyd": scikit_learn,
        "scikit-learn Elkan": partial(scikit_learn, algorithm="elkan"),
    }
    installed = {module for module in RIVALS if is_installed(module)}
    if "sklearnex" in installed:
        from sklearnex.cluster import KMeans as Patched

        named["scikit-learn-intelex"] = partial(scikit_learn, kind=Patched)
    if "faiss" in installed:
        named["FAISS"] = partial(faiss, iterations=iterations)
    if init is not None:
        return named
    if "superkmeans" in installed:
        named["SuperKMeans"] = partial(superkmeans, iterations=iterations)
    if "geokmeans" in installed and threads == 1:
        named["geokmeans"] = geokmeans
    if "fastkmeanspp" in installed:
        named["fastkmeanspp"] = partial(fastkmeanspp, iterations=iterations)
    if "fastkmeans" in installed:
        named["fastkmeans"] = partial(fastkmeans, iterations=iterations)
    return named


# --- the tables -----------------------------------------------------------------------------------


def rows(name, X, k, threads, rounds):
    """Time everybody on one data set, from equal centers and from its own; lines of the table."""
    given, _ = kmeans_plusplus(X, k, random_state=0)
    for start, init, seeds in (("equal", given, 1), ("own", None, SEEDS)):
        known = contenders(X, k, init, threads)

        def several(call, init=init, seeds=seeds):
            return [call(X, k, init, threads, seed) for seed in range(seeds)]

        seconds, labels = alternate({who: partial(several, call) for who, call in known.items()}, rounds, min)
        judged = {who: np.mean([inertia(X, each) for each in found]) for who, found in labels.items()}
        for who in known:
            excess = judged[who] / judged["ours"] - 1
            yield (
                f"| {name}, k = {k} | {start} | {threads} | {who} | {seconds[who] / seeds * 1e3:,.1f} "
                f"| {seconds[who] / seconds['ours']:.1f}× | {excess:+.1e} |"
            )


def shares(name, X, k, threads, rounds):
    """Say where our time goes from an own start, and what the bounds spare."""
    given, _ = kmeans_plusplus(X, k, random_state=0)
    once = {"tol": np.inf, "max_iter": 1, "n_threads": threads}

    def rival():
        with threadpool_limits(threads):
            kmeans_plusplus(X, k, random_state=0)

    seconds, _ = alternate(
        {
            "all": lambda: pf.kmeans(X, k, n_threads=threads),
            "start": lambda: pf.kmeans(X, k, **once),
            "given": lambda: pf.kmeans(X, k, init=given, **once),
            "rival": rival,
            "bounds": partial(ours, X, k, given, threads, 0),
            "none": partial(ours, X, k, given, threads, 0, bounds=False),
        },
        rounds,
        min,
    )
    seeding = max(seconds["start"] - seconds["given"], 0.0)
    iterations = max(seconds["all"] - seconds["start"], 0.0)
    rest = seconds["all"] - seeding - iterations
    cells = [f"{part * 1e3:,.1f} ({part / seconds['all']:.0%})" for part in (seeding, iterations, rest)]
    return (
        f"| {name}, k = {k} | {threads} | {' | '.join(cells)} "
        f"| {seconds['rival'] / max(seeding, 1e-6):.1f}× | {seconds['none'] / seconds['bounds']:.2f}× |"
    )


def not_nearest(X, centers, labels):
    """Find the rows that are nearer to another center, and by how much, by the distances in float64."""
    centers, rows = centers.astype(np.float64), np.arange(len(X))
    # Products rule most rows out.
    values = (centers**2).sum(1) - 2 * X @ centers.T
    own = values[rows, labels]
    values[rows, labels] = np.inf
    close = np.flatnonzero(values.min(1) <= own + 1e-9 * (X**2).sum(1).max())
    squares = ((X[close, None] - centers) ** 2).sum(-1)
    gaps = squares[np.arange(len(close)), labels[close]] - squares.min(1)
    return close[gaps > 0], gaps[gaps > 0]


def partings(name, X, k):
    """Compare iterations from equal centers with scikit-learn, in float32 and in float64."""
    init, _ = kmeans_plusplus(X, k, random_state=0)
    wide = X.astype(np.float64)

    def rival(X, count):
        return KMeans(k, init=init.astype(X.dtype), n_init=1, tol=0, max_iter=count).fit(X)

    first = "none"
    for count in range(1, 31):
        theirs = rival(X, count)
        ties, gaps = not_nearest(wide, theirs.cluster_centers_, theirs.labels_)
        if len(ties):
            gap = (gaps / (wide[ties] ** 2).sum(1)).max()
            first = f"{count}: rows {len(ties)}, nearer by {gap:.0e}·‖x‖²"
            break
    found = pf.kmeans(X, k, init=init, tol=0)
    narrow, double = rival(X, MOST_ITERATIONS), rival(wide, MOST_ITERATIONS)
    counts = [np.count_nonzero(found.labels != each.labels_) for each in (narrow, double)]
    own = len(not_nearest(wide, found.centers, found.labels)[0])
    return (
        f"| {name}, k = {k} | {found.n_iter}, {narrow.n_iter_}, {double.n_iter_} | {first} "
        f"| {counts[0]} | {counts[1]} | {own} |"
    )


def goodness(name, X, k, seeds):
    """Compare the inertia of single starts: the ratio of medians with its bootstrap interval."""
    values = np.array([[inertia(X, call(X, k, None, 1, seed)) for seed in range(seeds)]
                       for call in (ours, scikit_learn)])  # fmt: skip
    drawn = np.random.default_rng(0).integers(0, seeds, (10_000, 2, seeds))
    medians = np.median(np.take_along_axis(values[None], drawn, axis=2), axis=2)
    low, high = np.quantile(medians[:, 0] / medians[:, 1], [0.025, 0.975])
    median, theirs = np.median(values, axis=1)
    spread = values[1].std(ddof=1) / theirs
    return f"| {name}, k = {k} | {seeds} | {median / theirs:.4f} | {low:.4f} to {high:.4f} | {spread:.2%} |"


def cases():
    """Give the data sets, MNIST where it lies and drawn ones; rounds of timing and seeds of a median."""
    folder = os.environ.get("PUMA_FAST_DATA")
    if folder is None:
        print("PUMA_FAST_DATA names no folder: MNIST is left out.\n")
    else:
        data = np.load(Path(folder) / "mnist.npz")
        X = np.ascontiguousarray(data["x_train"].reshape(-1, 784) / np.float32(255), dtype=np.float32)
        yield "MNIST, class 3", np.ascontiguousarray(X[data["y_train"] == 3]), 8, 3, 20
        yield "MNIST, 10,000", X[:10_000], 100, 1, 10
    rng = np.random.default_rng(0)
    for columns, count, k, rounds in ((2, 100_000, 8, 3), (8, 100_000, 8, 3), (8, 30_000, 100, 2)):
        middles = rng.standard_normal((30, columns)) * 3
        X = middles[rng.integers(0, 30, count)] + rng.standard_normal((count, columns))
        yield f"drawn, {count:,} × {columns}", X.astype(np.float32), k, rounds, 20


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, nargs="*", default=[1, 2])
    parser.add_argument("--quick", action="store_true", help="small data, to see that all of it runs")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore", ConvergenceWarning)
    began = time.perf_counter()
    absent = [package for module, package in RIVALS.items() if not is_installed(module)]
    installed = [package for package in RIVALS.values() if package not in absent]
    print("float32; the least of alternate runs, of own starts the mean over seeds; the last column is")
    print("inertia/ours − 1 by the referee. Threads as the column says.")
    print(f"{versions('numpy', 'scikit-learn', *installed).split(';')[0]}.")
    print(f"Not installed: {', '.join(absent) or 'none'}.\n")
    known = [(name, X[:2000] if arguments.quick else X, *rest) for name, X, *rest in cases()]
    print("| data | centers | threads | who | ms | ours is faster | inertia |\n|---|---|---|---|---|---|---|")
    for name, X, k, rounds, _ in known:
        for threads in arguments.threads:
            for line in rows(name, X, k, threads, rounds):
                print(line, flush=True)
    print(
        "\nWhere our time goes from an own start, ms; how much faster our k-means++ is than scikit-learn's;"
    )
    print("what the bounds spare from equal centers.\n")
    print("| data | threads | k-means++ | iterations | centring, first sums, inertia | k-means++ | bounds |")
    print("|---|---|---|---|---|---|---|")
    for name, X, k, rounds, _ in known:
        for threads in arguments.threads:
            print(shares(name, X, k, threads, rounds), flush=True)
    print(
        "\nLabels from equal centers, tol=0: iterations (ours, scikit-learn's in float32 and in float64); the"
    )
    print(
        "first iteration of 30 after which scikit-learn in float32 is not at the nearest of its own centers,"
    )
    print("and by how much another is nearer; final labels that differ from ours; ours that are not at the")
    print("nearest center. One such tie changes centers, and with them other labels, for good.\n")
    print("| data | iterations | first tie | float32 differs | float64 differs | ours not nearest |")
    print("|---|---|---|---|---|---|")
    for name, X, k, *_ in known:
        print(partings(name, X, k), flush=True)
    print(
        "\nInertia of single starts by the referee: ours / scikit-learn's in the median, the 95 % bootstrap"
    )
    print("interval of that ratio, and the standard deviation of scikit-learn's single starts.\n")
    print("| data | seeds | ratio of medians | interval | spread |\n|---|---|---|---|---|")
    for name, X, k, _, seeds in known:
        print(goodness(name, X, k, seeds), flush=True)
    print(f"\nThe whole took {time.perf_counter() - began:.0f} s.")


if __name__ == "__main__":
    main()
