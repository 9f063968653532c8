"""One criterion at scale: every road to the weights gives the same bits, and the certificate holds."""

from __future__ import annotations

import math
import os
import subprocess
import sys

import numpy as np
import pytest

import puma_fast as pf
from numeric.patterns import PATTERNS, N
from numeric.shards import cut, in_shards

SETTINGS = {
    "defaults": {},
    "sparse": {"l1": 0.9},
    "dense": {"l1": 1e-3},
    "ridge": {"l1": 0.0},
    "boxed": {"l1": 0.05, "box": 0.3},
    "limited": {"l1": 0.05, "limit": 0.1},
}


def arguments(psi, setting):
    """Prices relative to the data's own scale, so that each setting means the same everywhere."""
    b = float(np.abs(psi).sum() / 50)
    _, info = pf.solve_weights(psi, target=b, return_info=True)
    chosen = {"target": b}
    if "l1" in setting:
        chosen |= {"l1": setting["l1"] * info.l1_max, "l2": info.l2}
    if "box" in setting:
        most = np.abs(pf.solve_weights(psi, **chosen)).max()
        chosen |= {"lower": -setting["box"] * most, "upper": 2 * setting["box"] * most}
    if "limit" in setting:
        chosen |= {"max_residual": setting["limit"] * b}
    return chosen


def closed_form(psi, b, l1, l2):
    """Sort and add up in extended precision."""
    y = np.abs(psi).astype(np.longdouble)
    ranked = np.sort(y)[::-1]
    prices = (2 * l2 * np.longdouble(b) + l1 * np.cumsum(ranked)) / (l2 + np.cumsum(ranked * ranked))
    support = np.count_nonzero(prices * ranked > l1)
    price = prices[max(support - 1, 0)]
    return (np.sign(psi) * np.maximum(price * y - l1, 0) / (2 * l2)).astype(np.float64)


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("setting", ["defaults", "sparse", "dense", "ridge"])
def test_weights_equal_the_sorted_closed_form(pattern, setting):
    psi = PATTERNS[pattern]
    # Extended precision has the range for these squares, the closed form's own prices included.
    chosen = arguments(psi, SETTINGS[setting])
    weights, info = pf.solve_weights(psi, **chosen, return_info=True)
    exact = closed_form(psi, chosen["target"], np.longdouble(info.l1), np.longdouble(info.l2))
    assert np.abs(weights - exact).max() <= 1e-14 * np.abs(exact).max()
    assert info.nnz == np.count_nonzero(weights)
    assert info.gap <= 1e-24 * info.objective


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_every_road_gives_the_same_bits(pattern, setting, dtype):
    if dtype is np.float32 and pattern in ("tiny", "huge"):
        pytest.skip("beyond float32")
    psi = PATTERNS[pattern].astype(dtype)
    chosen = arguments(psi, SETTINGS[setting])
    wanted, info = pf.solve_weights(psi, **chosen, n_threads=1, return_info=True)
    assert info.status == "solved"
    assert not np.signbit(wanted[wanted == 0]).any()
    for threads in (2, 7):
        assert np.array_equal(pf.solve_weights(psi, **chosen, n_threads=threads), wanted)

    out = np.full(N, np.nan, dtype)
    assert pf.solve_weights(psi, **chosen, out=out) is out
    assert np.array_equal(out, wanted)
    indices, values = pf.solve_weights(psi, **chosen, sparse=True)
    assert np.array_equal(indices, np.flatnonzero(wanted))
    assert np.array_equal(values, wanted[indices])
    for start in (info, info.price * 1.001, 1e-9 * info.price):
        assert np.array_equal(pf.solve_weights(psi, **chosen, start=start), wanted)
    flipped = dict(chosen)
    if "lower" in chosen:
        flipped |= {"lower": -chosen["upper"], "upper": -chosen["lower"]}
    assert np.array_equal(pf.solve_weights(-psi, **flipped), -wanted)


