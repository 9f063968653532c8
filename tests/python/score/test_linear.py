"""Influence of the samples of a linear model: against refits, in sign, size and order of error."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits
from sklearn.linear_model import Ridge, RidgeClassifier
from sklearn.metrics import log_loss, mean_squared_error
from sklearn.preprocessing import scale

import puma_fast as pf
from regressions import Exact, two_targets


def cancer():
    X, y = load_breast_cancer(return_X_y=True)
    return scale(X), y


def digits():
    X, y = load_digits(n_class=4, return_X_y=True)
    return X / 16, y


def cross_entropy(estimator, X, y):
    return log_loss(y, estimator.predict_proba(X))


def squares(estimator, X, y):
    return mean_squared_error(y, estimator.predict(X)) * (y.shape[1] if y.ndim == 2 else 1)


def signed_squares(estimator, X, y):
    sign = 2.0 * (y[:, None] == estimator.classes_) - 1
    outputs = estimator.decision_function(X)
    return ((outputs - (sign if outputs.ndim == 2 else sign[:, 1])).reshape(len(X), -1) ** 2).sum(1).mean()


CASES = {
    "binary": (cancer, Exact, cross_entropy),
    "balanced": (cancer, partial(Exact, class_weight="balanced"), cross_entropy),
    "multinomial": (digits, Exact, cross_entropy),
    "multinomial, balanced": (digits, partial(Exact, class_weight="balanced"), cross_entropy),
    "no intercept": (digits, partial(Exact, fit_intercept=False, class_weight={1: 3}), cross_entropy),
    "ridge": (lambda: load_diabetes(return_X_y=True), partial(Ridge, alpha=0.1), squares),
    "ridge, alphas": (two_targets, partial(Ridge, alpha=[0.1, 3]), squares),
    "ridge classifier": (digits, partial(RidgeClassifier, class_weight={2: 2}), signed_squares),
    "ridge classifier, two classes": (cancer, RidgeClassifier, signed_squares),
}


@pytest.fixture(params=CASES)
def case(request):
    data, make, criterion = CASES[request.param]
    X, y = data()
    n = len(X) // 2
    return make, criterion, X[:n], y[:n], X[n:], y[n:]


def test_the_error_falls_fourfold_per_halving(case):
    """ψ_j times the removed weight is the change of the held-out loss, to second order, at any leverage."""
    make, criterion, X, y, X_out, y_out = case
    rng = np.random.default_rng(0)
    weight = rng.uniform(0.5, 2.0, len(X))
    n, parts = len(X), [0.2, 0.1, 0.05, 0.025]
    fitted = make().fit(X, y, sample_weight=weight)
    psi = pf.linear_influence(fitted, X, y, X_out, y_out, sample_weight=weight)
    start = criterion(fitted, X_out, y_out)
    slopes = []
    for sample in np.argsort(np.abs(psi))[[-1, -2, -3, -10, -30]]:
        errors = []
        for part in parts:
            less = weight.copy()
            less[sample] *= 1 - part
            moved = criterion(make().fit(X, y, sample_weight=less), X_out, y_out) - start
            errors.append(abs(moved - part * psi[sample] / n))
        if min(errors) > 1e-12 * start:
            slopes.append(np.polyfit(np.log(parts), np.log(errors), 1)[0])
    assert len(slopes) >= 3
    np.testing.assert_allclose(slopes, 2, atol=0.1)


def test_balancing_by_counts_is_part_of_the_score():
    """RidgeClassifier counts samples whole when it balances, so of many copies one is removed."""
    X, y = cancer()
    X_out, y_out = X[300:], y[300:]
    copies = 10
    X, y = np.tile(X[:300], (copies, 1)), np.tile(y[:300], copies)
    n, weight = len(X), np.random.default_rng(0).uniform(0.5, 2.0, len(X))
    make = partial(RidgeClassifier, class_weight="balanced", alpha=20.0 * copies)
    fitted = make().fit(X, y, sample_weight=weight)
    psi = pf.linear_influence(fitted, X, y, X_out, y_out, sample_weight=weight)
    start = signed_squares(fitted, X_out, y_out)
    chosen = np.arange(0, 300, 10)
    moved = []
    for j in chosen:
        refit = make().fit(np.delete(X, j, 0), np.delete(y, j), sample_weight=np.delete(weight, j))
        moved.append(n * (signed_squares(refit, X_out, y_out) - start))
    assert np.linalg.norm(moved - psi[chosen]) < 0.02 * np.linalg.norm(psi[chosen])


def test_wrong_labels_have_the_lowest_scores():
    X, y = cancer()
    rng = np.random.default_rng(0)
    wrong = rng.choice(400, 10, replace=False)
    y[wrong] = 1 - y[wrong]
    fitted = Exact().fit(X[:400], y[:400])
    psi = pf.linear_influence(fitted, X[:400], y[:400], X[400:], y[400:])
    assert len(set(np.argsort(psi)[:20]) & set(wrong)) >= 7
    better = pf.unfit(fitted, X[:400], y[:400], np.argsort(psi)[:10])
    assert cross_entropy(better, X[400:], y[400:]) < cross_entropy(fitted, X[400:], y[400:])


def test_what_does_not_fit_is_refused_by_name():
    X, y = cancer()
    fitted = Exact().fit(X, y)
    with pytest.raises(ValueError, match="X_holdout must have the 30 features"):
        pf.linear_influence(fitted, X, y, X[:, 1:], y)
    with pytest.raises(ValueError, match="X_holdout holds no samples"):
        pf.linear_influence(fitted, X, y, X[:0], y[:0])
    with pytest.raises(ValueError, match="y_holdout holds the class 2"):
        pf.linear_influence(fitted, X, y, X, y + 1)
    with pytest.raises(TypeError, match="estimator must be a LogisticRegression"):
        pf.linear_influence(None, X, y, X, y)
    with pytest.warns(UserWarning, match="far from the optimum"):
        pf.linear_influence(fitted, X, 1 - y, X, y)
