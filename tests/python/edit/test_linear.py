"""Unfitting a linear model is really refitting it, and the first-order step errs by the square."""

from __future__ import annotations

import pickle
import subprocess
import sys
from functools import partial
from itertools import pairwise

import numpy as np
import pytest
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression, Ridge, RidgeClassifier

import puma_fast as pf
from regressions import DATA, Exact, cancer, diabetes, digits, two_targets

CASES = {
    "binary": (cancer, Exact),
    "binary without intercept": (cancer, partial(Exact, fit_intercept=False)),
    "binary, weak penalty": (cancer, partial(Exact, C=100.0)),
    "binary, class weights": (cancer, partial(Exact, C=0.1, class_weight={"benign": 3.0})),
    "binary, balanced": (cancer, partial(Exact, class_weight="balanced")),
    "multinomial": (digits, Exact),
    "multinomial without intercept": (digits, partial(Exact, fit_intercept=False)),
    "multinomial, balanced": (digits, partial(Exact, C=0.1, class_weight="balanced")),
    "multinomial, class weights": (digits, partial(Exact, class_weight={3: 0.2, 4: 5})),
    "ridge": (diabetes, partial(Ridge, alpha=0.1)),
    "ridge without intercept": (diabetes, partial(Ridge, alpha=2.0, fit_intercept=False)),
    "ridge without penalty": (diabetes, partial(Ridge, alpha=0.0)),
    "ridge, targets": (two_targets, partial(Ridge, alpha=0.1)),
    "ridge, an alpha per target": (two_targets, partial(Ridge, alpha=[0.1, 3.0])),
    "ridge classifier, two classes": (cancer, RidgeClassifier),
    "ridge classifier": (digits, partial(RidgeClassifier, alpha=0.5)),
    "ridge classifier, balanced": (digits, partial(RidgeClassifier, class_weight="balanced")),
}


def numbers(estimator):
    return np.concatenate([np.ravel(estimator.coef_), np.ravel(estimator.intercept_)])


def predicted(estimator, X):
    return estimator.decision_function(X) if hasattr(estimator, "classes_") else estimator.predict(X)


def apart(one, other):
    """Largest difference of two estimators' coefficients in units of the largest coefficient."""
    return np.abs(numbers(one) - numbers(other)).max() / np.abs(numbers(other)).max()


@pytest.fixture(params=CASES)
def case(request):
    data, make = CASES[request.param]
    return make, *DATA[data.__name__]


@pytest.mark.parametrize("weighted", [False, True], ids=["", "weighted"])
def test_it_is_the_refit(case, weighted):
    make, X, y = case
    rng = np.random.default_rng(0)
    weight = rng.uniform(0.2, 3.0, len(X)) if weighted else None
    ids = rng.choice(len(X), 20, replace=False)
    kept = np.setdiff1d(np.arange(len(X)), ids)
    fitted = make().fit(X, y, sample_weight=weight)
    refit = make().fit(X[kept], y[kept], sample_weight=None if weight is None else weight[kept])
    assert apart(fitted, refit) > 1e-4
    without, info = pf.unfit(fitted, X, y, ids, sample_weight=weight, return_info=True)
    assert apart(without, refit) < 1e-10
    assert without.coef_.shape == refit.coef_.shape
    assert np.shape(without.intercept_) == np.shape(refit.intercept_)
    assert type(without.intercept_) is type(refit.intercept_)
    np.testing.assert_allclose(predicted(without, X), predicted(refit, X), rtol=1e-7, atol=1e-9)
    assert info.converged
    assert info.gradient_after <= info.tol < 1e-4 < info.gradient_before
    assert info.gradient_fitted < 1e-10
    np.testing.assert_array_equal(info.removed, np.sort(ids))
    one_step = pf.unfit(fitted, X, y, ids, sample_weight=weight, newton_steps=1)
    first_order = pf.unfit(fitted, X, y, ids, sample_weight=weight, newton_steps=0)
    if isinstance(fitted, LogisticRegression):
        assert info.newton_steps >= 2
        assert apart(one_step, refit) < apart(first_order, refit)
    else:
        assert info.newton_steps == 1
        assert apart(one_step, refit) < 1e-10
    assert 1e-8 < apart(first_order, refit) < 0.6 * apart(fitted, refit)


