"""What a fitted scikit-learn estimator minimised, read from its parameters and attributes.

Nothing of scikit-learn is imported: an estimator is known by the name of its class, and whatever its
settings add to the objective is written into weights and penalties. J is that of `LinearObjective`,
with γ for every coefficient but the intercept (each of scikit-learn's objectives times a constant):

- LogisticRegression: C Σ s_i L_i + ½‖w‖², L_i the cross entropy; γ = 1/(C n), nought for C = ∞.
  The liblinear solver penalises the intercept too, by ½(b/intercept_scaling)².
- Ridge: Σ s_i ‖y_i − f_i‖² + alpha‖w‖², L_i = ‖y_i − f_i‖²; γ = 2 alpha/n, one alpha for all targets or each.
- RidgeClassifier: the same on targets −1 and 1, one column for each class (one in all for two classes).

s_i is the sample weight times the weight of the class.
"""

from __future__ import annotations

import inspect
import sys
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from puma_fast.numeric.arrays import as_array, as_floats
from puma_fast.score.linear_objective import LinearObjective, Logistic, Softmax, Squares
from puma_fast.warning import warn

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from puma_fast.score.linear_objective import Floats, Loss, Slope

_KINDS = ("LogisticRegression", "Ridge", "RidgeClassifier")

_WAYS_OUT = {
    "Pipeline": "pass its last step, pipeline[-1], and X as that step sees it, pipeline[:-1].transform(X)",
    "GridSearchCV": "pass its best_estimator_",
    "RandomizedSearchCV": "pass its best_estimator_",
    "LogisticRegressionCV": "fit LogisticRegression at the C_ that it chose",
    "RidgeCV": "fit Ridge at the alpha_ that it chose",
    "RidgeClassifierCV": "fit RidgeClassifier at the alpha_ that it chose",
}

_FAR_FROM_OPTIMUM = 0.05
"""A relative gradient that no loose tolerance explains: other data, other weights, or hardly any training."""


@dataclass(frozen=True, eq=False)
class Fitted:
    """An estimator's objective on its training data, and the θ at which it was left.

    Attributes
    ----------
    objective : LinearObjective
        On all training samples.
    theta : ndarray of shape (k, p), float64
        Coefficients with the intercept last, for centred rows.
    sample_weight : ndarray of shape (n,), float64
        As given, or ones.
    labels : ndarray of shape (n,), int64, or None
        Each sample's class by its position in `classes`; None in a regression.
    classes : tuple
        The estimator's classes; empty in a regression.
    class_weight : dict, "balanced" or None
        The estimator's.
    counts : ndarray of shape (n,), float64, or None
        What each sample counts in balancing the classes; None where they are not balanced.
    """

    objective: LinearObjective
    theta: Floats
    sample_weight: Floats
    labels: NDArray[np.int64] | None
    classes: tuple[Any, ...]
    class_weight: Any
    counts: Floats | None

    def weights(self, kept: NDArray[np.bool_] | None = None) -> Floats:
        """Compute s_i as a fit to the samples of `kept` has it (all by default), nought for the others."""
        weights = self.sample_weight if kept is None else np.where(kept, self.sample_weight, 0.0)
        if self.labels is None or not self.class_weight:
            return weights
        if self.counts is not None:
            counts = self.counts if kept is None else np.where(kept, self.counts, 0.0)
            of_class = np.bincount(self.labels, counts, len(self.classes))
            # A class without a count has no sample whose weight could matter.
            factor = counts.sum() / (len(of_class) * np.where(of_class > 0, of_class, 1.0))
        else:
            factor = np.array([float(self.class_weight.get(each, 1.0)) for each in self.classes])
        return np.asarray(weights * factor[self.labels])

    def rebalanced(self, psi: Floats) -> Floats:
        """Add to each ψ_j what the refit's own balancing of the classes does when sample j goes.

        The weights of the class become 1 + q_j/Q_class times, all weights 1 − q_j/Q times what they
        were, to first order, with q the counts and Q their sums.
        """
        if self.counts is None or self.labels is None:
            return psi
        of_class = np.bincount(self.labels, self.counts, len(self.classes))
        by_class = np.bincount(self.labels, psi, len(self.classes))
        each = by_class / np.where(of_class > 0, of_class, 1.0)
        return np.asarray(psi - self.counts * (each[self.labels] - psi.sum() / self.counts.sum()))

    def on(self, X: ArrayLike, y: ArrayLike, suffix: str) -> LinearObjective:
        """Give the mean loss on other samples, ``X_suffix`` and ``y_suffix``: no penalty, no weights."""
        objective = self.objective
        k, d = objective.penalty.shape[0], objective.X.shape[1]
        features = _features(f"X_{suffix}", X, d)
        encoded = _labels_or_values(f"y_{suffix}", y, len(features), self.classes, k)
        return replace(
            objective,
            X=features,
            target=_target(encoded, objective.loss, k),
            penalty=np.zeros_like(objective.penalty),
            n=len(features),
        )

    def split(self, theta: Floats) -> tuple[Floats, Floats]:
        """Split θ into coefficients, shape (k, d), and intercepts, shape (k,), for rows as they are."""
        d = self.objective.X.shape[1]
        return theta[:, :d], theta[:, d:].sum(1) - theta[:, :d] @ self.objective.center

    def warn_if_far(self, slope: Slope) -> None:
        """Warn where ∇J at the estimator is of the size of its terms."""
        if slope.relative > _FAR_FROM_OPTIMUM:
            msg = (
                "the estimator is far from the optimum of its objective on X and y: the relative gradient "
                f"is {slope.relative:.2g}. Pass the X, y and sample_weight that it was fitted on, "
                "or fit it with a smaller tol"
            )
            warn(msg)