@pytest.mark.parametrize("count", [1, 2, 7])
@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("pattern", ["normal", "heavy", "zeros", "hidden"])
def test_shards_get_their_part_of_the_whole(count, setting, pattern):
    psi = PATTERNS[pattern]
    chosen = arguments(psi, SETTINGS[setting])
    chosen.pop("target")
    rng = np.random.default_rng(count)
    mk = psi[:1000]
    whole, info = pf.solve_weights(psi, mk, **chosen, return_info=True)
    ours, marked = cut(psi, count, rng), cut(mk, count, rng)

    def run(shard):
        i = shard.index
        return pf.solve_weights(ours[i], marked[i], **chosen, shard=shard, n_threads=1, return_info=True)

    parts = in_shards(count, run)
    assert np.array_equal(np.concatenate([weights for weights, _ in parts]), whole)
    for _, own in parts:
        assert (own.objective, own.gap, own.nnz, own.iterations) == (
            info.objective,
            info.gap,
            info.nnz,
            info.iterations,
        )
        assert np.array_equal(own.residual, info.residual)


@pytest.mark.parametrize("l2", [0.0, 1e-3])
def test_shards_agree_where_every_weight_has_its_own_box(l2):
    rng = np.random.default_rng(1)
    psi, lower = rng.standard_normal(20_000), rng.uniform(-1, 0.2, 20_000)
    upper = lower + rng.uniform(0, 1, 20_000)
    whole, info = pf.solve_weights(
        psi, target=50.0, l1=2.0, l2=l2, lower=lower, upper=upper, return_info=True
    )
    edges = np.array([0, 1234, 1234, 9001, 20_000])
    parts = in_shards(
        4,
        lambda shard: pf.solve_weights(
            psi[slice(*edges[shard.index : shard.index + 2])],
            target=50.0,
            l1=2.0,
            l2=l2,
            lower=lower[slice(*edges[shard.index : shard.index + 2])],
            upper=upper[slice(*edges[shard.index : shard.index + 2])],
            shard=shard,
            n_threads=1,
            return_info=True,
        ),
    )
    assert np.array_equal(np.concatenate([weights for weights, _ in parts]), whole)
    assert {own.gap for _, own in parts} == {info.gap}


def test_a_bad_value_is_refused_on_every_shard_by_its_place_in_the_whole():
    psi = np.ones(100)
    psi[61] = np.nan

    def run(shard):
        with pytest.raises(ValueError, match=r"psi_up\[61\] is NaN"):
            pf.solve_weights(np.split(psi, 2)[shard.index], target=1.0, shard=shard, n_threads=1)
        return True

    assert in_shards(2, run) == [True, True]


CODE = """
import hashlib, numpy as np, puma_fast as pf
rng = np.random.default_rng(3)
digest = hashlib.sha256()
for dtype in (np.float32, np.float64):
    psi = rng.standard_normal(30_011).astype(dtype)
    for box in ({}, {"lower": -0.01, "upper": 0.02}):
        for l1 in (0.0, 5.0, 500.0):
            w, info = pf.solve_weights(psi, target=300.0, l1=l1, l2=9.0, **box, return_info=True)
            digest.update(w.tobytes() + np.array([info.gap, info.objective, info.l1_norm]).tobytes())
print(digest.hexdigest())
"""


def test_instruction_sets_give_the_same_bits():
    def digest(level):
        environment = os.environ | {"PUMA_FAST_SIMD": level}
        return subprocess.check_output([sys.executable, "-c", CODE], env=environment, text=True)

    assert digest("scalar") == digest("avx2") == digest("avx512")


