"""One criterion against the machine: a read pass and a copy pass over the same array, in the same loop.

Run with ``python benches/python/bench_reweight_scalar.py``; prints Markdown for benches/RESULTS.md. R1 is
the faster of NumPy's sum and maximum, C1 the faster of its scaled and its plain copy into memory that is
mapped, C1 fresh the scaled copy into a new array; with two threads each thread takes half. The instruction
sets run in processes of their own. The rival sorts and adds up in NumPy, with its AVX-512 paths and
without them.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import resource
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

from referee import alternate, versions

import numpy as np  # isort: skip

import puma_fast as pf  # isort: skip
from bench_reweight import closed_form  # isort: skip
from puma_fast import _core  # isort: skip

NO_AVX512 = "X86_V4 AVX512_ICL AVX512_SPR"
LARGE = 10**7
"""Above it only what has a goal there is timed."""
PATH = 10**6
"""Samples of the path: a hundred outputs of them are kept."""


def problem(n, dtype):
    """Draw normal scores; the target is a hundredth of the sum of sizes that they have on average."""
    psi = np.random.default_rng(0).standard_normal(n, dtype=dtype)
    return psi, n * np.sqrt(2 / np.pi) / 100


def rival(n, rounds):
    """Time the rival in this process's NumPy; one JSON number."""
    psi, b = problem(n, np.float64)
    _, info = pf.solve_weights(psi, target=b, l1=0.15 * b, return_info=True)
    seconds, _ = alternate({"rival": lambda: closed_form(psi, b, info.l1, info.l2)}, rounds, min)
    print(json.dumps(seconds["rival"]))


def memory(n, dtype):
    """Print how much memory a solve into `out` takes at its peak, beside ψ and `out`."""
    psi, b = problem(n, dtype)
    out = np.ones_like(psi)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    pf.solve_weights(psi, target=b, l1=0.15 * b, l2=0.1 * n, out=out)
    extra = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    share = extra / psi.nbytes
    print(f"n = {n:,} {psi.dtype}: {extra / 2**20:.0f} MiB at the peak beside ψ and out, {share:.3f} of ψ.")


def in_parts(pool, threads, run, arrays):
    """Give `run` on the arrays, cut where there are threads to share them."""
    if threads == 1:
        return lambda: run(*arrays)
    parts = list(zip(*(np.array_split(array, threads) for array in arrays), strict=True))
    return lambda: [future.result() for future in [pool.submit(run, *part) for part in parts]]


def rows(n, dtype, rounds, threads, pool):
    """Time every way to ask on one problem."""
    psi, b = problem(n, dtype)
    two = psi.dtype.type(2)
    out, copy = np.ones_like(psi), np.ones_like(psi)
    _, info = pf.solve_weights(psi, target=b, l1=0.15 * b, return_info=True)
    prices = {"target": b, "l1": info.l1, "l2": info.l2, "n_threads": threads}
    few = prices | {"l1": 0.8 * info.l1_max}
    box = {"lower": -2 * info.l1_norm / n, "upper": 3 * info.l1_norm / n}

    def yardstick(run, arrays):
        return in_parts(pool, threads, run, arrays)

    contenders = {
        "sum": yardstick(np.sum, [psi]),
        "max": yardstick(np.max, [psi]),
        "scaled": yardstick(lambda x, y: np.multiply(x, two, out=y), [psi, copy]),
        "copied": yardstick(lambda x, y: np.copyto(y, x), [psi, copy]),
        "C1 fresh": lambda: psi * two,
        "dense, out=": lambda: pf.solve_weights(psi, **prices, out=out),
        "dense, fresh": lambda: pf.solve_weights(psi, **prices),
        "sparse": lambda: pf.solve_weights(psi, **few, sparse=True),
        "box, out=": lambda: pf.solve_weights(psi, **prices, **box, out=out),
        "max_residual, out=": lambda: pf.solve_weights(psi, **prices, max_residual=b / 50, out=out),
    }
    if n <= LARGE:
        each = {side: np.full_like(psi, bound) for side, bound in box.items()}
        contenders |= {
            "box per sample, out=": lambda: pf.solve_weights(psi, **prices, **each, out=out),
            "box, l2=0, out=": lambda: pf.solve_weights(psi, **(prices | {"l2": 0.0}), **box, out=out),
            "start=, out=": lambda: pf.solve_weights(psi, **prices, start=info, out=out),
        }
    seconds, _ = alternate(contenders, rounds, min)
    read, mapped = min(seconds["sum"], seconds["max"]), min(seconds["scaled"], seconds["copied"])
    yardsticks = {"sparse": read, "dense, fresh": read + seconds["C1 fresh"]}
    speed = psi.nbytes / 1e9
    print(f"\nn = {n:,} {psi.dtype}, {_core.simd_level}, threads = {threads}:", end=" ")
    print(f"R1 {speed / read:.1f} GB/s, C1 {2 * speed / mapped:.1f} GB/s.\n")
    print("| job | ms | yardstick, ms | ratio |\n| --- | ---: | ---: | ---: |")
    for name in list(seconds)[5:]:
        yard, taken = yardsticks.get(name, read + mapped), seconds[name]
        print(f"| {name} | {taken * 1e3:.2f} | {yard * 1e3:.2f} | {taken / yard:.2f} |", flush=True)
    return seconds["dense, out="]


