"""Order: equal to numpy.lexsort over (NaN, score, position), and what cannot be meant is refused by name."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import puma_fast as pf
from puma_fast.numeric.order import prune

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


@given(scores(allow_nan=False), st.integers(0, 50))
def test_numbers_need_no_word_on_nan(values, k):
    k = min(k, len(values))
    np.testing.assert_array_equal(pf.top_k(values, k), naive(values, descending=True, nan="last")[:k])
    np.testing.assert_array_equal(pf.argsort(values), naive(values, descending=False, nan="last"))


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
    assert pf.top_k([], 0).tolist() == []
    assert pf.argsort([]).dtype == np.int64


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: pf.top_k([1.0, 2.0], 3), ValueError, ["k", "at most", "k = 3 of 2"]),
        (lambda: pf.top_k([1.0], -1), ValueError, ["k", "at least 0", "-1"]),
        (lambda: pf.top_k([1.0], 1.0), TypeError, ["k", "integer", "1.0"]),
        (lambda: pf.top_k([1.0], 2**70), ValueError, ["k", "2**63", str(2**70)]),
        (lambda: pf.top_k([1.0, np.nan], 1), ValueError, ["scores", "index 1", 'nan="last"']),
        (lambda: pf.argsort([np.nan]), ValueError, ["scores", "index 0", "drop"]),
        (lambda: pf.argsort([1.0], nan="middle"), ValueError, ["nan", '"last"', "middle"]),
        (lambda: pf.argsort([[1.0]]), ValueError, ["scores", "1-dimensional", "(1, 1)"]),
        (lambda: pf.argsort(["a"]), TypeError, ["scores", "real numbers", "astype"]),
        (lambda: pf.argsort([1j]), TypeError, ["scores", "real numbers", "complex"]),
        (lambda: prune([1.0], ratio="a"), TypeError, ["ratio", "from 0 to 1", "'a'"]),
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
