"""Order: equal to numpy.lexsort over (NaN, score, position), and what cannot be meant is refused by name."""

import math
import subprocess
import sys
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import puma_fast as pf
from numeric.shards import cut, in_shards
from puma_fast.numeric.order import apportion, prune

FLOATS = st.sampled_from([np.float32, np.float64])


def scores(*, allow_nan):
    few = st.sampled_from([-np.inf, -1.0, -0.0, 0.0, 0.5, 2.0, np.inf] + [np.nan] * allow_nan)
    return FLOATS.flatmap(
        lambda dtype: hnp.arrays(dtype, st.integers(0, 50), elements=few, fill=st.nothing())
    )


def naive(values, *, descending, nan):
    is_nan = np.isnan(values)
    place = ~is_nan if nan == "first" else is_nan
    key = np.where(is_nan, 0, values)
    return np.lexsort((np.arange(len(values)), -key if descending else key, place))


@given(scores(allow_nan=True), st.booleans(), st.sampled_from(["last", "first"]), st.integers(0, 50))
def test_equals_lexsort(values, descending, nan, k):
    expected = naive(values, descending=descending, nan=nan)
    np.testing.assert_array_equal(pf.argsort(values, descending=descending, nan=nan), expected)
    k = min(k, len(values))
    np.testing.assert_array_equal(pf.top_k(values, k, largest=descending, nan=nan), expected[:k])
    as_a_set = pf.top_k(values, k, largest=descending, nan=nan, sorted=False)
    np.testing.assert_array_equal(as_a_set, np.sort(expected[:k]))


@given(scores(allow_nan=False), st.integers(0, 50))
def test_numbers_need_no_word_on_nan(values, k):
    k = min(k, len(values))
    np.testing.assert_array_equal(pf.top_k(values, k), naive(values, descending=True, nan="last")[:k])
    ascending = naive(values, descending=False, nan="last")
    np.testing.assert_array_equal(pf.argsort(values), ascending)
    np.testing.assert_array_equal(pf.bottom_k(values, k), ascending[:k])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_million_scores_in_the_order_of_numpy(dtype):
    values = np.random.default_rng(0).standard_normal(1_000_000).round(3).astype(dtype)
    expected = np.argsort(values, kind="stable")
    np.testing.assert_array_equal(pf.argsort(values), expected)
    np.testing.assert_array_equal(pf.top_k(values, 2000, largest=False), expected[:2000])
    np.testing.assert_array_equal(pf.top_k(values, 2000), np.argsort(-values, kind="stable")[:2000])


def test_integers_lists_and_half_precision_are_numbers():
    assert pf.top_k([3, 1, 2], 2).tolist() == [0, 2]
    assert pf.top_k(np.array([3, 1, 2], dtype=np.uint8), 1).tolist() == [0]
    assert pf.argsort(np.array([0.5, 0.25], dtype=np.float16)).tolist() == [1, 0]
    halves = torch.tensor([0.5, 2.0, -1.0], dtype=torch.bfloat16)
    assert pf.argsort(halves).tolist() == pf.argsort(halves.half()).tolist() == [2, 0, 1]
    assert pf.top_k([], 0).tolist() == []
    assert pf.argsort([]).dtype == np.int64


@pytest.mark.parametrize(
    "call",
    [
        lambda scores: pf.top_k(scores, 1),
        pf.argsort,
        lambda scores: pf.select_scores(scores, at_least=0),
        lambda scores: pf.suspects(scores, [0.0, 1.0], 1),
        lambda scores: pf.prune_by_margin(scores, ratio=0.5),
    ],
)
@pytest.mark.parametrize("dtype", [np.int64, np.uint64])
def test_integers_that_floats_would_merge_are_refused(call, dtype):
    with pytest.raises(ValueError, match=r"\[1\] is 9007199254740993, where float64 merges integers"):
        call(np.array([2**53 - 1, 2**53 + 1], dtype=dtype))
    call(np.array([2**53 - 1, 2**53 - 2], dtype=dtype))


