"""Which samples may be reweighted: the rest, that many in proportion, those named, or none."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

import puma_fast as pf

SIZES = (41, 13, 6)
N = sum(SIZES)
Y = torch.repeat_interleave(torch.arange(3), torch.tensor(SIZES))[
    torch.randperm(N, generator=torch.Generator().manual_seed(0))
]
X = torch.randn(N, 4, generator=torch.Generator().manual_seed(1))
MARKED = [5, 0, 17]


def puma_of(data=(X, Y), **arguments):
    torch.manual_seed(0)
    return pf.Puma(nn.Linear(4, 3), data, **({"holdout": (X, Y.flip(0)), "damping": 0.1} | arguments))


@pytest.fixture(scope="module")
def puma():
    return puma_of()


def largest_remainder(sizes, count):
    """Share `count` out in proportion, naively."""
    whole = sum(sizes.values())
    quotas = {label: math.floor(size * count / whole) for label, size in sizes.items()}
    for label in sorted(sizes, key=lambda label: (quotas[label] - sizes[label] * count / whole, label)):
        if sum(quotas.values()) < count:
            quotas[label] += 1
    return quotas


def test_the_rest_is_every_unmarked_sample(puma):
    assert puma.remove(MARKED).up.tolist() == sorted(set(range(N)) - set(MARKED))


@pytest.mark.parametrize("count", [1, 2, 3, 7, 10, 31, N - 3])
def test_a_number_is_drawn_from_every_class_in_proportion(puma, count):
    up = puma.remove(MARKED, up=count).up
    assert len(set(up.tolist())) == len(up) == count
    assert up.tolist() == sorted(up)
    assert not set(up) & set(MARKED)
    sizes = Counter(Y.tolist())
    sizes.subtract(Y[MARKED].tolist())
    drawn = Counter(Y[up].tolist())
    assert {label: drawn[label] for label in sizes} == largest_remainder(sizes, count)


def test_the_draw_is_seeded(puma):
    draws = [puma.remove(MARKED, up=20, seed=seed).up.tolist() for seed in (0, 0, 1)]
    assert draws[0] == draws[1] != draws[2]
    assert puma.remove(MARKED, up=20).up.tolist() == draws[0]
    assert puma.remove(MARKED, up=np.int64(20)).up.tolist() == draws[0]


def test_without_classes_a_number_is_drawn_from_all():
    real = puma_of((X, torch.randn(N, 3)), loss="mse_loss", holdout=(X, torch.randn(N, 3)))
    assert len(real.remove(MARKED, up=20).up) == 20

    def objective(model, batch):
        return functional.cross_entropy(model(batch[0]), batch[1], reduction="none")

    whole = puma_of(objective=objective, curvature="hessian")
    assert len(whole.remove(MARKED, up=20).up) == 20


def test_ids_are_taken_in_their_order(puma):
    removal = puma.remove(MARKED, up=[9, 3, 20])
    assert removal.up.tolist() == [9, 3, 20]
    np.testing.assert_allclose(removal.psi_up, puma.influence()[[9, 3, 20]])
    mask = np.zeros(N, dtype=bool)
    mask[[3, 9]] = True
    assert puma.remove(MARKED, up=mask).up.tolist() == [3, 9]


def test_none_is_plain_removal(puma):
    removal = puma.remove(MARKED, up=None)
    assert len(removal.up) == len(removal.weights) == 0
    assert removal.reweighting is None
    assert removal.direction is removal.plain
    assert "none (up=None)" in str(removal.report)
    assert removal.report.numbers()["reweighting"] is None


@pytest.mark.parametrize(
    ("up", "message"),
    [
        ("all", "up must be 'rest', a number of samples, ids or None, got 'all'"),
        (0, "up=0: of the unmarked samples 1 to 57 can be drawn; or pass 'rest'"),
        (-1, "up=-1: of the unmarked samples 1 to 57"),
        (58, "up=58: of the unmarked samples 1 to 57"),
        ([1, 17], "up holds the marked sample at position 17; leave marked samples out of up"),
        ([], "up is empty"),
        ([1, 1], r"up holds 1 more than once; pass numpy.unique\(up\)"),
        ([60], "up holds 60; positions run from 0 to 59"),
        ([1.5], "up must be integer positions"),
        (True, r"up is a mask of shape \(1,\)"),
        (np.zeros(N, dtype=bool), "up is a mask that marks no sample"),
    ],
)
def test_other_values_are_refused(puma, up, message):
    with pytest.raises(ValueError, match=message):
        puma.remove(MARKED, up=up)


def test_eta_may_be_any_real_number(puma):
    assert puma.remove(MARKED, eta=np.float32(0.5), up=None).eta == 0.5
    assert puma.remove(MARKED, eta=1, up=None).eta == 1.0


def test_seconds_are_those_of_this_removal(puma):
    puma.remove(MARKED)
    assert "reweighted solve" in puma.remove(MARKED).seconds
    assert not {"reweighting", "reweighted solve"} & set(puma.remove(MARKED, up=None).seconds)