def test_a_path_equals_its_single_solves():
    psi = PATTERNS["normal"]
    mk = psi[:500]
    _, info = pf.solve_weights(psi, mk, return_info=True)
    l1s = info.l1_max * np.array([1.5, 0.5, 0.3, 0.1, 0.01, 0.0, 0.2])
    path = pf.solve_weights_path(psi, mk, l1s=l1s)
    assert np.array_equal(path.l1s, l1s)
    for l1, weights, known in zip(l1s, path.weights, path.infos, strict=True):
        single, info = pf.solve_weights(psi, mk, l1=l1, return_info=True)
        assert np.array_equal(weights, single)
        assert (known.gap, known.l2) == (info.gap, info.l2)
    few = pf.solve_weights_path(psi, mk, l1s=l1s[:2], sparse=True)
    assert np.array_equal(few.weights[1][1], path.weights[1][path.weights[1] != 0])
    assert str(path).count("solved") == len(l1s)


def prices_of_a_path(psi, b):
    """From a dense optimum to none, with both ends, repeats and no order."""
    l1_max = 2 * b * np.abs(psi.astype(np.float64)).max()
    l1s = np.concatenate([l1_max * np.geomspace(1e-9, 2.0, 20), [0.0, l1_max, l1_max * 1e-9]])
    return np.random.default_rng(0).permutation(l1s)


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("sparse", [False, True])
def test_a_path_on_one_ladder_equals_its_single_solves(pattern, dtype, sparse):
    if dtype is np.float32 and pattern in ("tiny", "huge"):
        pytest.skip("beyond float32")
    psi = PATTERNS[pattern].astype(dtype)
    b = float(np.abs(psi).sum(dtype=np.float64) / 50)
    l1s = prices_of_a_path(psi, b)
    for chosen in (l1s, l1s[l1s > 0.1 * l1s.max()]):
        for l2 in (None, 1e-2 * float((psi.astype(np.float64) ** 2).sum())):
            path = pf.solve_weights_path(psi, target=b, l1s=chosen, l2=l2, sparse=sparse)
            for l1, weights, known in zip(chosen, path.weights, path.infos, strict=True):
                single, info = pf.solve_weights(
                    psi, target=b, l1=l1, l2=l2, sparse=sparse, n_threads=1, return_info=True
                )
                assert np.array_equal(weights, single)
                for name in ("objective", "gap", "price", "l1", "l2", "l1_max", "l1_norm", "nnz", "residual"):
                    assert getattr(known, name) == getattr(info, name), name


@pytest.mark.parametrize("threads", [1, 2, 7])
def test_threads_change_no_bit_of_a_path(threads):
    psi = PATTERNS["heavy"]
    l1s = prices_of_a_path(psi, 1e4)
    path = pf.solve_weights_path(psi, target=1e4, l1s=l1s, n_threads=threads)
    for l1, weights in zip(l1s, path.weights, strict=True):
        assert np.array_equal(weights, pf.solve_weights(psi, target=1e4, l1=l1))


@pytest.mark.parametrize("count", [1, 2, 7])
@pytest.mark.parametrize("pattern", ["normal", "zeros", "one value", "hidden"])
def test_shards_get_their_part_of_a_path(count, pattern):
    psi = PATTERNS[pattern]
    mk = psi[:1000]
    l1s = prices_of_a_path(psi, float(np.abs(mk.sum())))
    whole = pf.solve_weights_path(psi, mk, l1s=l1s)
    rng = np.random.default_rng(count)
    ours, marked = cut(psi, count, rng), cut(mk, count, rng)

    def run(shard):
        i = shard.index
        return pf.solve_weights_path(ours[i], marked[i], l1s=l1s, shard=shard, n_threads=1)

    parts = in_shards(count, run)
    for i, weights in enumerate(whole.weights):
        assert np.array_equal(np.concatenate([part.weights[i] for part in parts]), weights)
        assert {part.infos[i].gap for part in parts} == {whole.infos[i].gap}


