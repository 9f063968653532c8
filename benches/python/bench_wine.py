"""The task of pyDVL's wine notebook: every solver's influences against a dense inverse.

Run with ``python benches/python/bench_wine.py`` (two minutes); prints Markdown for benches/RESULTS.md.
178 samples, a network 13-16-16-3, damping 0.1; Pearson's correlation over every pair of a held-out and a
training sample with the exact inverse, as the notebook has it, there in float32 against its own Direct, here
against float64. Ours is given what "cg" and "exact" give by default; the notebook's figures stand beside.
"""

from __future__ import annotations

from referee import versions

import numpy as np  # isort: skip
import torch  # isort: skip

import puma_fast as pf  # isort: skip

from dense import influence  # isort: skip
from trained import task  # isort: skip

PUBLISHED = {"CG": 0.9975, "Nyström": 0.995, "LiSSA": 0.994, "Arnoldi": 0.988}
DAMPING = 0.1


def pairs(problem, solver):
    """Compute ours (m, n): every held-out sample as a criterion."""
    X, y, X_out, y_out = problem.tensors()
    puma = pf.Puma(
        problem.model(),
        (X, y),
        holdout=(X_out, y_out),
        curvature="hessian",
        solver=solver,
        damping=DAMPING,
        progress=False,
    )
    return np.stack([puma.influence(criterion=(X_out[[i]], y_out[[i]])) for i in range(len(y_out))])


def main() -> None:
    """Print the table."""
    problem = task("wine mlp")
    reference = influence(problem, DAMPING, each=True)
    print("float32, " + versions("torch") + "\n")
    print("| solver | Pearson against dense float64 | 1 − Pearson | relative error |")
    print("|---|---|---|---|")
    for solver in ("cg", "exact"):
        psi = pairs(problem, solver)
        pearson = np.corrcoef(psi.ravel(), reference.ravel())[0, 1]
        error = np.linalg.norm(psi - reference) / np.linalg.norm(reference)
        print(f"| puma-fast {solver} | {pearson:.9f} | {1 - pearson:.1e} | {error:.1e} |")
    for solver, pearson in PUBLISHED.items():
        print(f"| pyDVL {solver}, its notebook's figure | {pearson} | {1 - pearson:.1e} | |")


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
