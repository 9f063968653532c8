"""What a user of solve_weights relies on, against independent solvers and by certificate."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog, lsq_linear, minimize, nnls
from sklearn.linear_model import ElasticNet

import puma_fast as pf


def solved(psi, mk=None, **kwargs):
    weights, info = pf.solve_weights(psi, mk, return_info=True, **kwargs)
    assert info.status == "solved", info
    return weights, info


def objective(psi, b, l1, l2, weights):
    r = np.atleast_1d(psi.T @ weights - b)
    return r @ r + l1 * np.abs(weights).sum() + l2 * weights @ weights


def slsqp(psi, b, l1, l2, lower, upper, limit=None):
    """λ = u − v with u, v ≥ 0, so that everything is smooth."""
    n = len(psi)
    Psi, b = psi.reshape(n, -1), np.atleast_1d(b)

    def value(x):
        weights = x[:n] - x[n:]
        r = Psi.T @ weights - b
        step = 2 * Psi @ r + 2 * l2 * weights
        return r @ r + l1 * x.sum() + l2 * weights @ weights, np.concatenate([step + l1, l1 - step])

    box = np.hstack([np.eye(n), -np.eye(n)])
    constraints = [
        {"type": "ineq", "fun": lambda x: upper - box @ x, "jac": lambda _: -box},
        {"type": "ineq", "fun": lambda x: box @ x - lower, "jac": lambda _: box},
    ]
    if limit is not None:
        row = psi @ box
        constraints += [
            {"type": "ineq", "fun": lambda x: limit - (row @ x - b[0]), "jac": lambda _: -row},
            {"type": "ineq", "fun": lambda x: limit + (row @ x - b[0]), "jac": lambda _: row},
        ]
    answer = minimize(
        value,
        np.concatenate([np.maximum(lower, 0), np.maximum(-upper, 0)]),
        jac=True,
        method="SLSQP",
        bounds=[(0, None)] * (2 * n),
        constraints=constraints,
        options={"ftol": 1e-15, "maxiter": 1000},
    )
    return answer.x[:n] - answer.x[n:]


def rational_price(psi, b, l1, l2):
    """The price z for one criterion without a box, exactly: supports are nested in |ψ|."""
    y = sorted((abs(Fraction(x)) for x in psi), reverse=True)
    b, l1, l2 = abs(Fraction(b)), Fraction(l1), Fraction(l2)
    total, squares, price = Fraction(0), Fraction(0), 2 * b
    for value in y:
        if price * value <= l1:
            break
        total, squares = total + value, squares + value * value
        price = (2 * l2 * b + l1 * total) / (l2 + squares)
    return price


@settings(max_examples=100, deadline=None)
@given(
    psi=st.lists(st.floats(-8, 8, width=32), min_size=1, max_size=200),
    b=st.floats(0.125, 32, width=32),
    l1=st.floats(0, 16, width=32),
    l2=st.floats(2**-20, 16, width=32),
)
def test_one_criterion_equals_the_rational_solution(psi, b, l1, l2):
    weights, info = pf.solve_weights(psi, target=b, l1=l1, l2=l2, return_info=True)
    price = rational_price(psi, b, l1, l2)
    exact = []
    for x in map(Fraction, psi):
        size = max(price * abs(x) - Fraction(l1), Fraction(0)) / (2 * Fraction(l2))
        exact.append(float(size if x > 0 else -size))
    assert np.abs(weights - exact).max() <= 1e-15 * np.abs(exact).max()
    assert info.gap <= 1e-24 * info.objective + 1e-30 * b * b


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("k", [1, 3])
def test_no_worse_than_slsqp(seed, k):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 10))
    psi = rng.standard_normal((n, k)) if k > 1 else rng.standard_normal(n)
    b = rng.standard_normal(k) * 3
    l1, l2 = rng.uniform(0, 2), rng.uniform(0.01, 1)
    lower = rng.uniform(-1, 0.5, n)
    upper = lower + rng.uniform(0, 2, n)
    target = b if k > 1 else b[0]
    weights, info = solved(psi, target=target, l1=l1, l2=l2, lower=lower, upper=upper)
    assert np.all(weights >= lower)
    assert np.all(weights <= upper)
    # SLSQP keeps its box to rounding only.
    theirs = np.clip(slsqp(psi, b, l1, l2, lower, upper), lower, upper)
    assert info.objective <= objective(psi, target, l1, l2, theirs) + 1e-12
    assert info.objective == pytest.approx(objective(psi, target, l1, l2, weights), rel=1e-12)
    assert np.linalg.norm(weights - theirs) <= 1e-5


@pytest.mark.parametrize("seed", range(20))
def test_max_residual_is_no_worse_than_slsqp(seed):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(2, 10))
    psi, b, limit = rng.standard_normal(n), rng.uniform(1, 3), rng.choice([0.0, 0.1, 0.5])
    lower, upper = np.full(n, -2.0), np.full(n, 2.0)
    weights, info = pf.solve_weights(
        psi, target=b, l1=0.5, l2=0.3, lower=-2, upper=2, max_residual=limit, return_info=True
    )
    reach = 2 * np.abs(psi).sum()
    assert (info.status == "infeasible") == (reach < b - limit)
    if info.status == "infeasible":
        assert info.reach == pytest.approx((-reach, reach))
        assert info.gap == np.inf
        assert abs(psi @ weights) == pytest.approx(reach)
    else:
        assert abs(info.residual[0]) <= limit * (1 + 1e-12) + 1e-14
        theirs = slsqp(psi, b, 0.5, 0.3, lower, upper, limit)
        assert info.objective <= objective(psi, b, 0.5, 0.3, theirs) + 1e-6
        assert np.linalg.norm(weights - theirs) <= 1e-5
        assert info.gap <= 1e-13 * info.objective


def test_least_squares_in_a_box_equals_bvls():
    rng = np.random.default_rng(3)
    psi, b = rng.standard_normal((8, 12)), rng.standard_normal(12)
    weights, _ = solved(psi, target=b, l1=0, l2=0, lower=-0.2, upper=0.3)
    theirs = lsq_linear(psi.T, b, bounds=(-0.2, 0.3), method="bvls", tol=1e-15).x
    np.testing.assert_allclose(weights, theirs, atol=1e-10)


def test_ridge_in_a_box_equals_bvls():
    rng = np.random.default_rng(4)
    psi, b = rng.standard_normal((9, 3)), rng.standard_normal(3) * 9
    weights, _ = solved(psi, target=b, l1=0, l2=0.5, lower=-0.2, upper=0.3)
    tall = np.vstack([psi.T, np.sqrt(0.5) * np.eye(9)])
    theirs = lsq_linear(tall, np.r_[b, np.zeros(9)], bounds=(-0.2, 0.3), method="bvls", tol=1e-15).x
    np.testing.assert_allclose(weights, theirs, atol=1e-10)


def test_nonnegative_least_squares_equals_nnls():
    rng = np.random.default_rng(5)
    psi, b = rng.standard_normal((6, 20)), rng.standard_normal(20)
    weights, _ = solved(psi, target=b, l1=0, l2=0, lower=0)
    np.testing.assert_allclose(weights, nnls(psi.T, b)[0], atol=1e-9)


@pytest.mark.parametrize("seed", range(5))
def test_a_hard_equation_without_l2_equals_the_linear_program(seed):
    rng = np.random.default_rng(seed)
    psi, b = rng.standard_normal(30), 5.0
    weights, info = solved(psi, target=b, l1=1, l2=0, lower=-0.5, upper=0.5, max_residual=0)
    program = linprog(np.ones(60), A_eq=[[*psi, *-psi]], b_eq=[b], bounds=(0, 0.5), method="highs")
    assert np.abs(weights).sum() == pytest.approx(program.fun, rel=1e-12)
    assert info.l1_norm == pytest.approx(program.fun, rel=1e-12)
    assert info.unique


@pytest.mark.parametrize("k", [2, 5, 16])
@pytest.mark.parametrize("l2", [0.0, 1e-4, 1.0])
def test_several_criteria_equal_elastic_net(k, l2):
    rng = np.random.default_rng(k)
    psi, b = rng.standard_normal((200, k)), rng.standard_normal(k) * 5
    l1 = 0.1 * np.abs(2 * psi @ b).max()
    weights, info = solved(psi, target=b, l1=l1, l2=l2)
    alpha, ratio = (l1 + 2 * l2) / (2 * k), l1 / (l1 + 2 * l2)
    net = ElasticNet(alpha=alpha, l1_ratio=ratio, fit_intercept=False, tol=1e-14, max_iter=10**6)
    theirs = net.fit(np.asfortranarray(psi.T), b).coef_
    assert info.objective <= objective(psi, b, l1, l2, theirs) * (1 + 1e-13)
    np.testing.assert_allclose(weights, theirs, atol=1e-6)


@pytest.mark.parametrize("k", [1, 4])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("order", ["normal", "sorted", "heavy", "zeros"])
def test_the_optimality_conditions_hold_at_scale(k, dtype, order):
    rng = np.random.default_rng(0)
    n = 200_000
    psi = rng.standard_cauchy((n, k)) if order == "heavy" else rng.standard_normal((n, k))
    if order == "sorted":
        psi = psi[np.argsort(psi[:, 0])]
    if order == "zeros":
        psi[rng.random(n) < 0.99] = 0
    psi = psi.astype(dtype)
    b = psi[:100].sum(axis=0, dtype=np.float64)
    weights, info = solved(psi, target=b, lower=-0.02, upper=0.01)
    assert weights.dtype == dtype
    low, high = dtype(-0.02), dtype(0.01)
    assert weights.min() >= low
    assert weights.max() <= high
    wide = psi.astype(np.float64)
    slope = 2 * wide @ info.residual + 2 * info.l2 * weights
    scale = info.l1 + 2 * np.abs(wide @ info.residual).max()
    tolerance = scale * (2e-5 if dtype is np.float32 else 1e-7)
    free = (weights > low) & (weights < high) & (weights != 0)
    assert np.all(np.abs(slope + info.l1 * np.sign(weights))[free] <= tolerance)
    assert np.all(np.abs(slope[weights == 0]) <= info.l1 + tolerance)
    assert np.all(slope[weights == high] <= -info.l1 + tolerance)
    assert np.all(slope[weights == low] >= info.l1 - tolerance)
    np.testing.assert_allclose(wide.T @ weights - b, info.residual, atol=1e-9 * np.abs(wide).sum())


def test_defaults_are_the_documented_ones():
    rng = np.random.default_rng(1)
    for psi in (rng.standard_normal(50), rng.standard_normal((50, 3))):
        mk = psi[:5] * 2
        _, info = solved(psi, mk)
        b = mk.sum(axis=0)
        l1_max = np.abs(2 * psi @ b if psi.ndim == 2 else 2 * psi * b).max()
        assert info.l1_max == pytest.approx(l1_max, rel=1e-14)
        assert info.l1 == pytest.approx(0.05 * l1_max, rel=1e-14)
        assert info.l2 == pytest.approx(1e-3 * (psi**2).sum() / (psi.shape[1:] or (1,))[0], rel=1e-14)


@pytest.mark.parametrize("k", [1, 3])
def test_every_way_to_hand_over_the_same_numbers_gives_the_same_bits(k):
    rng = np.random.default_rng(2)
    shape = (300, k) if k > 1 else 300
    psi, mk = rng.standard_normal(shape), rng.standard_normal(shape)[:9]
    wanted = pf.solve_weights(psi, mk)
    readonly = psi.copy()
    readonly.setflags(write=False)
    strided = np.repeat(psi, 2, axis=0)[::2]
    swapped = psi.astype(psi.dtype.newbyteorder())
    for same in (readonly, strided, np.asfortranarray(psi), swapped, psi.tolist(), torch.tensor(psi)):
        assert np.array_equal(pf.solve_weights(same, mk), wanted)
    for threads in (1, 2, 7):
        assert np.array_equal(pf.solve_weights(psi, mk, n_threads=threads), wanted)
    assert np.array_equal(pf.solve_weights(-psi, mk), -wanted)


def test_one_column_is_one_criterion():
    rng = np.random.default_rng(3)
    psi, mk = rng.standard_normal(500), rng.standard_normal(20)
    wanted, info = solved(psi, mk)
    column, other = solved(psi[:, None], mk[:, None])
    assert np.array_equal(column, wanted)
    assert (other.objective, other.gap) == (info.objective, info.gap)


@pytest.mark.parametrize("k", [1, 3])
def test_single_precision_differs_by_its_rounding(k):
    rng = np.random.default_rng(4)
    psi = rng.standard_normal((1000, k)).astype(np.float32)
    narrow, info = solved(psi, psi[:50])
    wide, exact = solved(psi.astype(np.float64), psi[:50])
    np.testing.assert_allclose(narrow, wide, rtol=1e-6, atol=1e-7 * np.abs(wide).max())
    assert exact.gap < info.gap
    assert np.linalg.norm(narrow - wide) <= info.error_bound + exact.error_bound


def test_objective_is_concave_in_the_prices_and_the_norm_falls():
    psi, mk = np.random.default_rng(5).standard_normal((2, 400))
    infos = [solved(psi, mk, l1=l1, l2=0.5)[1] for l1 in np.linspace(0, 40, 9)]
    assert np.all(np.diff([info.l1_norm for info in infos]) <= 1e-12)
    assert np.all(np.diff([info.objective for info in infos], 2) <= 1e-12)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(2, 4), st.booleans())
def test_the_gap_bounds_what_any_other_weights_achieve(seed, k, boxed):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 40))
    psi, b = rng.standard_normal((n, k)), rng.standard_normal(k)
    box = {"lower": -0.3, "upper": 0.2} if boxed else {}
    weights, info = solved(psi, target=b, l1=0.1, l2=0.01, **box)
    for _ in range(20):
        other = weights + rng.standard_normal(n) * 10.0 ** rng.uniform(-8, 0)
        other = np.clip(other, -0.3, 0.2) if boxed else other
        assert objective(psi, b, 0.1, 0.01, other) >= info.objective - info.gap - 1e-14


def test_too_few_steps_are_a_status():
    psi = np.random.default_rng(6).standard_normal((500, 4))
    _, info = pf.solve_weights(psi, psi[:50], l2=1e-6, max_iter=1, return_info=True)
    assert info.status == "max_iter"
    _, full = solved(psi, psi[:50], l2=1e-6)
    assert info.objective - info.gap <= full.objective <= info.objective


def test_statuses_and_summary():
    weights, info = pf.solve_weights(np.empty((0, 2)), target=[1.0, 2.0], return_info=True)
    assert (weights.shape, info.status, list(info.residual)) == ((0,), "empty", [-1.0, -2.0])
    weights, info = pf.solve_weights([0.0, 0.0], target=1.0, return_info=True)
    assert (list(weights), info.status) == ([0.0, 0.0], "no_effect")
    _, info = solved([2.0, 2.0], target=1.0, l1=1.0, l2=0.0)
    assert not info.unique
    assert info.error_bound == np.inf
    shown = str(info)
    assert all(name in shown for name in ("status", "solved", "gap", "error_bound", "l1_max", "nnz"))
    assert "reach" not in shown
    assert pf.solve_weights([1.0, 2.0], []).tolist() == [0.0, 0.0]


@pytest.mark.parametrize(
    ("psi", "kwargs", "error", "message"),
    [
        ([1.0], {}, ValueError, r"exactly one of psi_mk .* and target .* got neither"),
        ([1.0], {"psi_mk": [1.0], "target": 1.0}, ValueError, "got both"),
        ([1.0, np.nan], {"target": 1.0}, ValueError, r"psi_up\[1\] is NaN.*drop or replace"),
        ([1.0], {"psi_mk": [1.0, np.inf]}, ValueError, r"psi_mk\[1\] is inf"),
        ([1.0], {"target": np.nan}, ValueError, r"target\[0\] is NaN"),
        ([[1.0, 2.0]], {"target": 1.0}, ValueError, r"target must be of shape \(2,\).*got shape \(\)"),
        ([1.0], {"target": [1.0]}, ValueError, "target must be a number"),
        ([[1.0, 2.0]], {"psi_mk": [[1.0]]}, ValueError, "psi_mk must have as many columns"),
        ([[1.0, 2.0]], {"psi_mk": [1.0]}, ValueError, "psi_mk must be 2-dimensional"),
        (np.empty((3, 0)), {"target": []}, ValueError, "at least one"),
        (np.zeros((1, 1, 1)), {"target": 1.0}, ValueError, "psi_up must be 1-dimensional or 2-dimensional"),
        ([1.0], {"target": 1.0, "l1": -1}, ValueError, "l1 must be at least 0, got -1; leave it out"),
        ([1.0], {"target": 1.0, "l2": np.inf}, ValueError, "l2 must be finite.*got inf"),
        ([1.0], {"target": 1.0, "lower": 2, "upper": 1}, ValueError, r"lower\[0\] = 2, upper\[0\] = 1"),
        ([1.0], {"target": 1.0, "upper": [1.0, 2.0]}, ValueError, "upper must be a number or have one value"),
        ([1.0], {"target": 1.0, "lower": np.nan}, ValueError, "must be a number not above its upper bound"),
        ([1.0], {"target": 1.0, "max_residual": -1}, ValueError, "max_residual must be at least 0"),
        ([[1.0, 2.0]], {"target": [1, 2], "max_residual": 1}, ValueError, "single criterion.*2 criteria"),
        ([1.0], {"target": 1.0, "l1": np.inf, "max_residual": 1}, ValueError, "pass a finite l1"),
        ([1.0], {"target": 1.0, "tol": 0}, ValueError, "tol must be positive"),
        ([1.0], {"target": 1.0, "max_iter": 0}, ValueError, "max_iter must be at least 1"),
        ([1.0], {"target": 1.0, "n_threads": 0}, ValueError, "n_threads must be at least 1"),
        (["a"], {"target": 1.0}, TypeError, "psi_up must hold real numbers"),
        ([1j], {"target": 1.0}, TypeError, "psi_up must hold real numbers"),
        (torch.ones(2, requires_grad=True), {"target": 1.0}, TypeError, r"pass psi_up\.detach"),
        (torch.ones(2, device="meta"), {"target": 1.0}, TypeError, r"pass psi_up\.cpu"),
    ],
)
def test_refusals_name_the_argument_and_the_way_out(psi, kwargs, error, message):
    with pytest.raises(error, match=message):
        pf.solve_weights(psi, **kwargs)


@pytest.mark.parametrize("seed", range(20))
def test_the_gap_bounds_the_error_of_badly_scaled_ridge(seed):
    """l1 = 0, l2 > 0: the optimum is known, whatever the solver reached."""
    rng = np.random.default_rng(seed)
    psi = rng.standard_normal((30, 3)) * 10.0 ** rng.uniform(-3, 3, 3)
    b = rng.standard_normal(3) * 10.0 ** rng.uniform(-3, 3, 3)
    l2 = 10.0 ** rng.uniform(-9, 0)
    weights, info = pf.solve_weights(psi, target=b, l1=0.0, l2=l2, return_info=True)
    best = psi @ np.linalg.solve(psi.T @ psi + l2 * np.eye(3), b)

    def objective(w):
        return ((psi.T @ w - b) ** 2).sum() + l2 * (w**2).sum()

    excess = objective(weights) - objective(best)
    assert excess <= info.gap * (1 + 1e-9) + 1e-12 * objective(best) + 1e-13 * b @ b


@pytest.mark.parametrize("k", [None, 2])
@pytest.mark.parametrize("box", [{}, {"lower": 0.1, "upper": "rows"}])
def test_samples_without_a_score_are_left_out_on_request(k, box):
    """Their weight is 0, even where the box does not hold it, and the others are as without them."""
    rng = np.random.default_rng(5)
    psi = rng.standard_normal(50 if k is None else (50, k))
    upper = rng.uniform(1, 2, 50)
    b = np.ones(k or 1) if k else 1.0
    known = np.delete(np.arange(50), [0, 7, 49])
    bounds = {name: upper if value == "rows" else value for name, value in box.items()}
    fewer = {name: upper[known] if value == "rows" else value for name, value in box.items()}
    want, told = pf.solve_weights(psi[known], target=b, return_info=True, **fewer)
    given = psi.copy()
    given[[0, 7, 49]] = np.nan
    if k:
        given[7, 1] = 1.0
    out = np.full(50, 3.0)
    weights, info = pf.solve_weights(given, target=b, nan="omit", out=out, return_info=True, **bounds)
    assert weights is out
    np.testing.assert_array_equal(weights[known], want)
    assert not weights[[0, 7, 49]].any()
    assert (info.objective, info.gap, info.nnz) == (told.objective, told.gap, told.nnz)
    places, values = pf.solve_weights(given, target=b, nan="omit", sparse=True, **bounds)
    np.testing.assert_array_equal(places, np.flatnonzero(weights))
    np.testing.assert_array_equal(values, weights[places])
    path = pf.solve_weights_path(given, target=b, nan="omit", l1s=[told.l1], l2=told.l2, **bounds)
    np.testing.assert_allclose(path.weights[0], weights, rtol=1e-6, atol=1e-9)
    with pytest.raises(ValueError, match=r"psi_up\[.* is NaN"):
        pf.solve_weights(given, target=b, **bounds)
    with pytest.raises(ValueError, match=r"psi_mk\[.* is NaN"):
        pf.solve_weights(psi, given, nan="omit", **bounds)
    nobody, info = pf.solve_weights(np.full_like(psi, np.nan), target=b, nan="omit", return_info=True)
    assert info.status == "empty"
    assert not nobody.any()