def test_groups_are_told_apart_from_samples():
    with pytest.raises(TypeError, match=r"groups must hold positions of groups, got .*bool; pass integers"):
        pf.group_sums([1.0, 2.0], [True, False], n_groups=2)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: pf.top_k([1.0, 2.0], 3), ValueError, ["k", "at most", "3 of 2"]),
        (lambda: pf.top_k([1.0, 2.0], 10**15), ValueError, ["k must", f"got {10**15} of 2 scores"]),
        (lambda: pf.top_k([1.0], 1, largest="no"), TypeError, ["largest must be True or False", "'no'"]),
        (lambda: pf.top_k([1.0], 1, sorted=1), TypeError, ["sorted must be True or False", "1"]),
        (lambda: pf.top_k([1.0], -1), ValueError, ["k", "at least 0", "-1"]),
        (lambda: pf.top_k([1.0], 1.0), TypeError, ["k", "integer", "1.0"]),
        (lambda: pf.top_k([1.0], 2**70), ValueError, ["k", "2**63", str(2**70)]),
        (lambda: pf.top_k([1.0, np.nan], 1), ValueError, ["scores", "index 1", 'nan="last"']),
        (lambda: pf.argsort([np.nan]), ValueError, ["scores", "index 0", "drop"]),
        (lambda: pf.argsort([1.0], nan="middle"), ValueError, ["nan", '"last"', "middle"]),
        (lambda: pf.argsort([1.0], nan=None), ValueError, ["nan must", '"first"', "got None"]),
        (lambda: pf.argsort([1.0], descending="yes"), TypeError, ["descending must be True or", "'yes'"]),
        (lambda: pf.argsort([[1.0]]), ValueError, ["scores", "1-dimensional", "(1, 1)"]),
        (lambda: pf.argsort(["a"]), TypeError, ["scores", "real numbers", "astype"]),
        (lambda: pf.argsort([1j]), TypeError, ["scores", "real numbers", "complex"]),
        (lambda: pf.select_scores([1.0], at_least=np.nan), ValueError, ["at_least", "number", "nan"]),
        (lambda: pf.select_scores([1.0], at_most="a"), TypeError, ["at_most must be a number", "'a'"]),
        (lambda: pf.suspects([1.0], [1.0], 2), ValueError, ["k must be at most", "2 of 1"]),
        (lambda: pf.suspects([1.0], [1.0], 1, k_confident=3), ValueError, ["k_confident must", "3 of 1"]),
        (lambda: pf.suspects([1.0], [1.0, 2.0], 1), ValueError, ["confidence needs one", "2 for 1"]),
        (lambda: pf.suspects([1.0], [np.nan], 0), ValueError, ["confidence must hold no NaN", "index 0"]),
        (lambda: pf.select_scores([1.0, np.nan]), ValueError, ["scores", "index 1"]),
        (lambda: pf.difference([1], [-2]), ValueError, ["b", "from 0 on", "-2"]),
        (lambda: pf.intersection([0.5], [1]), TypeError, ["a", "integers", "float64"]),
        (lambda: pf.group_sums([1.0, np.inf], [0, 0], n_groups=1), ValueError, ["scores[1]", "inf"]),
        (lambda: pf.group_sums([1.0], [3], n_groups=3), ValueError, ["groups", "n_groups = 3", "got 3"]),
        (lambda: pf.group_sums([1.0], [0, 0], n_groups=1), ValueError, ["groups", "2 groups for 1"]),
        (lambda: pf.group_sums([1.0], [0], n_groups=10**15), ValueError, ["n_groups", "at most", "unique"]),
        (lambda: apportion([1, 2], 4), ValueError, ["total", "at most", "4 of 3"]),
        (lambda: prune([1.0], ratio="a"), TypeError, ["ratio must be a number", "'a'"]),
        (lambda: prune([1.0], ratio=0, largest=None), TypeError, ["largest must be True or False", "None"]),
        (lambda: prune([1.0], ratio=2), ValueError, ["ratio", "between 0 and 1", "2"]),
        (lambda: prune([1.0], ratio=0, min_per_class=1), ValueError, ["min_per_class", "labels", "1"]),
        (lambda: prune([1.0], ratio=0, min_per_class=-1, labels=[0]), ValueError, ["min_per_class", "-1"]),
        (lambda: prune([1.0], ratio=0, labels=[0, 1]), ValueError, ["labels", "2 labels for 1"]),
        (lambda: prune([1.0], ratio=0, labels=[[0]]), ValueError, ["labels", "1-dimensional", "(1, 1)"]),
        (lambda: prune([1.0, 2.0], ratio=0, labels=[0, np.nan]), ValueError, ["labels[1]", "nan", "drop"]),
        (lambda: prune([1.0], ratio=0, protect=[1]), ValueError, ["protect", "positions", "1 with 1"]),
        (lambda: prune([1.0], ratio=0, protect=[True]), TypeError, ["protect", "np.flatnonzero(protect)"]),
        (lambda: prune([1.0], ratio=0, protect=[0.0]), TypeError, ["protect", "integers", "float64"]),
        (lambda: prune([1.0], ratio=0, protect=0), ValueError, ["protect", "1-dimensional", "()"]),
    ],
)
def test_what_cannot_be_meant_is_refused_by_name(call, error, words):
    with pytest.raises(error) as caught:
        call()
    assert all(word in str(caught.value) for word in words), caught.value


