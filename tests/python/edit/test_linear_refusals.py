"""What cannot be unfitted is refused by name; what looks odd is warned of."""

from __future__ import annotations

import copy

import numpy as np
import pytest
from scipy import sparse
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import LogisticRegression, LogisticRegressionCV, Ridge, RidgeCV, SGDClassifier
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler, scale

import puma_fast as pf
from regressions import DATA, Exact


def fitted_cancer(**settings):
    return Exact(**settings).fit(*DATA["cancer"])


def changed(estimator, **attributes):
    estimator = copy.copy(estimator)
    for name, value in attributes.items():
        setattr(estimator, name, value)
    return estimator


X, Y = DATA["cancer"]
CLASS = np.flatnonzero(Y == "benign")
WITH_NAN = X.copy()
WITH_NAN[7, 2] = np.nan

REFUSALS = {
    "nothing": ({"ids": []}, ValueError, "ids is empty"),
    "an empty mask": ({"ids": np.zeros(569, bool)}, ValueError, "marks no sample"),
    "a short mask": ({"ids": np.ones(5, bool)}, ValueError, r"mask of shape \(5,\); X has 569"),
    "twice": ({"ids": [4, 9, 4]}, ValueError, "ids holds 4 more than once"),
    "out of range": ({"ids": [569]}, ValueError, "ids holds 569; positions run from 0 to 568"),
    "negative": ({"ids": [-1]}, ValueError, "ids holds -1"),
    "fractions": ({"ids": [0.5]}, ValueError, "integer positions"),
    "all": ({"ids": range(569)}, ValueError, "ids mark all 569 samples"),
    "a class": ({"ids": CLASS}, ValueError, "every sample of the class 'benign'"),
    "a class but for its weight": (
        {"ids": CLASS[1:], "sample_weight": np.where(np.arange(569) == CLASS[0], 0.0, 1.0)},
        ValueError,
        "every sample of the class 'benign'",
    ),
    "sparse": ({"X": sparse.csr_array(X)}, TypeError, r"X is sparse; pass X.toarray\(\)"),
    "other features": ({"X": X[:, 1:]}, ValueError, r"X must have the 30 features .* \(569, 29\)"),
    "one row": ({"X": X[0]}, ValueError, "X must be 2-dimensional"),
    "no rows": ({"X": X[:0], "y": Y[:0]}, ValueError, "X holds no samples"),
    "text": ({"X": X.astype(str)}, TypeError, "X must hold real numbers"),
    "NaN": ({"X": WITH_NAN}, ValueError, r"X\[7, 2\] is nan"),
    "fewer y": ({"y": Y[1:]}, ValueError, r"y must hold one class for each of 569 samples"),
    "y in a column": ({"y": Y[:, None]}, ValueError, r"shape \(569,\), got shape \(569, 1\)"),
    "an unknown class": ({"y": np.where(np.arange(569) == 3, "other", Y)}, ValueError, "class 'other'"),
    "a missing class": ({"y": np.full(569, "benign")}, ValueError, "no sample of the class 'malignant'"),
    "short weights": ({"sample_weight": np.ones(3)}, ValueError, r"sample_weight must have shape \(569,\)"),
    "a negative weight": (
        {"sample_weight": np.where(np.arange(569) == 5, -1.0, 1.0)},
        ValueError,
        r"sample_weight\[5\] is -1.0",
    ),
    "half a step": ({"newton_steps": 0.5}, TypeError, "newton_steps must be an integer, got 0.5"),
    "a step back": ({"newton_steps": -1}, ValueError, "newton_steps must be at least 0, got -1"),
    "no tolerance": (
        {"tol": 0},
        ValueError,
        "tol must be a number between 0 and 1, a relative gradient, got 0",
    ),
    "not fitted": ({"estimator": LogisticRegression()}, ValueError, "not fitted: call its fit"),
    "a pipeline": (
        {"estimator": make_pipeline(StandardScaler(), Exact())},
        TypeError,
        r"got Pipeline; pass its last step, pipeline\[-1\]",
    ),
    "a search": ({"estimator": GridSearchCV(Exact(), {"C": [1]})}, TypeError, "best_estimator_"),
    "its own search": (
        {"estimator": LogisticRegressionCV(l1_ratios=(0,), use_legacy_attributes=False)},
        TypeError,
        "fit LogisticRegression at the C_",
    ),
    "ridge's own search": ({"estimator": RidgeCV()}, TypeError, "fit Ridge at the alpha_"),
    "another estimator": ({"estimator": SGDClassifier()}, TypeError, "got SGDClassifier$"),
    "no estimator": ({"estimator": 3}, TypeError, "got int$"),
    "l1": (
        {"estimator": LogisticRegression(l1_ratio=1, solver="liblinear").fit(X, Y)},
        ValueError,
        "l1_ratio=1 has an objective with kinks",
    ),
    "l1 by its old name": (
        {"estimator": changed(fitted_cancer(), penalty="l1")},
        ValueError,
        "penalty='l1' has an objective with kinks",
    ),
    "elastic net": (
        {"estimator": changed(fitted_cancer(), l1_ratio=0.5)},
        ValueError,
        "l1_ratio=0.5 has an objective with kinks",
    ),
    "sparse coefficients": (
        {"estimator": copy.deepcopy(fitted_cancer()).sparsify()},
        ValueError,
        r"call its densify\(\)",
    ),
    "multinomial on two classes": (
        {"estimator": changed(fitted_cancer(), multi_class="multinomial")},
        ValueError,
        "leave multi_class at its default",
    ),
    "singular": (
        {"X": X[:, [0, 0]], "estimator": LogisticRegression(C=np.inf).fit(X[:, [0, 0]], Y)},
        ValueError,
        "curvature .* is singular: .* collinear",
    ),
    "constant": (
        {"X": 0 * X[:, :2], "estimator": LogisticRegression(C=np.inf).fit(0 * X[:, :2], Y)},
        ValueError,
        "curvature .* is singular: columns of X are constant",
    ),
}


