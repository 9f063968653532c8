"""Several criteria: independent solvers, the certificate against exact numbers, adversarial data."""

import itertools
import os
import subprocess
import sys
from fractions import Fraction

import numpy as np
import pytest
from scipy.optimize import lsq_linear
from sklearn.linear_model import ElasticNet

import puma_fast as pf
from numeric.shards import cut, in_shards


def solved(psi, b, **options):
    weights, info = pf.solve_weights(psi, target=b, return_info=True, **options)
    return weights, info


def exact_objective(psi, b, l1, l2, weights):
    """P(λ) in rational numbers."""
    w = [Fraction(float(x)) for x in weights]
    total = sum(abs(x) * Fraction(l1) + x * x * Fraction(l2) for x in w)
    for column, wanted in zip(psi.T, b, strict=True):
        used = [(Fraction(float(x)), y) for x, y in zip(column, w, strict=True) if y]
        total += (sum(x * y for x, y in used) - Fraction(float(wanted))) ** 2
    return total


def data(kind, n, k, rng):
    psi = rng.standard_normal((n, k))
    match kind:
        case "heavy":
            psi = rng.standard_cauchy((n, k))
        case "ties":
            psi = psi.round()
        case "zeros":
            psi[rng.random(n) < 0.99] = 0
        case "outlier":
            psi[n // 3] *= 1e6
        case "duplicate rows":
            psi = np.repeat(psi[: n // 5], 5, axis=0)
        case "duplicate columns":
            psi[:, 1:] = psi[:, :1]
        case "sorted":
            psi = psi[np.argsort(psi[:, 0])]
    return psi


KINDS = [
    "normal",
    "heavy",
    "ties",
    "zeros",
    "outlier",
    "duplicate rows",
    "duplicate columns",
    "sorted",
]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("l1", "l2"), [(0.3, 1e-9), (0.3, 1e-3), (0.01, 1e-3), (0.0, 1e-2), (0.7, 0.0)])
@pytest.mark.parametrize("n", [60, 9000])
def test_a_solve_ends_solved_at_the_optimality_conditions(kind, l1, l2, n):
    rng = np.random.default_rng(0)
    psi = data(kind, n, 5, rng)
    b = psi[::7].sum(axis=0) / 10 + (0 if kind == "duplicate columns" else 1)
    l1 = l1 * np.abs(2 * psi @ b).max()
    l2 = l2 * (psi**2).sum() / 5
    weights, info = solved(psi, b, l1=l1, l2=l2)
    assert info.status == "solved", info
    assert info.gap <= 1.1e-14 * (b @ b)
    slope = 2 * psi @ (psi.T @ weights - b) + 2 * l2 * weights
    tolerance = 1e-6 * max(l1, np.abs(2 * psi @ b).max())
    moves = weights != 0
    assert np.all(np.abs(slope + l1 * np.sign(weights))[moves] <= tolerance)
    assert np.all(np.abs(slope[~moves]) <= l1 + tolerance)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("share", [1e-12, 1e-9, 1e-6, 1e-3])
@pytest.mark.parametrize("l2", [0.0, 1e-12, 1e-6, 1e-2])
def test_the_gap_bounds_the_error_in_exact_numbers(seed, share, l2):
    """No step of one weight gains more than the gap, in rationals."""
    rng = np.random.default_rng(seed)
    n, k = 40, int(rng.integers(2, 6))
    psi, b = rng.standard_normal((n, k)), rng.standard_normal(k) * 3
    l1 = float(share * np.abs(2 * psi @ b).max())
    weights, info = solved(psi, b, l1=l1, l2=l2)
    assert info.gap <= 1e-11 * (b @ b), info
    mine = exact_objective(psi, b, l1, l2, weights)
    assert float(mine) == pytest.approx(info.objective, rel=1e-9, abs=1e-25)
    for j, step in itertools.product(range(n), (1e-3, -1e-3, 1e-8, -1e-8)):
        other = weights.copy()
        other[j] += step
        gained = mine - exact_objective(psi, b, l1, l2, other)
        assert float(gained) <= info.gap * (1 + 1e-9)


@pytest.mark.parametrize(("n", "k"), [(5000, 4), (20_000, 12)])
@pytest.mark.parametrize("share", [0.05, 0.4])
@pytest.mark.parametrize("l2", [0.0, 1e-8, 1e-4])
def test_the_working_set_equals_elastic_net(n, k, share, l2):
    rng = np.random.default_rng(n)
    psi, b = rng.standard_normal((n, k)), rng.standard_normal(k) * 5
    l1 = share * np.abs(2 * psi @ b).max()
    l2 = l2 * n
    _, info = solved(psi, b, l1=l1, l2=l2)
    assert info.status == "solved", info
    net = ElasticNet(
        alpha=(l1 + 2 * l2) / (2 * k),
        l1_ratio=l1 / (l1 + 2 * l2),
        fit_intercept=False,
        tol=1e-12,
        max_iter=10**5,
    )
    theirs = net.fit(np.asfortranarray(psi.T), b).coef_
    r = psi.T @ theirs - b
    objective = r @ r + l1 * np.abs(theirs).sum() + l2 * theirs @ theirs
    assert info.objective - info.gap <= objective * (1 + 1e-13)
    assert info.objective <= objective * (1 + 1e-11)


@pytest.mark.parametrize("n", [300, 30_000])
def test_ridge_equals_its_closed_form(n):
    rng = np.random.default_rng(1)
    psi, b = rng.standard_normal((n, 7)), rng.standard_normal(7)
    for l2 in (0.0, 1e-6, 1.0, 1e3 * n):
        weights, info = solved(psi, b, l1=0, l2=l2)
        theirs = psi @ np.linalg.solve(psi.T @ psi + l2 * np.eye(7), b)
        np.testing.assert_allclose(weights, theirs, rtol=0, atol=1e-6 * np.abs(theirs).max())
        assert info.status == "solved", info


def test_a_box_far_from_zero_is_kept_at_scale():
    rng = np.random.default_rng(2)
    n = 6000
    psi, b = rng.standard_normal((n, 3)), np.array([40.0, -3.0, 5.0])
    lower, upper = np.where(rng.random(n) < 0.3, 0.01, -0.02), np.full(n, 0.03)
    for l1, l2 in itertools.product((0.0, 20.0), (1.0, 400.0)):
        weights, info = solved(psi, b, l1=l1, l2=l2, lower=lower, upper=upper)
        assert info.status == "solved", info
        assert np.all((weights >= lower) & (weights <= upper))
        assert info.gap <= 1e-13 * (b @ b)
    box = {"lower": lower[:400], "upper": upper[:400]}
    weights, _ = solved(psi[:400], b, l1=0, l2=1.0, **box)
    tall = np.vstack([psi[:400].T, np.eye(400)])
    theirs = lsq_linear(tall, np.r_[b, np.zeros(400)], bounds=(lower[:400], upper[:400]), tol=1e-14).x
    np.testing.assert_allclose(weights, theirs, atol=1e-7)


@pytest.mark.parametrize("n", [200, 8000])
@pytest.mark.parametrize("power", [-480, -200, 200, 480])
def test_powers_of_two_change_no_bit(n, power):
    rng = np.random.default_rng(3)
    psi, b, c = rng.standard_normal((n, 4)), rng.standard_normal(4), 2.0**power
    for share in (0.05, 0.6):
        _, info = solved(psi, b)
        l1 = share * info.l1_max
        weights, _ = solved(psi, b, l1=l1)
        scaled, _ = solved(psi * c, b * c, l1=l1 * c * c)
        assert np.array_equal(scaled, weights)


@pytest.mark.parametrize("n", [200, 8000])
def test_signs_and_order_change_only_signs_and_order(n):
    rng = np.random.default_rng(4)
    psi, b = rng.standard_normal((n, 4)), rng.standard_normal(4)
    flips, order = rng.choice([-1.0, 1.0], n), rng.permutation(n)
    for share in (0.05, 0.6):
        l1 = share * np.abs(2 * psi @ b).max()
        weights, info = solved(psi, b, l1=l1)
        assert np.array_equal(solved(psi, -b, l1=l1)[0], -weights)
        assert np.array_equal(solved(psi * flips[:, None], b, l1=l1)[0], weights * flips)
        moved, _ = solved(psi[order], b, l1=l1)
        assert np.linalg.norm(moved - weights[order]) <= 3 * info.error_bound + 1e-9


def test_the_norm_falls_as_its_price_rises():
    rng = np.random.default_rng(5)
    psi, b = rng.standard_normal((7000, 6)), rng.standard_normal(6)
    top = np.abs(2 * psi @ b).max()
    infos = [solved(psi, b, l1=top * share, l2=3.0)[1] for share in np.linspace(0.02, 1.0, 12)]
    assert np.all(np.diff([info.l1_norm for info in infos]) <= 1e-9)
    assert np.all(np.diff([np.linalg.norm(info.residual) for info in infos]) >= -1e-9)
    assert np.all(np.diff([info.objective for info in infos]) >= -1e-9)
    assert infos[-1].nnz == 0


@pytest.mark.parametrize(("n", "k"), [(500, 3), (9000, 3), (9000, 40)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_threads_change_no_bit(n, k, dtype):
    rng = np.random.default_rng(6)
    psi = rng.standard_normal((n, k)).astype(dtype)
    for options in ({}, {"l1": 1e9, "lower": -1, "upper": -0.5}, {"l2": 0.0}):
        one = pf.solve_weights(psi, psi[:20], n_threads=1, **options)
        for threads in (2, 7):
            assert np.array_equal(pf.solve_weights(psi, psi[:20], n_threads=threads, **options), one)


@pytest.mark.parametrize(("n", "k"), [(700, 3), (6000, 3), (6000, 20)])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"l1": 0.0},
        {"l2": 0.0},
        {"share": 0.5, "l2": 1e-3},
        {"share": 0.2, "lower": -0.002, "upper": 0.001},
        {"lower": 0.001, "upper": 0.002},
    ],
    ids=str,
)
def test_shards_change_no_bit(n, k, options):
    rng = np.random.default_rng(7)
    psi, b = rng.standard_normal((n, k)), rng.standard_normal(k) * 4
    options = dict(options)
    if "share" in options:
        options["l1"] = options.pop("share") * np.abs(2 * psi @ b).max()
    weights, info = solved(psi, b, **options)
    for count in (1, 2, 7):
        parts = cut(psi, count, rng)

        def run(shard, parts=parts):
            return solved(parts[shard.index], b, shard=shard, n_threads=1, **options)

        results = in_shards(count, run)
        assert np.array_equal(np.concatenate([part for part, _ in results]), weights)
        for _, facts in results:
            assert str(facts) == str(info)
            assert (facts.gap, facts.objective) == (info.gap, info.objective)


@pytest.mark.parametrize("share", [0.02, 0.5])
def test_a_start_ends_at_the_same_optimum_sooner(share):
    rng = np.random.default_rng(8)
    psi, b = rng.standard_normal((20_000, 8)), rng.standard_normal(8)
    l1 = share * np.abs(2 * psi @ b).max()
    _, near = solved(psi, b, l1=l1 * 1.01, l2=1e-3)
    cold, info = solved(psi, b, l1=l1, l2=1e-3)
    warm, again = solved(psi, b, l1=l1, l2=1e-3, start=near.price)
    assert again.status == "solved"
    assert again.iterations < info.iterations
    assert np.linalg.norm(warm - cold) <= info.error_bound + again.error_bound


def test_the_instruction_sets_give_the_same_bits():
    script = (
        "import sys, numpy as np, puma_fast as pf\n"
        "rng = np.random.default_rng(0)\n"
        "for n, k in ((500, 3), (9000, 3), (9000, 40)):\n"
        "    psi = rng.standard_normal((n, k))\n"
        "    for l2 in (None, 0.0):\n"
        "        sys.stdout.write(pf.solve_weights(psi, psi[:20], l2=l2).tobytes().hex())\n"
    )
    outputs = {
        subprocess.run(
            [sys.executable, "-c", script],
            env={**os.environ, "PUMA_FAST_SIMD": level},
            capture_output=True,
            check=True,
        ).stdout
        for level in ("scalar", "avx2", "avx512")
    }
    assert len(outputs) == 1


@pytest.mark.parametrize("box", [None, 0.01, 1.0])
@pytest.mark.parametrize("kind", ["plain", "heavy tails", "one outlier", "steps"])
@pytest.mark.parametrize(("k", "n"), [(2, 9000), (4, 20000), (5, 9000), (17, 9000), (33, 20000)])
def test_no_tail_outlier_or_box_leaves_many_moving_weights_unsolved(k, n, kind, box):
    """Where a sample of the rows says little of the curvature, and kinks stop quasi-Newton steps."""
    rng = np.random.default_rng(k)
    psi = rng.standard_normal((n, k))
    if kind == "heavy tails":
        psi *= np.exp(2 * rng.standard_normal((n, 1)))
    elif kind == "one outlier":
        psi[rng.integers(n)] *= 1e4
    elif kind == "steps":
        psi = np.round(2 * psi)
    b = psi[: n // 10].sum(0)
    bounds = {} if box is None else {"lower": -box, "upper": box}
    steepest, squares = np.abs(2 * psi @ b).max(), (psi**2).sum() / k
    for l1, l2 in [(0.0, 1e-3), (1e-4, 1e-3), (0.01, 1e-5)]:
        weights, info = pf.solve_weights(
            psi, target=b, l1=l1 * steepest, l2=l2 * squares, return_info=True, **bounds
        )
        assert info.status == "solved", (l1, l2, info)
        assert info.gap <= 1.001e-14 * (b @ b)
        # The dual value at the price, by its definition.
        pulls = psi @ info.price
        sizes = np.maximum(np.abs(pulls) - info.l1, 0) / (2 * info.l2)
        best = np.clip(
            np.sign(pulls) * sizes, -np.inf if box is None else -box, np.inf if box is None else box
        )
        conjugate = (pulls * best - info.l1 * np.abs(best) - info.l2 * best**2).sum()
        dual = info.price @ b - info.price @ info.price / 4 - conjugate
        r = psi.T @ weights - b
        primal = r @ r + info.l1 * np.abs(weights).sum() + info.l2 * weights @ weights
        assert primal - dual <= 1e-12 * (b @ b + abs(dual))