@pytest.mark.parametrize(
    "settings",
    [{"lower": -0.1, "upper": 0.2}, {"l2": 0.0}, {"max_residual": 1.0}, {"upper": np.full(N, 0.2)}],
)
def test_a_path_without_a_ladder_equals_its_single_solves(settings):
    psi = PATTERNS["normal"]
    l1s = 2 * 300 * np.abs(psi).max() * np.array([0.5, 0.2, 0.1, 0.3])
    path = pf.solve_weights_path(psi, target=300.0, l1s=l1s, **settings)
    for l1, weights in zip(l1s, path.weights, strict=True):
        assert np.array_equal(weights, pf.solve_weights(psi, target=300.0, l1=l1, **settings))


def test_a_path_of_several_criteria():
    psi = np.random.default_rng(5).standard_normal((400, 3))
    path = pf.solve_weights_path(psi, psi[:20], l1s=[30.0, 3.0], l2=1.0)
    for l1, weights in zip(path.l1s, path.weights, strict=True):
        np.testing.assert_allclose(weights, pf.solve_weights(psi, psi[:20], l1=l1, l2=1.0), atol=1e-6)


def test_the_gap_bounds_what_any_other_weights_achieve():
    rng = np.random.default_rng(6)
    psi = PATTERNS["normal"]
    weights, info = pf.solve_weights(psi, target=500.0, return_info=True)

    def objective(weights):
        wide = weights.astype(np.longdouble)
        r = (psi * wide).sum() - 500
        return r * r + info.l1 * np.abs(wide).sum() + info.l2 * (wide * wide).sum()

    assert info.objective == pytest.approx(float(objective(weights)), rel=1e-13)
    for scale in (1e-3, 1e-6, 1e-9):
        other = weights * (1 + scale * rng.standard_normal(N))
        assert objective(other) >= objective(weights) - info.gap - 1e-17 * info.objective


@pytest.mark.parametrize(
    ("kwargs", "error", "message"),
    [
        ({"out": np.zeros(3)}, ValueError, r"shape \(4,\), got shape \(3,\)"),
        ({"out": np.zeros(4, np.float32)}, TypeError, "dtype float64"),
        ({"out": [0.0] * 4}, TypeError, "got list"),
        ({"out": np.zeros(8)[::2]}, ValueError, "C-contiguous"),
        ({"out": np.zeros(4), "sparse": True}, ValueError, "pass one of them"),
        ({"start": [1.0, 2.0]}, ValueError, "start needs the finite price"),
        ({"start": np.nan}, ValueError, "start needs the finite price"),
    ],
)
def test_refusals(kwargs, error, message):
    with pytest.raises(error, match=message):
        pf.solve_weights([1.0, 2.0, 3.0, 4.0], target=1.0, **kwargs)


def test_out_must_be_writeable_memory_of_its_own():
    psi = np.ones(10)
    with pytest.raises(ValueError, match="overlaps"):
        pf.solve_weights(psi, target=1.0, out=psi)
    bounds = np.ones(20)
    with pytest.raises(ValueError, match="overlaps"):
        pf.solve_weights(psi, target=1.0, upper=bounds[:10], out=bounds[5:15])
    frozen = np.ones(10)
    frozen.setflags(write=False)
    with pytest.raises(ValueError, match="read-only"):
        pf.solve_weights(psi, target=1.0, out=frozen)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("small", [4e-16, 4e-8])
@pytest.mark.parametrize("l1", [0.0, 1e-3])
def test_many_weights_far_below_the_largest_are_counted_in_the_info(small, l1, dtype):
    psi = np.full(10**6, small, dtype)
    psi[0] = 1
    weights, info = pf.solve_weights(psi, target=1.0, l1=l1, l2=1.0, return_info=True)
    assert info.nnz == (1 if l1 else 10**6)
    dense = weights.astype(np.float64)
    residual = math.fsum(psi * dense) - 1.0
    norm, squares = math.fsum(np.abs(dense)), math.fsum(dense * dense)
    assert info.l1_norm == pytest.approx(norm, rel=1e-15)
    assert info.objective == pytest.approx(residual**2 + l1 * norm + squares, rel=1e-14)
