"""Pruning: exactly the share asked for, class by class, easiest or hardest first; and eps by the rule."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import puma_fast as pf

margins_and_labels = st.lists(
    st.tuples(st.sampled_from([-np.inf, -1.0, -0.0, 0.0, 0.25, 1.0, np.inf]), st.integers(0, 3)),
    min_size=1,
    max_size=60,
).map(lambda pairs: tuple(np.array(column) for column in zip(*pairs, strict=True)))


@given(margins_and_labels, st.floats(0, 1), st.sampled_from(["easy", "hard"]))
def test_the_first_in_order_go_and_no_other(samples, ratio, prune):
    margins, labels = samples
    gone_first = pf.argsort(margins, descending=prune == "easy")
    kept = pf.prune_by_margin(margins, ratio=ratio, prune=prune)
    np.testing.assert_array_equal(kept, np.sort(gone_first[round(ratio * len(margins)) :]))

    kept = pf.prune_by_margin(margins, ratio=ratio, prune=prune, labels=labels)
    assert len(kept) == len(margins) - round(ratio * len(margins))
    for label in np.unique(labels):
        of_class = gone_first[labels[gone_first] == label]
        gone = len(of_class) - np.isin(of_class, kept).sum()
        assert abs(gone - ratio * len(of_class)) < 1
        assert not np.isin(of_class[:gone], kept).any()


@given(margins_and_labels, st.floats(0, 1), st.permutations(range(4)))
def test_the_names_of_classes_do_not_matter(samples, ratio, names):
    margins, labels = samples
    kept = pf.prune_by_margin(margins, ratio=ratio, labels=labels)
    for renamed in (np.array(names)[labels], np.array(["a", "b", "c", "d"])[np.array(names)[labels]]):
        np.testing.assert_array_equal(pf.prune_by_margin(margins, ratio=ratio, labels=renamed), kept)


def test_a_balanced_set_stays_balanced():
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(10), 100)
    margins = rng.standard_normal(1000) + labels
    kept = pf.prune_by_margin(margins, ratio=0.37, labels=labels)
    assert np.bincount(labels[kept]).tolist() == [63] * 10
    unbalanced = pf.prune_by_margin(margins, ratio=0.37)
    assert np.ptp(np.bincount(labels[unbalanced])) > 50


def test_protected_samples_and_small_classes_stay():
    margins = np.array([9.0, 8.0, 7.0, 6.0, 5.0, 4.0])
    assert pf.prune_by_margin(margins, ratio=0.5, protect=[0, 2]).tolist() == [0, 2, 5]
    labels = [0, 0, 0, 0, 0, 1]
    assert pf.prune_by_margin(margins, ratio=0.9, labels=labels).tolist() == [4]
    assert pf.prune_by_margin(margins, ratio=0.6, labels=labels, min_per_class=1).tolist() == [4, 5]
    with pytest.raises(ValueError, match=r"ratio asks for more .*that is 5, where 4 may go; lower it"):
        pf.prune_by_margin(margins, ratio=0.9, labels=labels, min_per_class=1)


def test_margins_that_are_not_known_are_refused_or_placed():
    margins = [1.0, np.nan, 3.0, 2.0]
    with pytest.raises(ValueError, match=r"margins must hold no NaN.* index 1"):
        pf.prune_by_margin(margins, ratio=0.5)
    assert pf.prune_by_margin(margins, ratio=0.5, nan="first").tolist() == [0, 3]
    assert pf.prune_by_margin(margins, ratio=0.5, nan="last").tolist() == [0, 1]


def test_the_strategy_has_two_names():
    with pytest.raises(ValueError, match=r"prune must be \"easy\" .*'random'"):
        pf.prune_by_margin([1.0], ratio=0, prune="random")


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        ("clip0", [0, 0, 0, 0, 0.1, 0.25, 0.25, 0.25]),
        ("signed", [-0.25, -0.25, -0.1, 0, 0.1, 0.25, 0.25, 0.25]),
    ],
)
def test_every_branch_of_the_rule(policy, expected, dtype):
    margins = np.array([-np.inf, -0.25, -0.1, 0, 0.1, 0.25, 3, np.inf], dtype=dtype)
    eps = pf.adaptive_eps(margins, eps=0.25, policy=policy)
    assert eps.dtype == dtype
    assert pf.adaptive_eps(margins, eps=np.float64(0.25), policy=policy).dtype == dtype
    np.testing.assert_array_equal(eps, np.array(expected, dtype=dtype))
    assert margins[0] == -np.inf


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"eps": 0}, ["eps", "above 0", "0"]),
        ({"eps": np.nan}, ["eps", "above 0", "nan"]),
        ({"eps": np.inf}, ["eps", "above 0", "inf"]),
        ({"policy": "drop"}, ["policy", '"clip0" or "signed"', "drop"]),
        ({"margins": [0.0, np.nan]}, ["margins[1]", "nan", "drop"]),
        ({"margins": [[0.0]]}, ["margins", "1-dimensional", "(1, 1)"]),
    ],
)
def test_what_cannot_be_meant_is_refused_by_name(options, words):
    with pytest.raises(ValueError, match=r".") as caught:
        pf.adaptive_eps(**{"margins": [0.1], **options})
    assert all(word in str(caught.value) for word in words), caught.value


@pytest.mark.parametrize("eps", ["a", None, True])
def test_an_eps_that_is_no_number_is_refused_by_name(eps):
    with pytest.raises(TypeError, match=rf"eps must be a finite number above 0, got {eps!r}"):
        pf.adaptive_eps([0.1], eps=eps)
