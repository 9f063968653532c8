"""Inverse-curvature solvers behind one protocol, each of which says whether it worked.

A solver takes any symmetric operator with ``operator @ vectors`` and ``operator.size`` and returns a
`Solve`: the solution with its *true* relative residual, recomputed from the operator, not the one that
a recurrence believes in. What a solver learns of an operator it keeps for the next right-hand side.
"""

from __future__ import annotations

from puma_fast.score.solve.conjugate import ConjugateGradient
from puma_fast.score.solve.exact import Exact
from puma_fast.score.solve.lanczos import KrylovSpace, Lanczos, krylov_space
from puma_fast.score.solve.lissa import Lissa
from puma_fast.score.solve.precondition import Jacobi, Nystrom, Preconditioner
from puma_fast.score.solve.protocol import Operator, Solve, Solver, Status, checked_limits
from puma_fast.score.solve.subsampled import Subsampled

__all__ = [
    "SOLVERS",
    "ConjugateGradient",
    "Exact",
    "Jacobi",
    "KrylovSpace",
    "Lanczos",
    "Lissa",
    "Nystrom",
    "Operator",
    "Preconditioner",
    "Solve",
    "Solver",
    "Status",
    "Subsampled",
    "krylov_space",
    "solver_named",
]

SOLVERS = ("cg", "nystrom", "lanczos", "lissa", "exact")


def solver_named(solver: str | Solver, tol: float, max_iter: int) -> Solver:
    """Give the solver that a name stands for; an instance passes through with limits of its own.

    Parameters
    ----------
    solver : str or Solver
        ``"cg"``: `ConjugateGradient`, preconditioned by `Subsampled` where that pays; ``"nystrom"``: by
        `Nystrom`;
        ``"lanczos"``: low rank, `Lanczos`; ``"lissa"``: `Lissa`; ``"exact"``: dense, `Exact`.
    tol : float
        Relative residual to reach.
    max_iter : int
        Products per right-hand side, at most ("exact" spends p, "lanczos" its rank).

    Raises
    ------
    TypeError
        Neither a name nor a solver.
    ValueError
        An unknown name, or limits that cannot be kept.
    """
    tol, max_iter = checked_limits(tol, max_iter)
    if not isinstance(solver, str):
        if not callable(getattr(solver, "solve", None)):
            msg = f"solver must be one of {', '.join(SOLVERS)}, or have solve(operator, rhs), got {solver!r}"
            raise TypeError(msg)
        return solver
    if solver == "cg":
        return ConjugateGradient(tol, max_iter, preconditioner=Subsampled())
    if solver == "nystrom":
        return ConjugateGradient(tol, max_iter, preconditioner=Nystrom())
    if solver == "lanczos":
        return Lanczos(tol, min(100, max_iter))
    if solver == "lissa":
        return Lissa(tol, max_iter)
    if solver == "exact":
        return Exact(tol)
    msg = f"solver must be one of {', '.join(SOLVERS)}, or have solve(operator, rhs), got {solver!r}"
    raise ValueError(msg)