def path(n, dtype, rounds, threads):
    """Time a hundred values of l1 against the faster argsort and as many fresh outputs; all are kept."""
    psi, b = problem(n, dtype)
    two = psi.dtype.type(2)
    _, info = pf.solve_weights(psi, target=b, return_info=True)
    given = {"target": b, "l2": info.l2, "n_threads": threads}
    l1s = info.l1_max * np.geomspace(1e-3, 0.9, 100)
    contenders = {
        "NumPy argsort": lambda: np.argsort(psi),
        "our argsort": lambda: pf.argsort(psi, n_threads=threads),
        "outputs": lambda: [psi * two for _ in l1s],
        "path": lambda: pf.solve_weights_path(psi, l1s=l1s, **given),
        "path, sparse, few weights": lambda: pf.solve_weights_path(psi, l1s=l1s[70:], sparse=True, **given),
        "as many single solves": lambda: [pf.solve_weights(psi, l1=l1, **given) for l1 in l1s],
    }
    seconds, _ = alternate(contenders, rounds, min)
    sort = min(seconds["NumPy argsort"], seconds["our argsort"])
    yard = sort + seconds["outputs"]
    print(
        f"\nn = {n:,} {psi.dtype}, {_core.simd_level}, threads = {threads}, 100 values of l1 (30 of the",
        end=" ",
    )
    print(f"sparse path): argsort {sort * 1e3:.1f} ms, 100 outputs {seconds['outputs'] * 1e3:.1f} ms.\n")
    print("| job | ms | argsort + outputs, ms | ratio |\n| --- | ---: | ---: | ---: |")
    for name in list(seconds)[3:]:
        taken = seconds[name]
        print(f"| {name} | {taken * 1e3:.2f} | {yard * 1e3:.2f} | {taken / yard:.2f} |", flush=True)


def tables(sizes, threads, rounds):
    """Print the tables of this process's instruction set; the last line is what the rival is held against."""
    ours = {}
    for dtype, count in itertools.product((np.float64, np.float32), threads):
        path(min(PATH, *sizes), dtype, min(rounds, 3), count)
    with ThreadPoolExecutor(max(threads)) as pool:
        for n, dtype, count in itertools.product(sizes, (np.float64, np.float32), threads):
            taken = rows(n, dtype, rounds if n <= LARGE else 3, count, pool)
            if dtype is np.float64:
                ours[f"{n:,}, {count}"] = taken
    return ours


def child(arguments, **environment):
    """Run this file in a process of its own, with variables that are read once; give what it printed."""
    command = [sys.executable, __file__, *map(str, arguments)]
    return subprocess.check_output(command, env=os.environ | environment, text=True)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="*", default=[10**7, 10**8])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, nargs="*", default=[1, 2])
    parser.add_argument("--levels", nargs="*", default=["avx512", "avx2"])
    parser.add_argument("--child", nargs="*", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        job, *rest = arguments.child
        if job == "rival":
            rival(int(rest[0]), 3)
        elif job == "memory":
            memory(int(rest[0]), np.dtype(rest[1]))
        else:
            print(json.dumps(tables(arguments.sizes, arguments.threads, arguments.rounds)))
        return
    print("Normal scores; minima of alternate runs. Yardsticks: R1 for sparse, R1 + C1 fresh for fresh,")
    print("R1 + C1 for the others. " + versions("numpy"))
    sizes, threads = (["--" + name, *getattr(arguments, name)] for name in ("sizes", "threads"))
    ours = {}
    for level in arguments.levels:
        asked = ["--child", "tables", *sizes, *threads, "--rounds", arguments.rounds]
        *lines, last = child(asked, PUMA_FAST_SIMD=level).splitlines()
        print(*lines, sep="\n", flush=True)
        ours[level] = json.loads(last)
    for n in [n for n in arguments.sizes if n <= LARGE]:
        for name, features in (("NumPy as it is", ""), ("NumPy without AVX-512", NO_AVX512)):
            seconds = float(child(["--child", "rival", n], NPY_DISABLE_CPU_FEATURES=features))
            ratios = [
                f"{seconds / ours[level][f'{n:,}, {count}']:.0f}× ours ({level}, {count} threads)"
                for level, count in itertools.product(arguments.levels, arguments.threads)
            ]
            print(f"\n{name}, n = {n:,}, sort + cumsum: {seconds * 1e3:.0f} ms, {', '.join(ratios)}.")
    for dtype in ("float64", "float32"):
        print("\n" + child(["--child", "memory", max(arguments.sizes), dtype]), end="", flush=True)


if __name__ == "__main__":
    main()