@pytest.mark.parametrize("why", REFUSALS)
def test_what_cannot_be_is_refused_by_name(why):
    arguments, kind, message = REFUSALS[why]
    with pytest.raises(kind, match=message):
        pf.unfit(**{"estimator": fitted_cancer(), "X": X, "y": Y, "ids": [1]} | arguments)


def test_one_against_the_rest_is_refused():
    X, y = DATA["digits"]
    fitted = Exact().fit(X, y)
    for settings in ({"multi_class": "ovr"}, {"solver": "liblinear"}):
        with pytest.raises(ValueError, match="on 5 classes is not one objective"):
            pf.unfit(changed(fitted, **settings), X, y, [1])


def test_what_ridge_refuses():
    X, y = DATA["two_targets"]
    with pytest.raises(ValueError, match=r"Ridge\(positive=True\)"):
        pf.unfit(Ridge(positive=True).fit(X, y), X, y, [1])
    fitted = Ridge().fit(X, y)
    with pytest.raises(ValueError, match=r"y must have shape \(442, 2\), .* got \(442,\)"):
        pf.unfit(fitted, X, y[:, 0], [1])
    with pytest.raises(ValueError, match=r"y must be finite"):
        pf.unfit(fitted, X, np.where(y > y.mean(), np.inf, y), [1])
    with pytest.raises(ValueError, match=r"alpha of the estimator .* each of 2 targets, got 3"):
        pf.unfit(changed(fitted, alpha=[1, 2, 3]), X, y, [1])


def test_other_data_than_it_was_fitted_on_is_noticed():
    X, y = load_breast_cancer(return_X_y=True)
    fitted = Exact().fit(scale(X), y)
    with pytest.warns(UserWarning, match="Pass the X, y and sample_weight that it was fitted on"):
        pf.unfit(fitted, scale(X) + 1, y, [3], newton_steps=0)


def test_what_has_no_minimum_is_said():
    X = np.array([[-2.0], [-1.0], [0.5], [1.0], [2.0]])
    y = np.array([0, 0, 1, 0, 1])
    fitted = Exact(C=np.inf).fit(X, y)
    assert np.isfinite(fitted.coef_).all()
    # Without the one sample out of order the classes are separable.
    with pytest.warns(RuntimeWarning, match="separable classes"):
        _, info = pf.unfit(fitted, X, y, [2], return_info=True)
    assert not info.converged
