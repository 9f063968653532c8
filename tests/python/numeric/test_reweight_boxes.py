"""A box for every sample, and none of l2: every road gives the same bits, and the right weights."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

import puma_fast as pf
from numeric.patterns import PATTERNS
from numeric.shards import in_shards

COUNT = 70_001
"""Enough for a sample to say where to look."""


def boxes(psi, most):
    """Boxes around zero, beside it, of one point and open to one side."""
    rng = np.random.default_rng(2)
    lower = (-most * rng.uniform(-0.1, 1, len(psi))).astype(psi.dtype)
    upper = (lower + most * rng.choice([0.0, 0.5, 2.0], len(psi)) * rng.random(len(psi))).astype(psi.dtype)
    open_to = rng.random(len(psi))
    lower[open_to < 0.01], upper[open_to > 0.99] = -np.inf, np.inf
    return lower, upper


def problem(pattern, setting, dtype=np.float64):
    """Prices and boxes relative to the data's own scale, so that each setting means the same everywhere."""
    psi = PATTERNS[pattern][:COUNT].astype(dtype)
    b = float(np.abs(psi).sum(dtype=np.float64) / 50)
    weights, info = pf.solve_weights(psi, target=b, return_info=True)
    lower, upper = boxes(psi, 2 * np.abs(weights).mean() or 1.0)
    given = {"target": b, "l1": info.l1, "l2": info.l2, "lower": lower, "upper": upper}
    if setting == "ridge":
        given["l1"] = 0.0
    if setting == "tiny l2":
        given["l2"] = 1e-12 * info.l2
    if setting in ("no l2", "one box, no l2"):
        given["l2"] = 0.0
        # Open to where the price leads, the largest alone would move.
        lower[lower == -np.inf], upper[upper == np.inf] = -1, 1
    if setting == "one box, no l2":
        given |= {"lower": np.quantile(lower, 0.1), "upper": np.quantile(upper, 0.9)}
    if setting == "limited":
        given["max_residual"] = 0.2 * b
    return psi, given


SETTINGS = ["defaults", "ridge", "tiny l2", "no l2", "one box, no l2", "limited"]


def by_bisection(psi, target, l1, l2, lower, upper):
    """Find the root in extended precision, and the weights there."""
    wide = psi.astype(np.longdouble)
    l1, two_l2, low, high = (np.longdouble(x) for x in (l1, 2 * l2, 0, 4 * abs(target)))

    def weights(price):
        free = np.sign(wide) * np.maximum(np.abs(wide) * abs(price) - l1, 0) / two_l2
        return np.clip(free * np.sign(price), lower, upper)

    sign = np.sign(target - wide @ weights(np.longdouble(0)))
    high = 2 * abs(target - wide @ weights(np.longdouble(0)))
    for _ in range(90):
        price = (low + high) / 2
        if sign * (sign * price / 2 + wide @ weights(sign * price) - target) > 0:
            high = price
        else:
            low = price
    return weights(sign * high).astype(np.float64)


@pytest.mark.parametrize("pattern", [name for name in PATTERNS if name not in ("tiny", "huge", "subnormal")])
@pytest.mark.parametrize("setting", ["defaults", "ridge"])
def test_weights_in_boxes_equal_those_of_a_bisection(pattern, setting):
    psi, given = problem(pattern, setting)
    weights = pf.solve_weights(psi, **given)
    exact = by_bisection(psi, **given)
    assert np.abs(weights - exact).max() <= 1e-13 * np.abs(exact).max()


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("setting", SETTINGS)
def test_the_certificate_and_the_optimality_conditions_hold(pattern, setting):
    psi, given = problem(pattern, setting)
    weights, info = pf.solve_weights(psi, **given, return_info=True)
    lower, upper = given["lower"], given["upper"]
    assert info.status == "solved"
    # Under a limit that binds, the rounding of the residual counts to the first power.
    linear = 1e-15 * abs(info.price[0] * given["target"]) if setting == "limited" else 0.0
    assert info.gap <= 1e-20 * info.objective + linear
    assert np.all((lower <= weights) & (weights <= upper))
    assert not np.signbit(weights[weights == 0]).any()
    # −z = 2r where no limit binds. In units in which squares stay in range.
    scale = np.abs(psi).max()
    slope = -psi / scale * info.price[0] + 2 * given["l2"] / scale * weights
    l1 = given["l1"] / scale
    tolerance = 1e-9 * (l1 + abs(info.price[0]))
    inside = (weights > lower) & (weights < upper)
    assert np.all(np.abs(slope + l1 * np.sign(weights))[inside & (weights != 0)] <= tolerance)
    assert np.all(np.abs(slope)[inside & (weights == 0)] <= l1 + tolerance)
    least, most = slope + np.where(weights > 0, l1, -l1), slope + np.where(weights < 0, -l1, l1)
    only = lower < upper
    assert np.all(least[only & (weights == upper)] <= tolerance)
    assert np.all(most[only & (weights == lower)] >= -tolerance)


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_every_road_gives_the_same_bits(pattern, setting, dtype):
    if dtype is np.float32 and pattern in ("tiny", "huge"):
        pytest.skip("beyond float32")
    psi, given = problem(pattern, setting, dtype)
    wanted, info = pf.solve_weights(psi, **given, n_threads=1, return_info=True)
    assert info.status == "solved"
    for threads in (2, 7):
        assert np.array_equal(pf.solve_weights(psi, **given, n_threads=threads), wanted)
    indices, values = pf.solve_weights(psi, **given, sparse=True)
    assert np.array_equal(indices, np.flatnonzero(wanted))
    assert np.array_equal(values, wanted[indices])
    other = given | {"lower": -given["upper"], "upper": -given["lower"]}
    assert np.array_equal(pf.solve_weights(-psi, **other), -wanted)
    if np.ndim(given["lower"]) == 0:
        each = {side: np.full_like(psi, given[side]) for side in ("lower", "upper")}
        assert np.array_equal(pf.solve_weights(psi, **given | each), wanted)


