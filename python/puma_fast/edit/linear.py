"""Removal of samples from linear models of scikit-learn, without torch: one step, or Newton's method.

The objective is a sum over samples, smooth and convex, so the model without some of them is the minimum
of the same sum with their terms left out. From where the estimator stands, one step with the curvature
of all data is the influence estimate; steps with the curvature of what remains converge to the refit.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, TypedDict, TypeVar, overload

import numpy as np

from puma_fast.numeric.arrays import as_count, as_flag, as_number, as_progress
from puma_fast.numeric.ids import positions
from puma_fast.progress import bar
from puma_fast.score.estimator import read
from puma_fast.warning import warn

if TYPE_CHECKING:
    from typing import Unpack

    from numpy.typing import ArrayLike, NDArray

    from puma_fast.score.estimator import Fitted
    from puma_fast.score.linear_objective import Floats, LinearObjective, Slope

    class _Settings(TypedDict, total=False):
        """What every overload takes."""

        sample_weight: ArrayLike | None
        newton_steps: int | None
        tol: float
        progress: bool | None


Estimator = TypeVar("Estimator")

_MOST_STEPS = 100
"""Newton's method on such an objective takes three to ten steps where it has a minimum."""

_SUFFICIENT = 1e-4
"""The part of the decrease promised by the slope that a step must keep (Armijo)."""

_ROUNDING = 1e-13
"""The relative error allowed to J where two of its values are compared."""


@dataclass(frozen=True, eq=False)
class UnfitInfo:
    """How a removal from a linear model ended.

    The three gradients are relative: ‖∇J‖ over the sum of the norms of its terms, nought at an optimum.

    Attributes
    ----------
    removed : ndarray of shape (m,), int64
        Positions of the removed samples, ascending.
    n : int
        Number of samples before.
    newton_steps : int
        Steps of Newton's method taken; 0 is the one influence step.
    converged : bool
        Whether the result is the optimum of what remains, to `tol`.
    tol : float
        The relative gradient asked for.
    gradient_fitted : float
        At the estimator, all samples: how well it had converged itself.
    gradient_before, gradient_after : float
        Of the objective without the samples, at the estimator and at the result.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from sklearn.linear_model import Ridge
    >>> import puma_fast as pf
    >>> X, y = load_diabetes(return_X_y=True)
    >>> _, info = pf.unfit(Ridge().fit(X, y), X, y, [7, 2], return_info=True)
    >>> info.removed, info.newton_steps, info.converged
    (array([2, 7]), 1, True)
    """

    removed: NDArray[np.int64]
    n: int
    newton_steps: int
    converged: bool
    tol: float
    gradient_fitted: float
    gradient_before: float
    gradient_after: float

    def __repr__(self) -> str:
        """Summarise for people."""
        how = f"{self.newton_steps} Newton steps" if self.newton_steps else "one influence step"
        return (
            f"UnfitInfo: {len(self.removed)} of {self.n} samples removed by {how}, relative gradient "
            f"{self.gradient_before:.2g} -> {self.gradient_after:.2g} "
            f"({'converged' if self.converged else 'not converged'} to {self.tol:.2g}; "
            f"the estimator itself: {self.gradient_fitted:.2g})"
        )


