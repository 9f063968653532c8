"""Influence for linear models of scikit-learn: exact, by one dense solve and two passes."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from puma_fast.numeric.arrays import as_progress
from puma_fast.progress import bar
from puma_fast.score.estimator import read

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


def linear_influence(
    estimator: Any,
    X: ArrayLike,
    y: ArrayLike,
    X_holdout: ArrayLike,
    y_holdout: ArrayLike,
    *,
    sample_weight: ArrayLike | None = None,
    progress: bool | None = None,
) -> NDArray[np.float64]:
    """Score every training sample of a linear model by its influence on the held-out loss.

    ψ_j = ∇Cᵀ H⁻¹ ∇L_j, with C the mean loss of the held-out samples and H the curvature of the
    estimator's own objective, penalty and weights included: a refit without sample j moves C by ψ_j/n,
    to first order. **ψ_j > 0: the sample helps; ψ_j < 0: it hurts.** The most negative scores are
    the samples to look at first, and ``unfit`` removes them.

    Parameters
    ----------
    estimator : LogisticRegression, Ridge or RidgeClassifier
        Fitted, of scikit-learn, with the L2 penalty or none; see `unfit`.
    X : array_like of shape (n, d)
        The features that it was fitted on, dense.
    y : array_like of shape (n,) or (n, k)
        Their classes or values.
    X_holdout, y_holdout : array_like of shape (m, d) and (m,) or (m, k)
        Samples that it was not fitted on. Their loss is the estimator's: cross entropy for
        LogisticRegression, ‖y − f‖² otherwise (on −1 and 1 for RidgeClassifier), each sample
        counting the same.
    sample_weight : array_like of shape (n,), optional
        As given to fit.
    progress : bool, optional
        Show a bar of the rows read once it takes over two seconds; see `unfit`.

    Returns
    -------
    ndarray of shape (n,), float64
        ψ, in units of the loss. With ``class_weight="balanced"`` a refit balances anew, and ψ says so.

    Raises
    ------
    TypeError, ValueError
        As in `unfit`.

    Warns
    -----
    UserWarning
        The estimator is far from the optimum on X and y.

    Notes
    -----
    Time O(n·p² + p³) and memory O(n·k + p²), with p the number of coefficients (those of one target
    where they are squares). ψ is evaluated where the estimator stands.

    References
    ----------
    Koh and Liang, "Understanding Black-box Predictions via Influence Functions", ICML 2017, Eq. 2.

    Examples
    --------
    >>> from sklearn.datasets import load_breast_cancer
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.preprocessing import scale
    >>> import puma_fast as pf
    >>> X, y = load_breast_cancer(return_X_y=True)
    >>> X = scale(X)
    >>> estimator = LogisticRegression().fit(X[:400], y[:400])
    >>> psi = pf.linear_influence(estimator, X[:400], y[:400], X[400:], y[400:])
    >>> psi.shape, int(psi.argmin())
    ((400,), 297)
    """
    progress = as_progress(progress)
    fitted = read(estimator, X, y, sample_weight)
    holdout = fitted.on(X_holdout, y_holdout, "holdout")
    theta, weights = fitted.theta, fitted.weights()
    with bar("influence", unit="row", progress=progress) as shown:
        objective = replace(fitted.objective, advance=shown.update)
        fitted.warn_if_far(objective.slope(theta, weights))
        criterion = holdout.slope(theta, np.ones(holdout.n)).gradient
        direction = objective.curvature(theta, weights).solve(criterion)
        return fitted.rebalanced(weights * objective.along(theta, direction))
