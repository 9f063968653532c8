"""ψ for every sample once v is known: ours against the ten lines of torch.func and one forward pass.

Run with ``python benches/python/bench_psi_pass.py`` (two minutes); prints Markdown for benches/RESULTS.md.
The ten lines materialise per-sample gradients and multiply them by v. Every contender has the batch size,
of several, at which it is fastest; times are taken in turn, the least of the rounds, since a forward pass
of milliseconds is told from its neighbours' noise by its best. Peak memory is what a process of its own
needed at most above what stood before the pass, at that batch size.
"""

from __future__ import annotations

import argparse
import math
import os
import subprocess
import sys
import time

from contender import memory
from referee import versions

import torch  # isort: skip
from torch.func import functional_call, grad, vmap  # isort: skip
from torch.nn.functional import cross_entropy  # isort: skip

import puma_fast as pf  # isort: skip
from puma_fast.score.solve import Solve  # isort: skip

from influence_task import MODELS  # isort: skip
from trained import data  # isort: skip

REPEATED = {"digits mlp": 32, "mnist cnn": 1}
"""How often the data is taken over, so that the pass and not its start is timed."""

BATCHES = {"digits mlp": (512, 2048, 8192), "mnist cnn": (32, 128, 512)}


class Given:
    """A solver that knows v, so that what is left of `influence` is the pass."""

    def __init__(self, v):
        self.v = v

    def solve(self, operator, rhs):
        """Give v whatever is asked."""
        return Solve(x=self.v, residual=0.0, iterations=0, smallest_ritz=math.nan, status="solved")


def contenders(name):
    """Give the model's size and number of samples, and each contender as a function of the batch size.

    That function sets up what is no part of the pass, and gives the pass as a function of nothing.
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        model = MODELS[name]().eval()
    X, y, _, _ = data(name)
    X = torch.from_numpy(X).repeat(REPEATED[name], 1)
    y = torch.from_numpy(y).repeat(REPEATED[name])
    parameters = {key: value.detach() for key, value in model.named_parameters()}
    p = sum(value.numel() for value in parameters.values())
    v = torch.randn(p, generator=torch.Generator().manual_seed(0))
    pieces = v.split([value.numel() for value in parameters.values()])

    def forward(size):
        def run():
            with torch.no_grad():
                batches = zip(X.split(size), y.split(size), strict=True)
                return torch.cat([cross_entropy(model(x), t, reduction="none") for x, t in batches])

        return run

    def ten_lines(size):
        def loss(at, x, t):
            return cross_entropy(functional_call(model, at, (x[None],)), t[None])

        def run():
            psi = []
            for x, t in zip(X.split(size), y.split(size), strict=True):
                gradients = vmap(grad(loss), (None, 0, 0))(parameters, x, t)
                psi.append(sum(g.flatten(1) @ s for g, s in zip(gradients.values(), pieces, strict=True)))
            return torch.cat(psi)

        return run

    def ours(size):
        puma = pf.Puma(
            model,
            (X, y),
            holdout=(X[:1], y[:1]),
            solver=Given(v.double()),
            damping=1.0,
            batch_size=size,
            progress=False,
        )
        return puma.influence

    return p, len(X), {"forward pass, no grad": forward, "puma-fast": ours, "vmap(grad) @ v": ten_lines}


def fastest(runs, sizes, rounds):
    """Give each contender's least seconds, and the batch size of it, over alternate rounds."""
    best = dict.fromkeys(runs, (math.inf, 0))
    for _ in range(rounds):
        for size in sizes:
            for key, prepared in runs.items():
                run = prepared(size)
                start = time.perf_counter()
                run()
                best[key] = min(best[key], (time.perf_counter() - start, size))
    return best


def peak(name, key, size):
    """Give the memory of one pass, measured in a process of its own."""
    command = [sys.executable, "-W", "ignore", __file__, "--memory", name, key, str(size)]
    return float(subprocess.check_output(command, text=True))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--memory", nargs=3, metavar=("MODEL", "CONTENDER", "BATCH"))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--models", nargs="*", choices=REPEATED, default=list(REPEATED))
    arguments = parser.parse_args()
    if arguments.memory:
        name, key, size = arguments.memory
        _, _, runs = contenders(name)
        run = runs[key](int(size))
        before = memory("VmRSS")
        run()
        print(memory("VmHWM") - before)
        return
    print("Weights as drawn, float32, " + versions("torch") + "\n")
    print("| model | p | n | contender | batch | ms | / forward | / puma-fast | peak, MiB | error |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    for name in arguments.models:
        if name.startswith("mnist") and "PUMA_FAST_DATA" not in os.environ:
            print(f"| {name} | | | PUMA_FAST_DATA names no folder with mnist.npz | | | | | | |")
            continue
        p, n, runs = contenders(name)
        mine, reference = torch.from_numpy(runs["puma-fast"](128)()), runs["vmap(grad) @ v"](128)().double()
        best = fastest(runs, BATCHES[name], arguments.rounds)
        for key, (seconds, size) in best.items():
            ratio, mark = (seconds / best[each][0] for each in ("forward pass, no grad", "puma-fast"))
            error = f"{(mine - reference).norm() / reference.norm():.0e}" if key == "puma-fast" else ""
            print(
                f"| {name} | {p:,} | {n:,} | {key} | {size} | {seconds * 1e3:.1f} "
                f"| {ratio:.2f} | {mark:.2f} | {peak(name, key, size):.0f} | {error} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