@given(scores(allow_nan=True), st.floats(width=32, allow_nan=False), st.floats(width=32, allow_nan=False))
def test_selecting_by_bounds_equals_comparing(values, low, high):
    within = (values >= low) & (values <= high)
    chosen = pf.select_scores(values, at_least=low, at_most=high, nan="last")
    np.testing.assert_array_equal(chosen, np.flatnonzero(within))
    chosen = pf.select_scores(values, at_least=low, at_most=high, nan="first")
    np.testing.assert_array_equal(chosen, np.flatnonzero(within | np.isnan(values)))


positions = st.lists(st.integers(0, 30) | st.integers(10**6, 10**6 + 30), max_size=40)


@given(positions, positions)
def test_what_two_selections_share_is_numpys(a, b):
    np.testing.assert_array_equal(pf.difference(a, b), np.setdiff1d(a, b))
    np.testing.assert_array_equal(pf.intersection(a, b), np.intersect1d(a, b))


@given(
    scores(allow_nan=True),
    st.integers(0, 50),
    st.integers(0, 50),
    st.sampled_from(["last", "first"]),
    FLOATS,
    st.randoms(use_true_random=False),
)
def test_suspects_are_the_difference_of_two_selections(influence, k, k_confident, nan, dtype, random):
    confidence = np.array(random.sample(influence.tolist(), len(influence)), dtype=dtype)
    k, k_confident = min(k, len(influence)), min(k_confident, len(influence))
    hurting = naive(influence, descending=False, nan=nan)[:k]
    sure = naive(confidence, descending=True, nan=nan)[:k_confident]
    found = pf.suspects(influence, confidence, k, k_confident=k_confident, nan=nan)
    np.testing.assert_array_equal(found, np.setdiff1d(hurting, sure))


