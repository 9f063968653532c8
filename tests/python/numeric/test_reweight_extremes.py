"""Numbers at the ends of their range: the weights and what is said of them stay true."""

import math
from fractions import Fraction

import numpy as np
import pytest

import puma_fast as pf


def objective(psi, weights, target, l1, l2):
    """‖Ψᵀλ − b‖² + l1·‖λ‖₁ + l2·‖λ‖² in rationals."""
    rows = [[Fraction(float(x)) for x in np.atleast_1d(row)] for row in psi]
    weights = [Fraction(float(weight)) for weight in weights]
    columns = zip(*rows, strict=True)
    effects = (sum(x * w for x, w in zip(column, weights, strict=True)) for column in columns)
    residuals = [
        effect - Fraction(b) for effect, b in zip(effects, np.atleast_1d(target).tolist(), strict=True)
    ]
    size, squares = sum(abs(w) for w in weights), sum(w * w for w in weights)
    return sum(r * r for r in residuals) + Fraction(l1) * size + Fraction(l2) * squares


@pytest.mark.parametrize("k", [1, 2])
@pytest.mark.parametrize("size", [1e-120, 1e-160, 1e-300])
@pytest.mark.parametrize("l2", [1.0, 1e100])
@pytest.mark.parametrize("box", [{}, {"lower": 0.5, "upper": 1000.0}])
def test_scores_that_are_nothing_beside_l2_leave_figures_that_are_numbers(k, size, l2, box):
    psi = size * np.outer([-1.5, 0.8, -0.5], [1.0, 0.5])[:, :k]
    weights, info = pf.solve_weights(psi, target=np.full(k, size), l1=0.0, l2=l2, **box, return_info=True)
    np.testing.assert_allclose(weights, np.full(3, box.get("lower", 0.0)), atol=1e-200)
    assert info.objective == pytest.approx(float(objective(psi, weights, [size] * k, 0, l2)), rel=1e-12)
    assert info.gap <= 1e-15 * info.objective + 1e-300


@pytest.mark.parametrize("l1", [5e-324, 1e-323, 1e-310])
def test_a_subnormal_price_is_next_to_none(l1):
    psi, box = np.array([-0.125, 0.375, -1.0]), {"lower": [-0.3, -1.9, -1.1], "upper": [0.5, -1.0, -1.0]}
    wanted = pf.solve_weights(psi, target=0.0, l1=0.0, l2=1.25, **box)
    weights, info = pf.solve_weights(psi, target=0.0, l1=l1, l2=1.25, **box, return_info=True)
    np.testing.assert_allclose(weights, wanted, rtol=1e-15)
    assert info.gap <= 1e-28


@pytest.mark.parametrize("k", [1, 2])
def test_a_bound_of_the_error_does_not_underflow_to_none(k):
    rng = np.random.default_rng(3)
    psi = 1e-150 * rng.normal(size=(9, k))
    weights, info = pf.solve_weights(psi, target=psi[:4].sum(axis=0), l1=0.0, l2=1e-300, return_info=True)
    best, _ = pf.solve_weights(
        1e150 * psi, target=1e150 * psi[:4].sum(axis=0), l1=0.0, l2=1.0, return_info=True
    )
    assert 0 < np.linalg.norm(weights - best) <= info.error_bound + 1e-15
    assert math.isfinite(info.error_bound)


def test_what_single_precision_rounds_to_nothing_counts_as_nothing():
    psi = np.array([-1.5, 0.8125, -0.5], dtype=np.float32) * np.float32(2.0**-120)
    weights, info = pf.solve_weights(psi, target=float(2.0**-120), l1=0.0, l2=1.0, return_info=True)
    assert not weights.any()
    assert (info.nnz, info.l1_norm, info.objective) == (0, 0.0, 2.0**-240)
    assert math.isfinite(info.gap)


def test_a_weight_that_the_price_cannot_tell_from_none_is_found():
    psi, l1 = np.array([-1.5061525e37, 8.151334e36, -5.050983e36], dtype=np.float32), 1.868491808102e64
    weights, info = pf.solve_weights(psi, target=1.2405728e28, l1=l1, l2=1e-30, upper=0, return_info=True)
    np.testing.assert_allclose(weights, [-7.824866e-10, 0, 0], rtol=1e-5)
    assert info.objective == pytest.approx(float(objective(psi, weights, 1.2405728e28, l1, 1e-30)), rel=1e-12)
    assert info.residual[0] == pytest.approx(float(psi[0]) * float(weights[0]) - 1.2405728e28, rel=1e-6)


@pytest.mark.parametrize("k", [2, 5])
def test_a_box_that_keeps_weights_from_zero_is_what_is_asked_for(k):
    """Also where b is 0, of which no gap is a small part."""
    rng = np.random.default_rng(k)
    for _ in range(30):
        psi = np.outer(rng.normal(size=9), rng.normal(size=k)) + 1e-7 * rng.normal(size=(9, k))
        lower = rng.normal(size=9)
        box = {"lower": lower, "upper": lower + np.abs(rng.normal(size=9))}
        _, info = pf.solve_weights(psi, target=np.zeros(k), l1=0.0, l2=1e-3, **box, return_info=True)
        assert info.status == "solved"
        assert info.gap <= 1e-14 * info.objective


@pytest.mark.parametrize("n", [3, 50, 3000])
@pytest.mark.parametrize("box", [{"lower": 0.0}, {"upper": 0.1}, {"lower": -0.2}])
@pytest.mark.parametrize("share", [0.0, 0.1])
def test_a_start_changes_no_bit_where_one_side_of_the_box_is_open(n, box, share):
    rng = np.random.default_rng(n)
    psi = rng.normal(size=n)
    target = float(np.abs(psi).sum()) * 0.1
    settings = {"target": target, "l1": 0.1, "l2": 0.01, "max_residual": share * target, **box}
    weights, info = pf.solve_weights(psi, **settings, return_info=True)
    assert info.status == "solved"
    for start in (info, 1.01 * info.price, -info.price):
        again, known = pf.solve_weights(psi, **settings, start=start, return_info=True)
        assert np.array_equal(again, weights)
        assert (known.gap, known.objective, known.price) == (info.gap, info.objective, info.price)


def test_a_wrong_start_is_told_in_one_line():
    with pytest.raises(ValueError, match=r"start needs .* got 100000 for 1$"):
        pf.solve_weights([1.0, 2.0], target=1.0, start=np.zeros(100_000))
    with pytest.raises(ValueError, match=r"start\[0\] = inf"):
        pf.solve_weights([1.0, 2.0], target=1.0, start=float("inf"))
