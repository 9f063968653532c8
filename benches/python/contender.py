"""One library's influence on one task, in an interpreter and a process of its own.

``python contender.py LIBRARY task.npz out.npz DAMPING [--each]`` writes the scores, in the convention of
puma-fast (ψ = ∇Cᵀ(H + damping)⁻¹∇L, H of the mean loss), the seconds from trained model to scores, the
best of `ROUNDS`, fewer where they are long, and the peak memory above what stood before. Imports and reading
do not count; torch loads much on first use, so there are two rounds at least, if there is time.

Each library is set as it is right and fast. The criterion is the mean held-out loss, and the held-out
set is handed to every rival as one sample, so that each solves once: as documented they solve for every
held-out sample. With --each, every held-out sample is a criterion, for scores that are compared one by one.
"""

from __future__ import annotations

import argparse
import re
import tempfile
import time
import warnings
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, TensorDataset

from influence_task import read

ROUNDS = 5
ENOUGH = 10.0
"""Seconds after which no further round is begun; the first, in which torch loads, is not counted."""

BATCHES = {"digits mlp": 1198, "mnist cnn": 250}
"""What fits the cache, in equal batches: their unweighted mean, which pyDVL takes, is then the whole."""


def losses(outputs, targets):
    """Give one loss per sample; a sample that is a whole set has the mean of its own."""
    every = cross_entropy(outputs.flatten(0, -2), targets.flatten(), reduction="none")
    return every.reshape(len(outputs), -1).mean(1)


def mean_loss(outputs, targets):
    """Give the mean loss."""
    return losses(outputs, targets).mean()


def held_out(task, each):
    """Give the held-out samples, or the held-out set as one sample."""
    _, _, X_out, y_out = task.tensors()
    return (X_out, y_out) if each else (X_out[None], y_out[None])


def puma_fast(curvature, **settings):
    """Ours, by its public face."""
    import puma_fast as pf

    def scores(task, damping, each):
        X, y, X_out, y_out = task.tensors()
        puma = pf.Puma(
            task.model(),
            (X, y),
            holdout=(X_out, y_out),
            curvature=curvature,
            damping=damping,
            batch_size=BATCHES.get(task.name, len(X)),
            progress=False,
            **settings,
        )
        if not each:
            return puma.influence()[None]
        return np.stack([puma.influence(criterion=(X_out[[i]], y_out[[i]])) for i in range(len(y_out))])

    return scores


def pydvl(kind, **settings):
    """pyDVL, in equal batches: uneven ones give it an uneven mean of the curvature."""
    from pydvl.influence import torch as library

    def scores(task, damping, each):
        X, y, _, _ = task.tensors()
        loader = DataLoader(TensorDataset(X, y), batch_size=BATCHES.get(task.name, len(X)))
        fitted = getattr(library, kind)(task.model(), mean_loss, regularization=damping, **settings)
        X_out, y_out = held_out(task, each)
        return fitted.fit(loader).influences(X_out, y_out, X, y).detach().numpy()

    return scores


def dattri(kind, **settings):
    """Dattri, all samples in one batch: it adds up the inverses of its batches' curvatures."""
    from dattri.algorithm import influence_function as library
    from dattri.task import AttributionTask

    def scores(task, damping, each):
        model = task.model()

        def whole(parameters, batch):
            return mean_loss(torch.func.functional_call(model, parameters, batch[0]), batch[1])

        def one(parameters, sample):
            outputs = torch.func.functional_call(model, parameters, sample[0][None])
            return mean_loss(outputs, sample[1][None])

        attribution = AttributionTask(
            loss_func=whole, target_func=one, model=model, checkpoints=model.state_dict()
        )
        X, y, _, _ = task.tensors()
        loader = DataLoader(TensorDataset(X, y), batch_size=len(X))
        out = TensorDataset(*held_out(task, each))
        attributor = getattr(library, kind)(attribution, regularization=damping, **settings)
        attributor.cache(loader)
        return attributor.attribute(loader, DataLoader(out, batch_size=len(out))).detach().numpy().T

    return scores


def captum(kind, **settings):
    """Captum: its curvature is of the sum of losses, so damping and scores are n times the mean's."""
    from captum.influence._core import arnoldi_influence_function, influence_function

    library = {**vars(influence_function), **vars(arnoldi_influence_function)}

    def scores(task, damping, each):
        X, y, _, _ = task.tensors()
        model = task.model()
        with tempfile.TemporaryDirectory() as folder:
            checkpoint = str(Path(folder) / "model.pt")
            torch.save(model.state_dict(), checkpoint)
            ready = library[kind](
                model,
                TensorDataset(X, y),
                checkpoint,
                loss_fn=losses,
                batch_size=BATCHES.get(task.name, len(X)),
                hessian_reg=damping * len(X),
                **settings,
            )
            return len(X) * ready.influence(held_out(task, each)).detach().numpy()

    return scores


TOLERANCES = ("1e-3", "1e-4", "1e-6", "1e-7")
"""Of ours beside its default of 1e-5, so that each rival meets one that errs no more."""

CONTENDERS = {
    "puma-fast Hessian": lambda: puma_fast("hessian"),
    **{f"puma-fast Hessian, tol={tol}": partial(puma_fast, "hessian", tol=float(tol)) for tol in TOLERANCES},
    "puma-fast GGN": lambda: puma_fast("ggn"),
    "pyDVL Direct": lambda: pydvl("DirectInfluence"),
    "pyDVL CG": lambda: pydvl("CgInfluence"),
    "pyDVL block CG": lambda: pydvl("CgInfluence", solve_simultaneously=True),
    "pyDVL Nyström": lambda: pydvl("NystroemSketchInfluence", rank=100),
    "pyDVL Arnoldi": lambda: pydvl("ArnoldiInfluence", rank=50),
    "dattri explicit": lambda: dattri("IFAttributorExplicit"),
    "dattri CG": lambda: dattri("IFAttributorCG", max_iter=40),
    "captum Naive": lambda: captum("NaiveInfluenceFunction", projection_dim=10**6, hessian_inverse_tol=0.0),
    "captum Arnoldi": lambda: captum("ArnoldiInfluenceFunction", projection_dim=100, arnoldi_dim=150),
}
"""What can be asked for, with the settings in which it does best."""


def memory(entry):
    """Read a figure of this process in MiB: VmRSS now, VmHWM at most."""
    return int(re.search(rf"{entry}:\s*(\d+)", Path("/proc/self/status").read_text())[1]) / 1024


def main() -> None:
    """Run one contender."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", choices=CONTENDERS)
    parser.add_argument("task")
    parser.add_argument("out")
    parser.add_argument("damping", type=float)
    parser.add_argument("--each", action="store_true")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.manual_seed(0)
    run, task = CONTENDERS[arguments.name](), read(arguments.task)
    before, seconds = memory("VmRSS"), []
    while len(seconds) < ROUNDS and sum(seconds[1:]) < ENOUGH:
        start = time.perf_counter()
        scores = run(task, arguments.damping, arguments.each)
        seconds.append(time.perf_counter() - start)
        # After each round: who runs out of time in a later one has those before.
        found = {"scores": scores, "seconds": min(seconds), "mebibytes": memory("VmHWM") - before}
        np.savez(arguments.out + ".part.npz", **found)
        Path(arguments.out + ".part.npz").replace(arguments.out)


if __name__ == "__main__":
    main()
