"""The threshold attack against what it means: comparing every pair, trying every threshold."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from puma_fast.audit.membership import threshold_attack

# Few values, so that ties are the rule.
scores = st.lists(st.sampled_from([-np.inf, -1.0, 0.0, 0.25, 0.5, 1.0, np.inf]), min_size=1, max_size=12)


def naive_auc(members, others):
    return np.mean([(m > h) + 0.5 * (m == h) for m in members for h in others])


def naive_curve(members, others):
    """False and true positive rates where "member" is said from each threshold on."""
    thresholds = sorted({*members, *others}, reverse=True)
    rates = [(np.mean(np.array(others) >= t), np.mean(np.array(members) >= t)) for t in thresholds]
    return np.array([(0.0, 0.0), *rates])


@given(scores, scores)
def test_it_is_every_pair_and_every_threshold(members, others):
    attack = threshold_attack(members, others)
    assert attack.auc == pytest.approx(naive_auc(members, others), abs=1e-12)
    curve = naive_curve(members, others)
    np.testing.assert_allclose(attack.false_positive_rate, curve[:, 0], atol=1e-12)
    np.testing.assert_allclose(attack.true_positive_rate, curve[:, 1], atol=1e-12)
    assert attack.advantage == pytest.approx((curve[:, 1] - curve[:, 0]).max(), abs=1e-12)
    assert (attack.false_positive_rate[-1], attack.true_positive_rate[-1]) == (1.0, 1.0)


@given(scores, scores)
def test_swapping_the_sides_mirrors_it(members, others):
    assert threshold_attack(others, members).auc == pytest.approx(1 - threshold_attack(members, others).auc)


def test_sizes_and_types_do_not_matter():
    random = np.random.default_rng(0)
    members, others = random.normal(0.5, 1, 300), random.normal(0, 1, 200)
    attack = threshold_attack(members, others)
    assert attack.auc == pytest.approx(naive_auc(members, others))
    twice = threshold_attack(np.repeat(members, 2), others)
    assert twice.auc == pytest.approx(attack.auc)
    single = threshold_attack(members.astype(np.float32), others.astype(np.float32))
    assert single.auc == pytest.approx(attack.auc, abs=1e-4)


@pytest.mark.parametrize(
    ("members", "others", "auc", "advantage"),
    [
        ([1.0, 1.0], [0.0], 1.0, 1.0),
        ([0.0], [1.0, 1.0], 0.0, 0.0),
        ([0.5] * 3, [0.5] * 5, 0.5, 0.0),
        ([0.9, 0.8], [0.1, 0.85], 0.75, 0.5),
    ],
)
def test_known_cases(members, others, auc, advantage):
    attack = threshold_attack(members, others)
    assert (attack.auc, attack.advantage) == (auc, advantage)


@pytest.mark.parametrize("bad", [[], [np.nan, 1.0], [[1.0, 2.0]]])
def test_scores_that_are_none_are_refused(bad):
    with pytest.raises(ValueError, match="members must be a non-empty vector without NaN"):
        threshold_attack(bad, [1.0])
    with pytest.raises(ValueError, match="others must be a non-empty vector without NaN"):
        threshold_attack([1.0], bad)
