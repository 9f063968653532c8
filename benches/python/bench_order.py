"""Order: top-k, sets and sorting, ours against NumPy, torch, polars, pyarrow, pandas and bottleneck.

Run with ``python benches/python/bench_order.py [--n 10000000]``; prints Markdown for benches/RESULTS.md.
R1 is one read-only pass over the scores, the fastest of NumPy's sum and maximum and our own scan with as many
threads; all are timed in turn in one loop, for whoever comes after a rival finds the caches full of its data.
A set of n/2 is as many int64 positions in fresh memory, so beside it stands what NumPy takes to fill such an
array: the goal is 3 R1 and that. NumPy's AVX-512 sorting is slow on some processors (x86-simd-sort issue 6),
so it is also run with ``NPY_DISABLE_CPU_FEATURES`` set, and the faster of the two is the rival.
A rival that is not installed is named, not passed over.
"""

from __future__ import annotations

import argparse
import itertools
import os
import subprocess
import sys
from typing import TYPE_CHECKING

from referee import alternate, versions

import numpy as np  # isort: skip

import puma_fast as pf  # isort: skip

if TYPE_CHECKING:
    from collections.abc import Callable

NARROW = "X86_V4 AVX512_ICL AVX512_SPR"


def patterns(n: int) -> dict[str, np.ndarray]:
    """Make scores in every order that could hurt."""
    rng = np.random.default_rng(0)
    normal = rng.standard_normal(n, dtype=np.float32)
    return {
        "normal": normal,
        "rising": np.sort(normal),
        "falling": np.sort(normal)[::-1].copy(),
        "95 % one value": np.where(rng.random(n) < 0.95, np.float32(1), normal),
        "one NaN": np.where(np.arange(n) == n // 3, np.float32(np.nan), normal),
    }


def half_sure(x: np.ndarray) -> np.ndarray:
    """Make a second score of each sample, unlike the first."""
    return np.roll(x, len(x) // 3)


def rivals(n: int, threads: int) -> dict[str, dict[str, Callable[[], object]]]:
    """Give the calls of each rival that is installed, by job; name the others."""
    x = patterns(n)["normal"]
    calls: dict[str, dict[str, Callable[[], object]]] = {
        "top 1000": {
            "numpy.argpartition": lambda: np.argpartition(x, n - 1000)[n - 1000 :],
            "numpy.partition (values only)": lambda: np.partition(x, n - 1000)[n - 1000 :],
        },
        "set of n/2": {"numpy.argpartition": lambda: np.argpartition(x, n // 2)[n // 2 :]},
        "argsort": {
            "numpy.argsort": lambda: np.argsort(x),
            "numpy.argsort, stable": lambda: np.argsort(x, kind="stable"),
        },
    }

    def torch() -> None:
        import torch

        torch.set_num_threads(threads)
        tensor = torch.from_numpy(x)
        calls["top 1000"]["torch.topk"] = lambda: torch.topk(tensor, 1000)
        calls["argsort"]["torch.sort, stable"] = lambda: torch.sort(tensor, stable=True)

    def polars() -> None:
        import polars

        series = polars.Series(x)
        calls["top 1000"]["polars.top_k (values only)"] = lambda: series.top_k(1000)
        calls["argsort"]["polars.arg_sort"] = series.arg_sort

    def pyarrow() -> None:
        import pyarrow
        import pyarrow.compute

        pyarrow.set_cpu_count(threads)
        table = pyarrow.table({"x": x})
        best = pyarrow.compute.SelectKOptions(1000, [("x", "descending")])
        calls["top 1000"]["pyarrow.select_k_unstable"] = lambda: pyarrow.compute.select_k_unstable(
            table, options=best
        )
        calls["argsort"]["pyarrow.array_sort_indices"] = lambda: pyarrow.compute.array_sort_indices(
            table["x"]
        )

    def pandas() -> None:
        import pandas

        frame = pandas.Series(x)
        calls["top 1000"]["pandas.nlargest"] = lambda: frame.nlargest(1000)

    def bottleneck() -> None:
        import bottleneck

        calls["top 1000"]["bottleneck.argpartition"] = lambda: bottleneck.argpartition(-x, 1000)[:1000]

    missing = []
    for rival in (torch, polars, pyarrow, pandas, bottleneck):
        try:
            rival()
        except ImportError:
            missing.append(rival.__name__)
    if missing:
        print(f"Not installed, so not run: {', '.join(missing)}.\n", flush=True)
    return calls


def numpy_alone(n: int) -> None:
    """Print the times of NumPy's calls in this process, started with other CPU features."""
    x = patterns(n)["normal"]
    seconds, _ = alternate(
        {
            "top 1000": lambda: np.argpartition(x, n - 1000)[n - 1000 :],
            "set of n/2": lambda: np.argpartition(x, n // 2)[n // 2 :],
            "argsort": lambda: np.argsort(x),
        },
        3,
        min,
    )
    print(";".join(f"{job}={time}" for job, time in seconds.items()))


def without_avx512(n: int) -> dict[str, float]:
    """Time NumPy where its AVX-512 sorting is switched off."""
    run = subprocess.run(
        [sys.executable, "-W", "ignore", __file__, "--numpy-alone", "--n", str(n)],
        env=os.environ | {"NPY_DISABLE_CPU_FEATURES": NARROW},
        capture_output=True,
        text=True,
        check=False,
    )
    if run.returncode:
        print("NumPy did not start without AVX-512, so that setting is not run.\n")
        return {}
    return {job: float(time) for job, time in (pair.split("=") for pair in run.stdout.strip().split(";"))}


def goals(n: int, threads: int, rounds: int) -> None:
    """Print our times as multiples of a read pass, on every pattern."""
    print(
        f"| {threads} thread(s), n = {n:,} float32 | R1, ms | GB/s | top 1000 / R1 | top 100,000 / R1 "
        "| set of n/2 / R1 | fresh n/2 int64 / R1 | argsort, ns each | stable in f64 |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    for name, x in patterns(n).items():
        nan = "last" if name == "one NaN" else "raise"
        options = {"nan": nan, "n_threads": threads}
        calls = {
            "sum": x.sum,
            "max": x.max,
            "scan": lambda x=x: pf.select_scores(x, at_least=np.inf, nan="last", n_threads=threads),
            "top": lambda x=x, o=options: pf.top_k(x, 1000, **o),
            "more": lambda x=x, o=options: pf.top_k(x, 100_000, **o),
            "half": lambda x=x, o=options: pf.top_k(x, n // 2, sorted=False, **o),
            "fresh": lambda: np.ones(n // 2, dtype=np.int64),
        }
        seconds, _ = alternate(calls, 3 * rounds, min)
        wide = x.astype(np.float64)
        sorts = {
            "sort": lambda x=x, o=options: pf.argsort(x, **o),
            "wide": lambda x=wide, o=options: pf.argsort(x, **o),
        }
        seconds |= alternate(sorts, rounds, min)[0]
        pass_ = min(seconds[way] for way in ("sum", "max", "scan"))
        print(
            f"| {name} | {pass_ * 1e3:.2f} | {x.nbytes / pass_ / 1e9:.0f} | {seconds['top'] / pass_:.2f} "
            f"| {seconds['more'] / pass_:.2f} | {seconds['half'] / pass_:.2f} "
            f"| {seconds['fresh'] / pass_:.2f} | {seconds['sort'] / n * 1e9:.1f} "
            f"| {seconds['wide'] / n * 1e9:.1f} |",
            flush=True,
        )
    print()


def filters(n: int, threads: int, rounds: int) -> None:
    """Print Algorithm 2's filter at once and in three steps, as multiples of a read pass over one array."""
    x = patterns(n)["normal"]
    sure = half_sure(x)
    print(f"| {threads} thread(s), k | suspects / R1 | bottom_k, top_k, difference / R1 | NumPy / R1 |")
    print("|---|---|---|---|")
    for k in (1000, n // 10):
        options = {"sorted": False, "n_threads": threads}
        calls = {
            "scan": lambda: pf.select_scores(x, at_least=np.inf, n_threads=threads),
            "sum": x.sum,
            "max": x.max,
            "once": lambda k=k: pf.suspects(x, sure, k, n_threads=threads),
            "steps": lambda k=k, o=options: pf.difference(pf.bottom_k(x, k, **o), pf.top_k(sure, k, **o)),
            "numpy": lambda k=k: np.setdiff1d(
                np.argpartition(x, k)[:k], np.argpartition(sure, n - k)[n - k :]
            ),
        }
        seconds, _ = alternate(calls, rounds, min)
        pass_ = min(seconds[way] for way in ("sum", "max", "scan"))
        columns = " | ".join(f"{seconds[way] / pass_:.2f}" for way in ("once", "steps", "numpy"))
        print(f"| {k:,} | {columns} |", flush=True)
    print()


def against(n: int, threads: int, rounds: int) -> None:
    """Print the rivals' times as multiples of ours, on normal scores."""
    x = patterns(n)["normal"]
    ours = {
        "top 1000": lambda: pf.top_k(x, 1000, n_threads=threads),
        "set of n/2": lambda: pf.top_k(x, n // 2, sorted=False, n_threads=threads),
        "argsort": lambda: pf.argsort(x, n_threads=threads),
    }
    contenders, narrow = rivals(n, threads), without_avx512(n)
    print(f"| {threads} thread(s) | rival | ours, ms | ours / R1 | rival, ms | rival / R1 | ratio |")
    print("|---|---|---|---|---|---|---|")
    for job, calls in contenders.items():
        scans = {
            "scan": lambda: pf.select_scores(x, at_least=np.inf, n_threads=threads),
            "max": x.max,
            "sum": x.sum,
        }
        turns = {"ours": ours[job]}
        for rival, scan in itertools.zip_longest(calls, scans):
            turns |= {rival: calls[rival]} if rival else {}
            turns |= {scan: scans[scan]} if scan else {}
        seconds, _ = alternate(turns, rounds, min)
        pass_ = min(seconds[scan] for scan in scans)
        times = {rival: seconds[rival] for rival in calls}
        if job in narrow:
            times["numpy without AVX-512"] = narrow[job]
        for rival, time in times.items():
            print(
                f"| {job} | {rival} | {seconds['ours'] * 1e3:.2f} | {seconds['ours'] / pass_:.2f} "
                f"| {time * 1e3:.1f} | {time / pass_:.1f} | {time / seconds['ours']:.1f}× |",
                flush=True,
            )
    print()


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n", type=int, default=10**7)
    parser.add_argument("--threads", type=int, nargs="*", default=[1, 2])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--numpy-alone", action="store_true", help="for this script's own use")
    arguments = parser.parse_args()
    # Read by polars when it is loaded, once for all.
    os.environ["POLARS_MAX_THREADS"] = str(max(arguments.threads))
    if arguments.numpy_alone:
        numpy_alone(arguments.n)
        return
    print("The best of alternate runs. " + versions("numpy") + "\n")
    for threads in arguments.threads:
        goals(arguments.n, threads, arguments.rounds)
        filters(arguments.n, threads, arguments.rounds)
    for threads in arguments.threads:
        against(arguments.n, threads, arguments.rounds)


if __name__ == "__main__":
    main()
