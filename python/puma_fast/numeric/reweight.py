"""Reweighting: weights on the remaining samples that make up for the removal of the marked ones."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, Literal, TypedDict, overload

import numpy as np

from puma_fast import _core
from puma_fast.numeric.arrays import as_array, as_count, as_flag, as_floats, as_number, as_threads
from puma_fast.numeric.shard import as_shard
from puma_fast.progress import each, reporting

if TYPE_CHECKING:
    from typing import Unpack

    from numpy.typing import ArrayLike, NDArray

    from puma_fast.numeric.arrays import FloatArray
    from puma_fast.numeric.shard import Shard
    from puma_fast.progress import Progress, Report

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


@dataclass(frozen=True, eq=False)
class WeightsInfo:
    """What is known about the weights that :func:`solve_weights` returned.

    All figures are those of the weights as returned, rounded to their dtype.

    Attributes
    ----------
    status : str
        ``"solved"``: to rounding for one criterion, to `tol` for several.
        ``"max_iter"``: the steps allowed were not enough; the best weights found, with their gap.
        ``"stalled"``: rounding stopped progress above `tol`; the best weights found, with their gap.
        ``"empty"``: no sample to weigh. ``"no_effect"``: every ψ is zero, so no weight changes anything.
        ``"infeasible"``: no weights in the box meet `max_residual`; those that come nearest, see `reach`.
    objective : float
        ‖Ψᵀλ − b‖² + l1·‖λ‖₁ + l2·‖λ‖².
    gap : float
        The duality gap: `objective` is at most this much above the optimum. Same units as `objective`.
        With l1 = l2 = 0 and an infinite bound it speaks of the weights of at most twice the 1-norm.
        Infinite where the status is ``"infeasible"``.
    residual : ndarray, shape (k,), float64
        Ψᵀλ − b; k = 1 for a one-dimensional `psi_up`.
    l1, l2 : float
        The prices used.
    l1_max : float
        ‖2Ψb‖_∞: from this `l1` on all weights are 0 (in a box that allows 0).
    l1_norm : float
        ‖λ‖₁.
    nnz : int
        How many weights are not zero.
    iterations : int
        Passes over the data (one criterion) or Newton steps (several).
    unique : bool
        No other weights are as good. False where that could not be shown, which takes ``l2 = 0``.
    reach : tuple of float or None
        The smallest and largest Ψᵀλ within the box, where the status is ``"infeasible"``.
    price : ndarray, shape (k,), float64
        The dual point z from which the weights follow; `start` of a similar solve takes it.

    Examples
    --------
    >>> import puma_fast as pf
    >>> _, info = pf.solve_weights([3.0, -4.0], target=25.0, l1=0.0, l2=25.0, return_info=True)
    >>> info.status, round(info.objective, 12), info.gap < 1e-24
    ('solved', 312.5, True)
    """

    status: str
    objective: float
    gap: float
    residual: NDArray[np.float64]
    l1: float
    l2: float
    l1_max: float
    l1_norm: float
    nnz: int
    iterations: int
    unique: bool
    reach: tuple[float, float] | None
    price: NDArray[np.float64]

    @property
    def error_bound(self) -> float:
        """Upper bound of ‖λ − λ*‖₂, √(gap / l2); infinite where l2 is 0."""
        return math.sqrt(self.gap / self.l2) if self.l2 > 0 else math.inf

    def __str__(self) -> str:
        """Print one figure a line."""
        rows = [(field.name, getattr(self, field.name)) for field in fields(self)]
        rows.insert(3, ("error_bound", self.error_bound))
        shown = ((name, f"{v:.6g}" if isinstance(v, float) else v) for name, v in rows if v is not None)
        return "\n".join(f"{name:<12}{value}" for name, value in shown)


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
        For k > 1: solved once the duality gap is at most ``tol * (b @ b)``. The answer for a single
        criterion is exact to rounding.
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
    problem = _Problem.of(
        psi_up, psi_mk, target, lower, upper, max_residual, tol, max_iter, sparse, shard, n_threads
    )
    l1, l2 = _optional("l1", l1), _optional("l2", l2)
    if out is not None:
        _check_out(out, problem)
    if _omits(nan):
        problem = problem.without_nan()
    with reporting("weights", progress, problem.shard) as report:
        weights, info = problem.solve(l1, l2, _start(start), None, out, report)
    return (weights, info) if return_info else weights


@dataclass(frozen=True, eq=False)
class _Problem:
    """Everything of a call, checked, but the prices and where to look for the weights and to put them."""

    psi: FloatArray
    marked: FloatArray | None
    target: NDArray[np.float64] | None
    lower: FloatArray
    upper: FloatArray
    max_residual: float | None
    tol: float
    max_iter: int
    sparse: bool
    shard: Shard | None
    n_threads: int | None
    rows: int
    known: NDArray[np.int64] | None = None
    """Where among all rows those of `psi` stand, if some were left out."""

    @classmethod
    def of(
        cls,
        psi_up: ArrayLike,
        psi_mk: ArrayLike | None,
        target: ArrayLike | None,
        lower: ArrayLike | None,
        upper: ArrayLike | None,
        max_residual: float | None,
        tol: float,
        max_iter: int,
        sparse: bool,
        shard: Shard | None,
        n_threads: int | None,
    ) -> _Problem:
        """Check the arguments of these names."""
        if (psi_mk is None) == (target is None):
            given = "both" if target is not None else "neither"
            msg = f"pass exactly one of psi_mk (the marked samples' influences) and target (b); got {given}"
            raise ValueError(msg)
        psi = as_floats("psi_up", psi_up, ndim=(1, 2))
        return cls(
            psi,
            None if psi_mk is None else _marked(psi_mk, psi),
            None if target is None else _target(target, psi),
            _bound("lower", lower, -np.inf, psi),
            _bound("upper", upper, np.inf, psi),
            _optional("max_residual", max_residual),
            as_number("tol", tol, infinite=True),
            as_count("max_iter", max_iter),
            as_flag("sparse", sparse),
            as_shard(shard),
            as_threads(n_threads),
            len(psi),
        )

    def without_nan(self) -> _Problem:
        """Leave out the rows with a NaN; with none there is nothing to copy."""
        numbers = ~np.isnan(self.psi)
        known = np.flatnonzero(numbers if numbers.ndim == 1 else numbers.all(axis=1))
        if len(known) == self.rows:
            return self
        lower, upper = (bound[known] if bound.ndim else bound for bound in (self.lower, self.upper))
        return replace(self, psi=self.psi[known], lower=lower, upper=upper, known=known)

    def solve(
        self,
        l1: float | None,
        l2: float | None,
        start: NDArray[np.float64] | None,
        ladder: _core.Ladder | None,
        out: FloatArray | None,
        report: Report | None,
    ) -> tuple[Any, WeightsInfo]:
        """Find the weights and what is known about them."""
        weights, facts = _core.solve_weights(
            self.psi,
            self.marked,
            self.target,
            self.lower,
            self.upper,
            l1,
            l2,
            self.max_residual,
            self.tol,
            self.max_iter,
            start,
            ladder,
            self.sparse,
            out if self.known is None else None,
            self.shard,
            report,
            self.n_threads,
        )
        return self._among_all(weights, out), WeightsInfo(**facts)

    def _among_all(self, weights: Any, out: FloatArray | None) -> Any:
        """Give weights of the known rows as those of all."""
        if self.known is None:
            return weights
        if self.sparse:
            places, values = weights
            return self.known[places], values
        every = np.empty(self.rows, self.psi.dtype) if out is None else out
        every[:] = 0
        every[self.known] = weights
        return every

    def ladder(self, l1s: NDArray[np.float64], l2: float | None) -> _core.Ladder | None:
        """Give what solves at `l1s` share; None where they share nothing."""
        free = np.ndim(self.lower) == np.ndim(self.upper) == 0 and self.lower == -np.inf == -self.upper
        if not free or self.max_residual is not None:
            return None
        return _core.ladder(self.psi, self.marked, self.target, l1s, l2, self.shard, self.n_threads)


@dataclass(frozen=True, eq=False)
class WeightsPath:
    """The weights for several prices l1, as :func:`solve_weights_path` returns them.

    Attributes
    ----------
    l1s : ndarray, shape (m,), float64
        The prices, in the order given.
    weights : tuple of m ndarrays, or of m tuples of ndarrays
        The weights for each price: all n, or with ``sparse=True`` indices and values.
    infos : tuple of m WeightsInfo
        What is known about each.

    Examples
    --------
    >>> import puma_fast as pf
    >>> path = pf.solve_weights_path([3.0, -4.0], target=25.0, l1s=[0.0, 100.0, 300.0], l2=25.0)
    >>> [info.nnz for info in path.infos]
    [2, 2, 0]
    """

    l1s: NDArray[np.float64]
    weights: tuple[Any, ...]
    infos: tuple[WeightsInfo, ...]

    def __str__(self) -> str:
        """Print one price a line."""
        lines = [f"{'l1':>12} {'nnz':>10} {'l1_norm':>12} {'objective':>12} status"]
        lines += [
            f"{info.l1:12.5g} {info.nnz:10d} {info.l1_norm:12.5g} {info.objective:12.5g} {info.status}"
            for info in self.infos
        ]
        return "\n".join(lines)


def solve_weights_path(
    psi_up: ArrayLike,
    psi_mk: ArrayLike | None = None,
    *,
    target: ArrayLike | None = None,
    l1s: ArrayLike,
    l2: float | None = None,
    lower: ArrayLike | None = None,
    upper: ArrayLike | None = None,
    max_residual: float | None = None,
    tol: float = 1e-14,
    max_iter: int = 1000,
    sparse: bool = False,
    nan: Literal["raise", "omit"] = "raise",
    shard: Shard | None = None,
    n_threads: int | None = None,
    progress: Progress = None,
) -> WeightsPath:
    """Solve for several prices l1 of the 1-norm, sharing what does not depend on them.

    Parameters
    ----------
    psi_up, psi_mk, target
        As in :func:`solve_weights`.
    l1s : array_like, shape (m,)
        The prices of the 1-norm, in any order.
    l2 : float, optional
        As in :func:`solve_weights`, the same for all.
    sparse : bool, default False
        Keep the weights that are not zero alone. All weights for all prices are n·m numbers.
    lower, upper, max_residual, tol, max_iter, nan, shard, n_threads
        As in :func:`solve_weights`, the same for all.
    progress : bool or callable, optional
        As in :func:`solve_weights`; what is counted is ``"price"``.

    Returns
    -------
    WeightsPath
        For a single criterion the same bits as single solves give.

    Raises
    ------
    ValueError, TypeError
        As :func:`solve_weights`; an `l1s` that is not one-dimensional.

    Notes
    -----
    For one criterion with ``l2 > 0``, without a box and `max_residual`, one pass over the data divides the
    samples by size, and no price takes another pass but the one that writes its weights; with
    ``sparse=True`` not even that where few samples have a weight at the least price. Otherwise each solve
    begins at the dual point that the one before ended with: prices whose neighbours are near are fastest.

    Examples
    --------
    >>> import puma_fast as pf
    >>> path = pf.solve_weights_path([3.0, -4.0, 1.0], target=10.0, l1s=[60.0, 10.0, 0.0], l2=1.0)
    >>> [info.nnz for info in path.infos]
    [1, 2, 3]
    """
    problem = _Problem.of(
        psi_up, psi_mk, target, lower, upper, max_residual, tol, max_iter, sparse, shard, n_threads
    )
    prices = np.asarray(as_floats("l1s", l1s, ndim=1), dtype=np.float64)
    l2 = _optional("l2", l2)
    if _omits(nan):
        problem = problem.without_nan()
    solved: list[Any] = []
    infos: list[WeightsInfo] = []
    with reporting("path of weights", progress, problem.shard) as report:
        ladder = problem.ladder(prices, l2)
        for price, within in each(prices.tolist(), "price", report):
            known_l2 = ladder.l2 if ladder else infos[0].l2 if infos else l2
            start = infos[-1].price if infos else None
            told = within if callable(within) else None
            weights, info = problem.solve(price, known_l2, start, ladder, None, told)
            solved.append(weights)
            infos.append(info)
    return WeightsPath(prices, tuple(solved), tuple(infos))


def _omits(nan: Any) -> bool:
    if not isinstance(nan, str) or nan not in ("raise", "omit"):
        msg = f'nan must be "raise" or "omit", got {nan!r}'
        raise ValueError(msg)
    return nan == "omit"


def _optional(name: str, value: Any) -> float | None:
    return None if value is None else as_number(name, value, infinite=True, hint=", or left out")


def _start(start: Any) -> NDArray[np.float64] | None:
    if start is None:
        return None
    price = start.price if isinstance(start, WeightsInfo) else start
    return np.atleast_1d(as_floats("start", price, ndim=(0, 1))).astype(np.float64)


def _check_out(out: Any, problem: _Problem) -> None:
    psi = problem.psi
    data = [psi, problem.lower, problem.upper, *([] if problem.marked is None else [problem.marked])]
    if problem.sparse:
        msg = "out holds all weights and sparse=True asks for few; pass one of them"
        raise ValueError(msg)
    if not isinstance(out, np.ndarray) or out.dtype != psi.dtype:
        kind = out.dtype if isinstance(out, np.ndarray) else type(out).__name__
        msg = f"out must be a NumPy array of dtype {psi.dtype}, that of psi_up; got {kind}"
        raise TypeError(msg)
    if out.shape != psi.shape[:1] or not out.flags.c_contiguous or not out.flags.aligned:
        msg = f"out must be C-contiguous and of shape ({psi.shape[0]},), got shape {out.shape}"
        raise ValueError(msg)
    if not out.flags.writeable:
        msg = "out is read-only; pass an array that may be written to"
        raise ValueError(msg)
    if any(np.may_share_memory(out, array) for array in data):
        msg = "out overlaps the data that is read; pass memory of its own"
        raise ValueError(msg)


def _marked(psi_mk: ArrayLike, psi: FloatArray) -> FloatArray:
    rows = as_floats("psi_mk", psi_mk, ndim=psi.ndim)
    if rows.shape[1:] != psi.shape[1:]:
        msg = (
            f"psi_mk must have as many columns (criteria) as psi_up, got shapes {rows.shape} and {psi.shape}"
        )
        raise ValueError(msg)
    return rows


def _target(target: ArrayLike, psi: FloatArray) -> NDArray[np.float64]:
    values = as_floats("target", target, ndim=(0, 1))
    if values.shape != psi.shape[1:]:
        wanted = "a number" if psi.ndim == 1 else f"of shape ({psi.shape[1]},), one value for each criterion"
        msg = f"target must be {wanted} for psi_up of shape {psi.shape}, got shape {values.shape}"
        raise ValueError(msg)
    return np.atleast_1d(values).astype(np.float64)


def _bound(name: str, value: Any, absent: float, psi: FloatArray) -> FloatArray:
    bound = as_floats(name, absent if value is None else as_array(name, value), ndim=(0, 1))
    if bound.ndim == 1 and bound.shape[0] != psi.shape[0]:
        msg = (
            f"{name} must be a number or have one value for each of the {psi.shape[0]} rows of psi_up, "
            f"got {bound.shape[0]}"
        )
        raise ValueError(msg)
    with np.errstate(over="ignore"):
        return as_floats(name, bound.astype(psi.dtype, copy=False), ndim=bound.ndim)
