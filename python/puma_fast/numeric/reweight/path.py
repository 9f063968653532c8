"""Weights for several prices of the 1-norm."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from puma_fast.numeric.arrays import as_floats
from puma_fast.numeric.reweight.problem import Problem, as_optional_number
from puma_fast.progress import each, reporting

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from puma_fast.numeric.reweight.info import WeightsInfo
    from puma_fast.numeric.shard import Shard
    from puma_fast.progress import Progress


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
    problem = Problem.of(
        psi_up, psi_mk, target, lower, upper, max_residual, tol, max_iter, sparse, shard, n_threads
    )
    prices = np.asarray(as_floats("l1s", l1s, ndim=1), dtype=np.float64)
    l2 = as_optional_number("l2", l2)
    problem = problem.omit_nan(nan)
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
