"""Weights for one pair of prices."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, TypedDict, overload

import numpy as np

from puma_fast.numeric.arrays import as_flag, as_floats
from puma_fast.numeric.reweight.info import WeightsInfo
from puma_fast.numeric.reweight.problem import Problem, as_optional_number
from puma_fast.progress import reporting

if TYPE_CHECKING:
    from typing import Unpack

    from numpy.typing import ArrayLike, NDArray

    from puma_fast.numeric.arrays import FloatArray
    from puma_fast.numeric.shard import Shard
    from puma_fast.progress import Progress

    _Sparse = tuple[NDArray[np.int64], FloatArray]
    """Indices and weights."""

    class _Settings(TypedDict, total=False):
        """What every overload takes."""

        target: ArrayLike | None
        l1: float | None
        l2: float | None
        lower: ArrayLike | None
        upper: ArrayLike | None
        max_residual: float | None
        tol: float
        max_iter: int
        start: WeightsInfo | ArrayLike | None
        nan: Literal["raise", "omit"]
        out: FloatArray | None
        shard: Shard | None
        n_threads: int | None
        progress: Progress


@overload
def solve_weights(
    psi_up: ArrayLike,
    psi_mk: ArrayLike | None = ...,
    *,
    sparse: Literal[False] = ...,
    return_info: Literal[False] = ...,
    **settings: Unpack[_Settings],
) -> FloatArray: ...
@overload
def solve_weights(
    psi_up: ArrayLike,
    psi_mk: ArrayLike | None = ...,
    *,
    sparse: Literal[False] = ...,
    return_info: Literal[True],
    **settings: Unpack[_Settings],
) -> tuple[FloatArray, WeightsInfo]: ...
@overload
def solve_weights(
    psi_up: ArrayLike,
    psi_mk: ArrayLike | None = ...,
    *,
    sparse: Literal[True],
    return_info: Literal[False] = ...,
    **settings: Unpack[_Settings],
) -> _Sparse: ...
@overload
def solve_weights(
    psi_up: ArrayLike,
    psi_mk: ArrayLike | None = ...,
    *,
    sparse: Literal[True],
    return_info: Literal[True],
    **settings: Unpack[_Settings],
) -> tuple[_Sparse, WeightsInfo]: ...
def solve_weights(
    psi_up: ArrayLike,
    psi_mk: ArrayLike | None = None,
    *,
    target: ArrayLike | None = None,
    l1: float | None = None,
    l2: float | None = None,
    lower: ArrayLike | None = None,
    upper: ArrayLike | None = None,
    max_residual: float | None = None,
    tol: float = 1e-14,
    max_iter: int = 1000,
    start: WeightsInfo | ArrayLike | None = None,
    sparse: bool = False,
    nan: Literal["raise", "omit"] = "raise",
    out: FloatArray | None = None,
    shard: Shard | None = None,
    n_threads: int | None = None,
    progress: Progress = None,
    return_info: bool = False,
) -> Any:
    r"""Weigh the remaining samples so that together they have the effect of the marked ones.

    .. math::
        \lambda^* = \arg\min_{lower \le \lambda \le upper}
        \|\Psi^T\lambda - b\|_2^2 + l_1\|\lambda\|_1 + l_2\|\lambda\|_2^2

    where row j of Ψ is the influence of sample j and b is the sum of the marked samples' influences,
    or `target`. λ_j = 0 leaves sample j as it is; the sign convention is that of the influences.

    Parameters
    ----------
    psi_up : array_like, shape (n,) or (n, k)
        Influences of the n samples to weigh, on one or k criteria. float32 and float64 are read in
        place where they are C-contiguous; anything else is copied once.
    psi_mk : array_like, shape (m,) or (m, k), optional
        Influences of the m marked samples. Give this or `target`.
    target : float or array_like, shape (k,), optional
        The effect b wanted, given outright.
    l1, l2 : float, optional
        Prices of ‖λ‖₁ and ‖λ‖², absolute. Left out, `l1` is 0.05 of the price from which all weights
        are zero, ‖2Ψb‖_∞, and `l2` is 1e-3·‖Ψ‖_F²/k. ``l1=inf`` leaves every weight at rest.
    lower, upper : float or array_like, shape (n,), optional
        The box, rounded to the dtype of `psi_up`; it need not contain 0. Left out: unbounded.
    max_residual : float, optional
        Largest abs(Ψᵀλ − b) allowed; for a single criterion.
    tol : float, default 1e-14
        For k > 1: solved once the duality gap, before the weights are rounded to their dtype, is at most
        ``tol * (b @ b)``; in a box without 0, `tol` times the squared residual of the weights nearest to 0
        where that is more. The answer for a single criterion is exact to rounding.
    max_iter : int, default 1000
        For k > 1: Newton steps allowed.
    start : WeightsInfo or array_like, shape (k,), optional
        The info, or its `price`, of a solve of a similar problem: where to look first. For a single
        criterion it changes no bit of the answer.
    sparse : bool, default False
        Return the rows whose weight is not zero and those weights, in place of all.
    nan : {"raise", "omit"}, default "raise"
        Whether a NaN in `psi_up` is an error, or its sample is left out of the problem: its weight is 0,
        whatever the box, and the others are copied once. Anywhere else a NaN is an error.
    out : ndarray, shape (n,), optional
        Where to write the weights: C-contiguous, writeable, in the dtype that is returned, and no part
        of the data. Saves fresh memory, which costs more than the solve. Undefined after an exception.
    shard : Shard, optional
        This process's place among several that hold consecutive rows: `psi_up`, `psi_mk` and bounds that
        are arrays are its own part (`psi_mk` may be empty in some), and so are the weights; indices
        count its own rows. The info is of all rows, the same for every shard.
    n_threads : int, optional
        Threads; by default ``RAYON_NUM_THREADS``, else all that this process may use. The result does
        not depend on it.
    progress : bool or callable, optional
        Whether to show a bar once the call takes over two seconds; by default on a terminal (and for shard 0
        alone). It needs tqdm, which the extra ``torch`` brings; without it the call is silent. A callable is
        called in its place, up to five times a second and from this thread, with what is done, how much
        there is (None where that is not known) and what is counted: ``"step"`` (k > 1; one criterion takes
        no such time). What it raises ends the call.
    return_info : bool, default False
        Also return a :class:`WeightsInfo`.

    Returns
    -------
    weights : ndarray, shape (n,), or tuple of ndarray
        With ``sparse=True`` the indices (int64, ascending) and the values; `out` where that is given.
        λ*, in the dtype of `psi_up` (float64 where that is neither float32 nor float64), computed in
        float64 and more. Ties share alike. Where the optimum is not unique (``l2 = 0``, one criterion)
        the weights are the limit for l2 → 0.
    info : WeightsInfo
        With ``return_info=True``: status, certificate and the prices used.

    Raises
    ------
    ValueError
        Not exactly one of `psi_mk` and `target`; shapes that do not fit; a NaN (but see `nan`) or an
        infinity in the data; a negative price; ``lower > upper``; `max_residual` with several criteria; an
        `out` that is read-only, of another shape, overlaps the data or comes with ``sparse=True``.
    TypeError
        Not real numbers, a tensor that is not on the CPU, an `out` of another dtype, or a `progress` of no
        such kind.

    Notes
    -----
    This is Eq. 10 of PUMA [1]_. For one criterion it is a continuous quadratic knapsack and is solved
    exactly in a few passes. For several, where few weights move, the rows that might are gathered into a
    working set, solved there by Newton's method on the k-dimensional dual (and, where `l2` is too small
    for that, by an active-set method on the weights), and passes over all rows say which are missing.
    Where many move, quasi-Newton steps on the dual read all rows, with the curvature of a sample. Either
    way ``info.gap`` is computed from the weights returned, whatever the solver believes, and
    ``info.error_bound`` follows from it.

    References
    ----------
    .. [1] Wu, Hashemi, Srinivasa: "PUMA: Performance Unchanged Model Augmentation for Training Data
       Removal", AAAI 2022, Eq. 10.

    Examples
    --------
    >>> import puma_fast as pf
    >>> pf.solve_weights([3.0, -4.0], [20.0, 6.0], l1=0.0, l2=1.0)
    array([ 3., -4.])
    >>> box = {"lower": -0.5, "upper": 0.5}
    >>> w, info = pf.solve_weights([2.0, -1.0], target=4.0, l1=2.0, l2=0.5, **box, return_info=True)
    >>> w
    array([ 0.5, -0.5])
    >>> info.status, float(info.objective)
    ('solved', 8.5)
    """
    return_info = as_flag("return_info", return_info)
    problem = Problem.of(
        psi_up, psi_mk, target, lower, upper, max_residual, tol, max_iter, sparse, shard, n_threads
    )
    l1, l2 = as_optional_number("l1", l1), as_optional_number("l2", l2)
    if out is not None:
        problem.check_out(out)
    problem = problem.omit_nan(nan)
    with reporting("weights", progress, problem.shard) as report:
        weights, info = problem.solve(l1, l2, _start(start), None, out, report)
    return (weights, info) if return_info else weights


def _start(start: Any) -> NDArray[np.float64] | None:
    if start is None:
        return None
    price = start.price if isinstance(start, WeightsInfo) else start
    return np.atleast_1d(as_floats("start", price, ndim=(0, 1))).astype(np.float64)