# One step is exact for ridge, and in RidgeClassifier's balancing a row counts whole whatever it weighs.
STEPS = [
    (name, steps)
    for name in CASES
    for steps in (0, 1)
    if not (name.startswith("ridge") and (steps == 1 or "balanced" in name))
]


@pytest.mark.parametrize(("name", "newton_steps"), STEPS)
def test_a_step_errs_by_the_square_of_the_removed_weight(name, newton_steps):
    """One sample in two rows that share its weight: the error falls fourfold per halving."""
    data, make = CASES[name]
    X, y = DATA[data.__name__]
    rng = np.random.default_rng(0)
    fitted = make().fit(X, y)

    def moved(j):
        return apart(pf.unfit(fitted, X, y, [j], newton_steps=0), fitted)

    # Most samples far from the boundary move nothing but the last digit.
    sample = max(rng.choice(len(X), 20, replace=False), key=moved)
    X, y = np.vstack([X, X[sample]]), np.concatenate([y, y[[sample]]])
    parts, errors = [0.2, 0.1, 0.05, 0.025], []
    for part in parts:
        weight = np.ones(len(X))
        weight[[sample, -1]] = 1 - part, part
        fitted = make().fit(X, y, sample_weight=weight)
        refit = make().fit(X[:-1], y[:-1], sample_weight=weight[:-1])
        without = pf.unfit(fitted, X, y, [len(X) - 1], sample_weight=weight, newton_steps=newton_steps)
        errors.append(np.linalg.norm(numbers(without) - numbers(refit)))
    slope = np.polyfit(np.log(parts), np.log(errors), 1)[0]
    assert slope == pytest.approx(2, abs=0.1)


@pytest.mark.parametrize("newton_steps", [0, None])
def test_the_estimator_and_the_data_are_untouched(case, newton_steps):
    make, X, y = case
    fitted = make().fit(X, y)
    X, y, ids = X.copy(), y.copy(), np.array([5, 3])
    before = pickle.dumps((fitted, X, y, ids))
    for array in (X, y, ids):
        array.flags.writeable = False
    without = pf.unfit(fitted, X, y, ids, newton_steps=newton_steps)
    for array in (X, y, ids):
        array.flags.writeable = True
    assert pickle.dumps((fitted, X, y, ids)) == before
    assert type(without) is type(fitted)
    assert not np.shares_memory(without.coef_, fitted.coef_)
    assert without.get_params() == fitted.get_params()


def test_liblinear_penalises_the_intercept():
    X, y = DATA["cancer"]
    make = partial(
        LogisticRegression, solver="liblinear", tol=1e-10, max_iter=100_000, intercept_scaling=2.0, C=0.1
    )
    fitted, refit = make().fit(X, y), make().fit(X[9:], y[9:])
    without = pf.unfit(fitted, X, y, range(9))
    # liblinear stops early by its own measure; the difference must be all its own.
    assert apart(without, refit) < 1e-3 * apart(fitted, refit)
    _, info = pf.unfit(refit, X[9:], y[9:], [0], return_info=True)
    assert info.gradient_fitted < 1e-6


def test_without_a_penalty():
    X, y = DATA["cancer"][0][:, :2], DATA["cancer"][1]
    make = partial(Exact, C=np.inf)
    assert apart(pf.unfit(make().fit(X, y), X, y, range(9)), make().fit(X[9:], y[9:])) < 1e-10
    X, y = load_iris(return_X_y=True)
    X, kept = X[:, :2], np.arange(150) % 10 > 0
    y = y[np.random.default_rng(0).permutation(150)]
    without, refit = pf.unfit(make().fit(X, y), X, y, ~kept), make().fit(X[kept], y[kept])
    assert apart(without, refit) < 1e-10