@overload
def unfit(
    estimator: Estimator,
    X: ArrayLike,
    y: ArrayLike,
    ids: ArrayLike,
    *,
    return_info: Literal[False] = ...,
    **settings: Unpack[_Settings],
) -> Estimator: ...
@overload
def unfit(
    estimator: Estimator,
    X: ArrayLike,
    y: ArrayLike,
    ids: ArrayLike,
    *,
    return_info: Literal[True],
    **settings: Unpack[_Settings],
) -> tuple[Estimator, UnfitInfo]: ...
def unfit(
    estimator: Estimator,
    X: ArrayLike,
    y: ArrayLike,
    ids: ArrayLike,
    *,
    sample_weight: ArrayLike | None = None,
    newton_steps: int | None = None,
    tol: float = 1e-12,
    progress: bool | None = None,
    return_info: bool = False,
) -> Estimator | tuple[Estimator, UnfitInfo]:
    """Make a copy of a linear model as if it had been trained without some of its samples.

    By default the copy is the refit, to rounding, and not an estimate: Newton's method runs on the
    objective without the samples, from where the estimator stands. ``newton_steps=0`` gives instead
    the first-order removal, θ − H⁻¹∇J', H being the curvature with all samples.

    Parameters
    ----------
    estimator : LogisticRegression, Ridge or RidgeClassifier
        Fitted, of scikit-learn; never changed. LogisticRegression with the L2 penalty or none, two
        classes or more, any solver (liblinear's penalty on the intercept included); Ridge with one
        alpha or one per target, one target or more.
    X : array_like of shape (n, d)
        The features that it was fitted on, dense. float32 and float64 are not copied.
    y : array_like of shape (n,) or (n, k)
        Their classes or values.
    ids : array_like of shape (m,)
        Positions of the samples to remove, or a mask of n booleans.
    sample_weight : array_like of shape (n,), optional
        As given to fit. A sample may be removed in part: give it as two rows that share its weight.
    newton_steps : int, optional
        By default as many as it takes. 0: the one first-order step, whose error falls with the square
        of the removed weight. 1: one step with the curvature of what remains, exact for Ridge and
        RidgeClassifier. k: at most k.
    tol : float, default 1e-12
        The relative gradient ‖∇J'‖ / (mean ‖∇L_i‖ + ‖γθ‖) at which Newton's method stops.
    progress : bool, optional
        Show a bar of the rows read once it takes over two seconds; by default only on a terminal. It is
        drawn by tqdm, which comes with the extra `torch`; without it there is none.
    return_info : bool, default False
        Return the diagnostics too.

    Returns
    -------
    copy : same type as `estimator`
        A deep copy with other ``coef_`` and ``intercept_``, in their shapes and dtypes; everything
        else, ``n_iter_`` included, is as it was.
    info : UnfitInfo
        With ``return_info=True``.

    Raises
    ------
    TypeError
        Another estimator (a Pipeline, a search, ...), sparse X, arrays that hold no numbers.
    ValueError
        `ids` empty, twice the same, out of range, all samples, or all those of a class; an estimator
        that is not fitted or whose objective has kinks (l1, elastic net, ``positive=True``); X, y or
        sample_weight that do not fit it; a singular curvature.

    Warns
    -----
    UserWarning
        The estimator is far from its optimum on X and y: other data, or a loose ``tol``.
    RuntimeWarning
        Newton's method did not reach `tol` with ``newton_steps=None``.

    Notes
    -----
    With s_i the sample weight times the class weight, every objective is, up to a constant factor,

        J(θ) = (1/n) Σ s_i L_i(θ) + (γ/2)‖w‖²,

    - LogisticRegression, C Σ s_i L_i + ½‖w‖²: L_i the cross entropy, γ = 1/(C n);
    - Ridge, Σ s_i ‖y_i − f_i‖² + alpha‖w‖²: L_i = ‖y_i − f_i‖², γ = 2 alpha/n;
    - RidgeClassifier: the same on targets −1 and 1.

    J' leaves out the terms of the removed samples and keeps n and γ, which is what fitting anew with the
    same C or alpha does; ``class_weight="balanced"`` is balanced anew. Both roads start from the
    gradient of J' where the estimator stands, so that what its own ``tol`` left undone is made
    up for as well, to the order of the step. Directions that no output depends on (a constant added to
    the intercepts of all classes) stay as they are.

    Time O(n·p² + p³) for each step and memory O(n + p²) beside the data, with p the number of
    coefficients (those of one target where they are squares).

    References
    ----------
    Koh and Liang, "Understanding Black-box Predictions via Influence Functions", ICML 2017 (the
    first-order step). Guo et al., "Certified Data Removal from Machine Learning Models", ICML 2020,
    Sec. 3.1 (one Newton step).

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.linear_model import LogisticRegression
    >>> import puma_fast as pf
    >>> X, y = load_iris(return_X_y=True)
    >>> estimator = LogisticRegression(tol=1e-8, max_iter=1000).fit(X, y)
    >>> without, info = pf.unfit(estimator, X, y, [3, 70, 106], return_info=True)
    >>> info.converged
    True
    >>> kept = [i for i in range(150) if i not in (3, 70, 106)]
    >>> refit = LogisticRegression(tol=1e-8, max_iter=1000).fit(X[kept], y[kept])
    >>> bool(abs(without.coef_ - refit.coef_).max() < 1e-5)
    True
    """
    most = _MOST_STEPS if newton_steps is None else as_count("newton_steps", newton_steps)
    tol = as_number("tol", tol, above=0, below=1, hint=", a relative gradient")
    progress, return_info = as_progress(progress), as_flag("return_info", return_info)
    fitted = read(estimator, X, y, sample_weight)
    objective, theta = fitted.objective, fitted.theta
    removed = np.sort(positions(ids, objective.n))
    kept = np.ones(objective.n, dtype=bool)
    kept[removed] = False
    _check_rest(fitted, kept)

    with bar("unfit", unit="row", progress=progress) as shown:
        objective = replace(objective, advance=shown.update)
        weights, remaining = fitted.weights(), fitted.weights(kept)
        start = objective.slope(theta, weights)
        fitted.warn_if_far(start)
        before = objective.slope(theta, remaining)
        if most == 0:
            taken = 0
            there = theta - objective.curvature(theta, weights).solve(before.gradient)
            after = objective.slope(there, remaining)
            converged = after.relative <= tol
        else:
            there, after, taken, converged = _newton(objective, theta, before, remaining, most, tol)
    if newton_steps is None and not converged:
        msg = (
            f"Newton's method ended at a relative gradient of {after.relative:.2g} after {taken} steps, "
            f"above tol={tol:.2g}: without a penalty the objective may have no minimum (separable "
            "classes); fit with a penalty, or give a larger tol"
        )
        warn(msg, RuntimeWarning)
    result: Estimator = _with(estimator, fitted, there)
    if not return_info:
        return result
    return result, UnfitInfo(
        removed=removed,
        n=objective.n,
        newton_steps=taken,
        converged=converged,
        tol=tol,
        gradient_fitted=start.relative,
        gradient_before=before.relative,
        gradient_after=after.relative,
    )