def read(estimator: Any, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None) -> Fitted:
    """Read the objective of a fitted estimator on its training data.

    Parameters
    ----------
    estimator : LogisticRegression, Ridge or RidgeClassifier
        Fitted.
    X : array_like of shape (n, d)
        Features.
    y : array_like of shape (n,) or (n, k)
        Classes or values.
    sample_weight : array_like of shape (n,), optional
        As given to fit.

    Returns
    -------
    Fitted

    Raises
    ------
    TypeError
        Another estimator, or arguments that are no arrays of numbers.
    ValueError
        Not fitted, an objective that is not smooth, shapes that do not fit.
    """
    kind = _kind(estimator)
    coefficients = _coefficients(estimator, kind)
    k, d = coefficients.shape
    features = _features("X", X, d)
    n = len(features)
    classes = () if kind == "Ridge" else tuple(estimator.classes_.tolist())
    encoded = _labels_or_values("y", y, n, classes, k)
    labels = encoded if classes else None
    if labels is not None:
        absent = np.flatnonzero(np.bincount(labels, minlength=len(classes)) == 0)
        if len(absent):
            msg = (
                f"y holds no sample of the class {classes[absent[0]]!r} that the estimator was fitted on; "
                "pass the data that it was fitted on"
            )
            raise ValueError(msg)
    weights = _sample_weight(sample_weight, n)

    loss: Loss = Squares() if kind != "LogisticRegression" else Logistic() if k == 1 else Softmax()
    intercept = bool(estimator.fit_intercept)
    penalty = np.zeros((k, d + intercept))
    if kind == "LogisticRegression":
        inverse = _penalty_factor(estimator, len(classes))
        penalty[:, :d] = inverse / n
        if intercept and estimator.solver == "liblinear":
            penalty[:, d] = inverse / n / estimator.intercept_scaling**2
    else:
        penalty[:, :d] = 2 * _alpha(estimator, k)[:, None] / n

    # A penalised intercept would pay for the shift.
    free = intercept and not penalty[:, d:].any()
    center = features.mean(0, dtype=np.float64) if free else np.zeros(d)
    theta = np.zeros((k, d + intercept))
    theta[:, :d] = coefficients
    if intercept:
        theta[:, d] = np.asarray(estimator.intercept_) + coefficients @ center
    class_weight = getattr(estimator, "class_weight", None)
    counts = None
    if isinstance(class_weight, str):
        counts = weights if kind == "LogisticRegression" and _balances_by_weight() else np.ones(n)
    return Fitted(
        LinearObjective(features, _target(encoded, loss, k), loss, penalty, intercept, center, n),
        theta,
        weights,
        labels,
        classes,
        class_weight,
        counts,
    )


def _kind(estimator: Any) -> str:
    """Name the class of scikit-learn that the estimator is, or is derived from."""
    names = [
        each.__name__ for each in type(estimator).__mro__ if each.__module__.partition(".")[0] == "sklearn"
    ]
    # The first says how it was fitted: LogisticRegressionCV, too, is derived from LogisticRegression.
    if not names or names[0] not in _KINDS:
        given = type(estimator).__name__
        way_out = _WAYS_OUT.get(names[0] if names else given)
        msg = f"estimator must be a {', '.join(_KINDS[:-1])} or {_KINDS[-1]} of scikit-learn, got {given}"
        raise TypeError(msg + (f"; {way_out}" if way_out else ""))
    return names[0]


def _coefficients(estimator: Any, kind: str) -> Floats:
    if not hasattr(estimator, "coef_"):
        msg = f"estimator is not fitted: call its fit first, got {estimator!r}"
        raise ValueError(msg)
    if hasattr(estimator.coef_, "toarray"):
        msg = "estimator has sparse coefficients; call its densify()"
        raise ValueError(msg)
    if getattr(estimator, "positive", False):
        msg = f"{kind}(positive=True) is a problem with constraints, which no Newton step solves; refit it"
        raise ValueError(msg)
    return np.atleast_2d(np.asarray(estimator.coef_, dtype=np.float64))