def test_a_loosely_fitted_estimator_is_brought_to_the_refit():
    X, y = DATA["digits"]
    loose, refit = LogisticRegression(max_iter=1000).fit(X, y), Exact().fit(X[5:], y[5:])
    without, info = pf.unfit(loose, X, y, range(5), return_info=True)
    assert info.gradient_fitted > 1e-5
    assert apart(without, refit) < 1e-10
    # The first-order step, too, makes up for both the samples and what the estimator left undone.
    again = pf.unfit(loose, X, y, range(5), newton_steps=0)
    assert apart(again, refit) < 1.5 * apart(
        pf.unfit(Exact().fit(X, y), X, y, range(5), newton_steps=0), refit
    )
    assert apart(again, refit) < 0.1 * apart(loose, refit)


def test_steps_converge_and_are_counted():
    X, y = DATA["cancer"]
    fitted, refit = Exact(C=10.0).fit(X, y), Exact(C=10.0).fit(X[60:], y[60:])
    errors = []
    for steps in range(1, 6):
        without, info = pf.unfit(fitted, X, y, range(60), newton_steps=steps, return_info=True)
        errors.append(apart(without, refit))
        assert info.newton_steps == steps or info.converged
    assert all(after < before or after < 1e-12 for before, after in pairwise(errors))
    assert repr(info).startswith("UnfitInfo: 60 of 569 samples removed by")


def test_most_of_the_data_can_go():
    """Far from the new optimum a full step overshoots: backtracking finds the way."""
    X, y = DATA["cancer"]
    rng = np.random.default_rng(3)
    kept = rng.choice(len(X), 60, replace=False)
    ids = np.setdiff1d(np.arange(len(X)), kept)
    make = partial(Exact, C=1000.0)
    without, info = pf.unfit(make().fit(X, y), X, y, ids, return_info=True)
    assert info.converged
    assert apart(without, make().fit(X[np.sort(kept)], y[np.sort(kept)])) < 1e-9


def test_ill_scaled_columns_keep_their_digits():
    """Means of a million deviations, units apart by 1e9."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(400, 3))
    y = (X.sum(1) + rng.logistic(size=400) > 0).astype(int)
    units, shift = np.array([1e-5, 1.0, 1e4]), np.array([10.0, 1e6, 3e9])
    plain = pf.unfit(Exact(C=np.inf).fit(X, y), X, y, range(20))
    there = Exact(C=np.inf).fit(X[20:], y[20:])
    assert apart(plain, there) < 1e-10
    moved = X * units + shift
    start = Exact(C=np.inf).fit(X, y)
    start.intercept_ = start.intercept_ - start.coef_ @ (shift / units)
    start.coef_ = start.coef_ / units
    np.testing.assert_allclose(pf.unfit(start, moved, y, range(20)).coef_ * units, there.coef_, rtol=1e-7)


def test_forms_of_the_same_data():
    X, y = DATA["cancer"]
    fitted = Exact().fit(X, y)
    expected = pf.unfit(fitted, X, y, [3, 8])
    mask = np.zeros(len(X), dtype=bool)
    mask[[3, 8]] = True
    for features in (np.asfortranarray(X), X.tolist(), np.repeat(X, 2, 1)[:, ::2]):
        np.testing.assert_array_equal(pf.unfit(fitted, features, list(y), mask).coef_, expected.coef_)
    narrow = Exact(tol=1e-5).fit(X.astype(np.float32), y)
    without = pf.unfit(narrow, X.astype(np.float32), y, np.array([8, 3]))
    assert without.coef_.dtype == np.float32
    assert apart(without, expected) < 1e-4


def test_a_class_of_its_own_is_recognised():
    class Mine(LogisticRegression):
        pass

    X, y = DATA["cancer"]
    without = pf.unfit(Mine().fit(X, y), X, y, [0])
    assert type(without) is Mine


def test_no_torch_and_no_scikit_learn_are_loaded():
    code = (
        "import sys, numpy as np, puma_fast as pf\n"
        "pf.unfit, pf.linear_influence\n"
        "assert not {'torch', 'sklearn', 'scipy'} & set(sys.modules)\n"
        "from sklearn.linear_model import Ridge\n"
        "X = np.random.default_rng(0).normal(size=(20, 2))\n"
        "ridge = Ridge().fit(X, X[:, 0])\n"
        "pf.unfit(ridge, X, X[:, 0], [1]); pf.linear_influence(ridge, X, X[:, 0], X, X[:, 0])\n"
        "assert 'torch' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