def _newton(
    objective: LinearObjective, theta: Floats, slope: Slope, weights: Floats, most: int, tol: float
) -> tuple[Floats, Slope, int, bool]:
    """Minimise J by at most `most` steps; give θ, J there, the steps taken and whether it is the minimum."""
    for taken in range(most):
        if slope.relative <= tol:
            return theta, slope, taken, True
        curvature = objective.curvature(theta, weights)
        step = curvature.solve(slope.gradient)
        promise = float((step * slope.gradient).sum())
        allowed = slope.value + _ROUNDING * abs(slope.value)
        length = 1.0
        there = objective.slope(theta - step, weights)
        while not there.value <= allowed - _SUFFICIENT * length * promise:
            length /= 2
            if length < _ROUNDING:
                return theta, slope, taken, False
            there = objective.slope(theta - length * step, weights)
        # A step below tol in the curvature's own length is the last: what it leaves is its square.
        last = length == 1.0 and promise <= tol**2 * curvature.energy(theta)
        theta, slope = theta - length * step, there
        if last:
            return theta, slope, taken + 1, True
    return theta, slope, most, slope.relative <= tol


def _check_rest(fitted: Fitted, kept: NDArray[np.bool_]) -> None:
    """Refuse a removal after which there is no such estimator."""
    rest = np.where(kept, fitted.sample_weight, 0.0)
    if not rest.any():
        msg = (
            f"ids mark all {len(kept)} samples (but those of no weight); at least one must stay, "
            "so leave some out"
        )
        raise ValueError(msg)
    if fitted.labels is not None:
        gone = np.flatnonzero(np.bincount(fitted.labels, rest, len(fitted.classes)) == 0)
        if len(gone):
            name = fitted.classes[gone[0]]
            msg = (
                f"ids hold every sample of the class {name!r}: without it the estimator would have "
                "other classes_; leave one in, or fit a new estimator to the other classes"
            )
            raise ValueError(msg)


def _with(estimator: Any, fitted: Fitted, theta: Floats) -> Any:
    """Copy the estimator with other coefficients."""
    result = copy.deepcopy(estimator)
    coefficients, intercepts = fitted.split(theta)
    result.coef_ = coefficients.reshape(estimator.coef_.shape).astype(estimator.coef_.dtype)
    if fitted.objective.intercept:
        old = np.asarray(estimator.intercept_)
        # [()] gives the scalar back that Ridge has for one target.
        result.intercept_ = intercepts.reshape(old.shape).astype(old.dtype)[()]
    return result
