"""The problem of a call: its arguments, checked against each other, and the one door to the core."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from puma_fast import _core
from puma_fast.numeric.arrays import as_array, as_count, as_flag, as_floats, as_number, as_threads
from puma_fast.numeric.reweight.info import WeightsInfo
from puma_fast.numeric.shard import as_shard

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from puma_fast.numeric.arrays import FloatArray
    from puma_fast.numeric.shard import Shard
    from puma_fast.progress import Report


@dataclass(frozen=True, eq=False)
class Problem:
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
    ) -> Problem:
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
            as_optional_number("max_residual", max_residual),
            as_number("tol", tol, infinite=True),
            as_count("max_iter", max_iter),
            as_flag("sparse", sparse),
            as_shard(shard),
            as_threads(n_threads),
            len(psi),
        )

    def check_out(self, out: Any) -> None:
        """Refuse an `out` that the weights cannot be written to."""
        psi = self.psi
        data = [psi, self.lower, self.upper, *([] if self.marked is None else [self.marked])]
        if self.sparse:
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

    def omit_nan(self, nan: Any) -> Problem:
        """Leave out the rows with a NaN, where `nan` says so; with none there is nothing to copy."""
        if not isinstance(nan, str) or nan not in ("raise", "omit"):
            msg = f'nan must be "raise" or "omit", got {nan!r}'
            raise ValueError(msg)
        if nan == "raise":
            return self
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


def as_optional_number(name: str, value: Any) -> float | None:
    """Give `value` as a float, whose range the core checks; None where it is left out."""
    return None if value is None else as_number(name, value, infinite=True, hint=", or left out")