def _penalty_factor(estimator: Any, n_classes: int) -> float:
    """Give 1/C, nought without a penalty."""
    penalty = getattr(estimator, "penalty", "deprecated")
    l1_ratio = getattr(estimator, "l1_ratio", None) or 0.0
    if penalty == "l1" or (penalty in ("deprecated", "elasticnet") and l1_ratio > 0):
        asked = f"l1_ratio={l1_ratio!r}" if penalty == "deprecated" else f"penalty={penalty!r}"
        msg = (
            f"LogisticRegression with {asked} has an objective with kinks, which no Newton step follows; "
            "fit it with the L2 penalty (l1_ratio=0) or refit it without the samples"
        )
        raise ValueError(msg)
    multi_class = getattr(estimator, "multi_class", "auto")
    one_by_one = multi_class == "ovr" or getattr(estimator, "solver", None) == "liblinear"
    if (n_classes > 2 and one_by_one) or (n_classes == 2 and multi_class == "multinomial"):
        msg = (
            f"LogisticRegression with multi_class={multi_class!r} and solver={estimator.solver!r} on "
            f"{n_classes} classes is not one objective of this form; leave multi_class at its default and "
            "use solver='lbfgs'"
        )
        raise ValueError(msg)
    return 0.0 if penalty in (None, "none") else 1.0 / float(estimator.C)


def _alpha(estimator: Any, k: int) -> Floats:
    alpha = np.asarray(estimator.alpha, dtype=np.float64).ravel()
    if alpha.shape not in ((1,), (k,)):
        msg = f"alpha of the estimator must be one number or one for each of {k} targets, got {alpha.size}"
        raise ValueError(msg)
    return np.broadcast_to(alpha, (k,))


def _balances_by_weight() -> bool:
    """Tell whether this scikit-learn lets sample weights count in class_weight='balanced' (1.7 and later).

    The module is there: the estimator was made by it.
    """
    module = sys.modules.get("sklearn.utils.class_weight")
    return module is not None and "sample_weight" in inspect.signature(module.compute_class_weight).parameters


def _features(name: str, X: Any, d: int) -> NDArray[np.float32] | NDArray[np.float64]:
    if hasattr(X, "toarray"):
        msg = f"{name} is sparse; pass {name}.toarray() (the curvature is dense in any case)"
        raise TypeError(msg)
    array = as_floats(name, X, ndim=2)
    if array.shape[1] != d:
        msg = f"{name} must have the {d} features that the estimator was fitted on, got shape {array.shape}"
        raise ValueError(msg)
    if len(array) == 0:
        msg = f"{name} holds no samples"
        raise ValueError(msg)
    if not np.isfinite(array.sum()) and not (finite := np.isfinite(array)).all():
        row, column = np.argwhere(~finite)[0]
        msg = f"{name}[{row}, {column}] is {array[row, column]}; remove or fill in such values first"
        raise ValueError(msg)
    return array


def _labels_or_values(name: str, y: Any, n: int, classes: tuple[Any, ...], k: int) -> NDArray[Any]:
    """Give each sample's class by position, shape (n,), or its values, shape (n, k)."""
    if not classes:
        values = as_floats(name, y, ndim=(1, 2)).astype(np.float64, copy=False)
        if len(values) != n or values.size != n * k:
            wanted = f"({n},)" if k == 1 else f"({n}, {k})"
            msg = f"{name} must have shape {wanted}, as the estimator and X have it, got {values.shape}"
            raise ValueError(msg)
        if not np.isfinite(values).all():
            msg = f"{name} must be finite; remove such samples first"
            raise ValueError(msg)
        return values.reshape(n, k)
    given = as_array(name, y)
    if given.shape != (n,):
        msg = f"{name} must hold one class for each of {n} samples, shape ({n},), got shape {given.shape}"
        raise ValueError(msg)
    distinct, of = np.unique(given, return_inverse=True)
    where = {each: position for position, each in enumerate(classes)}
    unknown = [each for each in distinct.tolist() if each not in where]
    if unknown:
        msg = f"{name} holds the class {unknown[0]!r}, which the estimator was not fitted on: {list(classes)}"
        raise ValueError(msg)
    return np.array([where[each] for each in distinct.tolist()], dtype=np.int64)[of]


def _target(encoded: NDArray[Any], loss: Loss, k: int) -> NDArray[Any]:
    """Turn classes into what the loss reads: under squares, 1 for the class and −1 for the others."""
    if encoded.ndim == 2 or not isinstance(loss, Squares):
        return encoded
    # Of two classes the second has the one column.
    own = np.arange(k) if k > 1 else np.array([1])
    return np.where(encoded[:, None] == own, 1.0, -1.0)


def _sample_weight(sample_weight: Any, n: int) -> Floats:
    if sample_weight is None:
        return np.ones(n)
    weights = as_floats("sample_weight", sample_weight, ndim=1).astype(np.float64, copy=False)
    if weights.shape != (n,):
        msg = f"sample_weight must have shape ({n},), one for each sample, got {weights.shape}"
        raise ValueError(msg)
    bad = ~(np.isfinite(weights) & (weights >= 0))
    if bad.any():
        at = int(np.flatnonzero(bad)[0])
        msg = f"sample_weight[{at}] is {weights[at]}; weights must be finite and at least 0"
        raise ValueError(msg)
    return weights