@pytest.mark.parametrize("k", [500, 40_000, 100_000])
def test_suspects_among_many_and_in_a_mapped_file(tmp_path, k):
    rng = np.random.default_rng(k)
    influence = rng.standard_normal(150_000).astype(np.float32)
    confidence = rng.random(len(influence)).round(3)
    hurting, sure = np.argsort(influence, kind="stable")[:k], np.argsort(-confidence, kind="stable")[: k // 2]
    expected = np.setdiff1d(hurting, sure)
    np.save(tmp_path / "influence.npy", influence)
    mapped = np.load(tmp_path / "influence.npy", mmap_mode="r")
    for scores_, threads in ((influence, 1), (influence, 2), (mapped, 2)):
        found = pf.suspects(scores_, confidence, k, k_confident=k // 2, n_threads=threads)
        np.testing.assert_array_equal(found, expected)


@given(st.lists(st.tuples(st.floats(allow_nan=False, allow_infinity=False, width=32), st.integers(0, 2))))
def test_group_sums_are_rounded_once(terms):
    values, groups = [score for score, _ in terms], [group for _, group in terms]
    exact = [sum((Fraction(v) for v, g in terms if g == group), Fraction()) for group in range(3)]
    assert pf.group_sums(values, groups, n_groups=3).tolist() == [float(total) for total in exact]


def test_a_million_terms_are_added_as_by_fsum():
    rng = np.random.default_rng(0)
    values = (rng.standard_normal(1_000_000) * 10.0 ** rng.integers(-20, 20, 1_000_000)).astype(np.float32)
    groups = rng.integers(0, 1000, len(values))
    sums = pf.group_sums(values, groups, n_groups=1000)
    for group in (0, 17, 999):
        assert sums[group] == math.fsum(values[groups == group].tolist())


@given(st.lists(st.integers(0, 40), min_size=1, max_size=20), st.data())
def test_shares_are_those_of_largest_remainders(sizes, data):
    total = data.draw(st.integers(0, sum(sizes)))
    exact = [Fraction(size * total, max(sum(sizes), 1)) for size in sizes]
    expected = [math.floor(share) for share in exact]
    order = sorted(range(len(sizes)), key=lambda c: expected[c] - exact[c])
    for c in order[: total - sum(expected)]:
        expected[c] += 1
    assert apportion(sizes, total).tolist() == expected


@pytest.mark.parametrize("count", [1, 2, 7])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_shards_give_what_the_whole_gives(count, dtype):
    rng = np.random.default_rng(count)
    values = rng.standard_normal(150_000).round(1).astype(dtype)
    labels = rng.integers(0, 5, len(values)).astype(np.int32)
    values[rng.integers(0, len(values), 20)] = np.nan
    whole = np.arange(len(values))
    parts = cut(whole, count, rng)

    def each(run):
        return in_shards(count, lambda shard: run(shard, parts[shard.index]))

    best = pf.top_k(values, 3000, nan="last")
    for part in each(lambda shard, rows: pf.top_k(values[rows], 3000, nan="last", shard=shard)):
        np.testing.assert_array_equal(part, best)
    chosen = each(lambda shard, rows: pf.top_k(values[rows], 3000, nan="last", sorted=False, shard=shard))
    np.testing.assert_array_equal(np.concatenate(chosen), np.sort(best))
    chosen = each(lambda shard, rows: pf.select_scores(values[rows], at_most=0.3, nan="last", shard=shard))
    np.testing.assert_array_equal(np.concatenate(chosen), pf.select_scores(values, at_most=0.3, nan="last"))
    sure = np.where(labels == 3, np.nan, rng.random(len(values)).round(2))
    found = each(lambda s, rows: pf.suspects(values[rows], sure[rows], 3000, nan="last", shard=s))
    np.testing.assert_array_equal(np.concatenate(found), pf.suspects(values, sure, 3000, nan="last"))
    options = {"ratio": 0.4, "nan": "first", "protect": [3, 70_000, 149_999], "min_per_class": 2}
    kept = each(lambda shard, rows: prune(values[rows], labels=labels[rows], shard=shard, **options))
    np.testing.assert_array_equal(np.concatenate(kept), prune(values, labels=labels, **options))
    numbers = np.nan_to_num(values)
    sums = pf.group_sums(numbers, labels, n_groups=5)
    for part in each(lambda s, rows: pf.group_sums(numbers[rows], labels[rows], n_groups=5, shard=s)):
        assert part.tobytes() == sums.tobytes()


def test_a_mapped_file_is_read_where_it_lies_or_refused(tmp_path):
    values = np.random.default_rng(0).standard_normal(200_000).astype(np.float32)
    values[5] = np.nan
    labels = np.random.default_rng(1).integers(0, 9, len(values))
    np.save(tmp_path / "scores.npy", values)
    values.tofile(tmp_path / "scores.f32")
    for mapped in (
        np.load(tmp_path / "scores.npy", mmap_mode="r"),
        np.memmap(tmp_path / "scores.f32", dtype=np.float32, mode="r"),
    ):
        np.testing.assert_array_equal(pf.top_k(mapped, 999, nan="last"), pf.top_k(values, 999, nan="last"))
        for sorted_ in (True, False):
            expected = pf.bottom_k(values[10:], 70_000, sorted=sorted_)
            np.testing.assert_array_equal(pf.bottom_k(mapped[10:], 70_000, sorted=sorted_), expected)
        options = {"ratio": 0.7, "labels": labels, "nan": "last"}
        np.testing.assert_array_equal(prune(mapped, **options), prune(values, **options))
        with pytest.raises(ValueError, match=r"scores must hold no NaN.* index 5"):
            pf.top_k(mapped, 3)
        with pytest.raises(TypeError, match=r"scores is a mapped file .* numpy.array\(scores\)"):
            pf.top_k(mapped[::2], 3)
    values.astype(">f4").tofile(tmp_path / "scores.be")
    with pytest.raises(TypeError, match="scores is a mapped file of >f4"):
        pf.top_k(np.memmap(tmp_path / "scores.be", dtype=">f4", mode="r"), 3)


RESIDENT = """
import re, sys, threading, time
import numpy as np
import puma_fast as pf

def anonymous():
    with open("/proc/self/status") as status:
        return int(re.search(r"RssAnon:\\s+(\\d+) kB", status.read())[1]) * 1024

scores = np.load(sys.argv[1], mmap_mode="r")
labels = np.load(sys.argv[2], mmap_mode="r")
pf.top_k(scores[:100_000], 10, n_threads=2)
before, most, done = anonymous(), 0, threading.Event()

def watch():
    global most
    while not done.wait(1e-3):
        most = max(most, anonymous())

thread = threading.Thread(target=watch)
thread.start()
best = pf.top_k(scores, 1000, n_threads=2)
kept = pf.prune_by_margin(scores, ratio=0.999, labels=labels, n_threads=2)
done.set()
thread.join()
assert len(best) == 1000 and len(kept) == len(scores) - round(0.999 * len(scores))
print(most - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc/self/status")
def test_a_file_larger_than_the_memory_used_is_pruned(tmp_path):
    n = 100_000_000
    scores = np.lib.format.open_memmap(tmp_path / "scores.npy", mode="w+", dtype=np.float32, shape=(n,))
    labels = np.lib.format.open_memmap(tmp_path / "labels.npy", mode="w+", dtype=np.uint8, shape=(n,))
    rng = np.random.default_rng(0)
    for start in range(0, n, 10_000_000):
        scores[start : start + 10_000_000] = rng.standard_normal(10_000_000, dtype=np.float32)
        labels[start : start + 10_000_000] = rng.integers(0, 100, 10_000_000, dtype=np.uint8)
    del scores, labels
    ran = subprocess.run(
        [sys.executable, "-c", RESIDENT, tmp_path / "scores.npy", tmp_path / "labels.npy"],
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )
    # The files have 500 MB; a handful of histograms and the few ranks looked at one by one have this.
    assert int(ran.stdout) < 160e6, ran


@pytest.mark.parametrize(
    "call",
    [
        lambda x, shard: pf.top_k(x, 2, shard=shard),
        lambda x, shard: pf.bottom_k(x, 2, shard=shard),
        lambda x, shard: pf.select_scores(x, shard=shard),
        lambda x, shard: pf.suspects(x, x, 2, shard=shard),
        lambda x, shard: pf.group_sums(x, [0, 0, 1], n_groups=2, shard=shard),
        lambda x, shard: pf.prune_by_margin(x, ratio=0.5, shard=shard),
        lambda x, shard: pf.kmeans(x[:, None], 2, shard=shard),
    ],
)
def test_what_is_no_shard_is_refused_by_name(call):
    with pytest.raises(TypeError, match=r"shard must be a puma_fast\.Shard, or left out, got int"):
        call(np.arange(3.0), 5)


@pytest.mark.parametrize(
    ("reduce", "words"),
    [
        (np.copy, r"add up the arrays of all 2 shards, but a 1 from each became 1"),
        (np.zeros_like, r"a 1 from each became 0; give the elementwise sum, such as all_reduce with SUM"),
        (lambda values: values * 3, r"became 3"),
        (lambda values: values[:-1], r"as many values as it got, \d+; got \d+"),
        (lambda values: values.astype(float), r"1-D int64 NumPy array, got dtype float64, shape \(\d+,\)"),
        (lambda values: values[None], r"1-D int64 NumPy array, got dtype int64, shape \(1, \d+\)"),
        (lambda values: list(values), r"1-D int64 NumPy array, got <class 'list'>"),
    ],
)
def test_a_reduction_that_is_no_sum_over_all_shards_is_refused(reduce, words):
    shard = pf.Shard(0, 2, reduce)
    for call in (
        lambda: pf.top_k([1.0, 2.0], 1, shard=shard),
        lambda: pf.solve_weights([1.0, 2.0], target=1.0, shard=shard),
        lambda: pf.kmeans([[1.0], [2.0]], 1, shard=shard),
    ):
        with pytest.raises(ValueError, match=words):
            call()
