"""Regressions to unfit and to score: data of four kinds, and a logistic fit to the last digit."""

from __future__ import annotations

from functools import partial

import numpy as np
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import scale

Exact = partial(LogisticRegression, solver="newton-cholesky", tol=1e-13, max_iter=1000)


def cancer():
    X, y = load_breast_cancer(return_X_y=True)
    return scale(X), np.array(["malignant", "benign"])[y]


def digits():
    X, y = load_digits(return_X_y=True)
    kept = y < 5
    return X[kept] / 16, y[kept]


def diabetes():
    X, y = load_diabetes(return_X_y=True)
    return X + 3, y


def two_targets():
    X, y = load_diabetes(return_X_y=True)
    return X, np.column_stack([y, X[:, 0] * y])


DATA = {each.__name__: each() for each in (cancer, digits, diabetes, two_targets)}