@pytest.mark.parametrize("count", [1, 2, 7])
@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("pattern", ["normal", "sorted", "one value", "hidden"])
def test_shards_get_their_part_of_the_whole(count, setting, pattern):
    psi, given = problem(pattern, setting)
    whole, info = pf.solve_weights(psi, **given, return_info=True)
    edges = np.array([0, *np.sort(np.random.default_rng(count).integers(0, COUNT, count - 1)), COUNT])

    def run(shard):
        own = slice(*edges[shard.index : shard.index + 2])
        sides = {side: given[side][own] for side in ("lower", "upper") if np.ndim(given[side])}
        return pf.solve_weights(psi[own], **given | sides, shard=shard, n_threads=1, return_info=True)

    parts = in_shards(count, run)
    assert np.array_equal(np.concatenate([weights for weights, _ in parts]), whole)
    assert {(own.gap, own.objective, own.nnz) for _, own in parts} == {(info.gap, info.objective, info.nnz)}


def test_a_bound_that_means_none_costs_no_digit():
    psi = np.random.default_rng(4).standard_normal(COUNT)
    free = pf.solve_weights(psi, target=500.0)
    wide = np.full(COUNT, 1e300)
    wide, info = pf.solve_weights(psi, target=500.0, lower=-wide, upper=wide, return_info=True)
    assert np.abs(wide - free).max() <= 1e-14 * np.abs(free).max()
    assert info.gap <= 1e-24 * info.objective


def test_a_misled_sample_costs_time_alone():
    """The rows that a sample takes are unlike all others."""
    psi = np.abs(np.random.default_rng(5).standard_normal(COUNT))
    psi[:: COUNT // 2**13] *= 1e-3
    given = {"target": 900.0, "l1": 30.0, "lower": np.zeros(COUNT), "upper": np.full(COUNT, 0.05)}
    for l2 in (0.0, 10.0):
        _, info = pf.solve_weights(psi, **given, l2=l2, return_info=True)
        assert info.gap <= 1e-20 * info.objective
    assert (
        np.abs(pf.solve_weights(psi, **given, l2=10.0) - by_bisection(psi, **given, l2=10.0)).max() <= 1e-15
    )


CODE = """
import hashlib, numpy as np, puma_fast as pf
from numeric.test_reweight_boxes import SETTINGS, problem
digest = hashlib.sha256()
for dtype in (np.float32, np.float64):
    for setting in SETTINGS:
        for pattern in ("normal", "twenty values"):
            psi, given = problem(pattern, setting, dtype)
            w, info = pf.solve_weights(psi, **given, return_info=True)
            digest.update(w.tobytes() + np.array([info.gap, info.objective, info.l1_norm]).tobytes())
print(digest.hexdigest())
"""


def test_instruction_sets_give_the_same_bits():
    def digest(level):
        environment = os.environ | {"PUMA_FAST_SIMD": level, "PYTHONPATH": os.pathsep.join(sys.path)}
        return subprocess.check_output([sys.executable, "-c", CODE], env=environment, text=True)

    assert digest("scalar") == digest("avx2") == digest("avx512")
