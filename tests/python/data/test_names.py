"""Samples are called by position, by a mask, or by the names that the user gave them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import puma_fast as pf
from data.items import N, X, Y, network
from puma_fast.data import Samples


def test_ids_are_positions_names_or_a_mask():
    plain = Samples((X, Y))
    assert plain.positions([5, 0]).tolist() == [5, 0]
    assert plain.positions(7).tolist() == [7]
    assert plain.positions(torch.tensor([2, 1])).tolist() == [2, 1]
    assert plain.positions(np.array([3], dtype=np.uint8)).tolist() == [3]
    mask = np.zeros(N, dtype=bool)
    mask[[4, 20]] = True
    for each in (mask, torch.from_numpy(mask), mask.tolist()):
        assert plain.positions(each).tolist() == [4, 20]
    named = Samples((X, Y), ids=[f"img{j}" for j in range(N)])
    assert named.positions(["img9", "img0"]).tolist() == [9, 0]
    assert named.positions("img3").tolist() == [3]
    assert named.positions(mask).tolist() == [4, 20]
    assert Samples((X, Y), ids=torch.arange(N) + 1000).positions([1000, 1022]).tolist() == [0, 22]


def test_removal_takes_names():
    names = np.array([f"img{j}" for j in range(N)])
    settings = {"holdout": (X.flip(0), Y), "damping": 0.1}
    removal = pf.Puma(network(), (X, Y), ids=names, **settings).remove(["img4", "img1"], up=["img9", "img2"])
    assert removal.marked.tolist() == [4, 1]
    assert removal.up.tolist() == [9, 2]


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        ([], "ids is empty: give at least one"),
        (np.zeros(N, dtype=bool), "ids is a mask that marks no sample: give at least one"),
        (np.ones(N + 1, dtype=bool), r"ids is a mask of shape \(24,\); data has 23 samples"),
        ([1, 5, 1], r"ids holds 1 more than once; pass numpy.unique\(ids\)"),
        ([1, 23], "ids holds 23; positions run from 0 to 22"),
        ([-1], "ids holds -1; positions run from 0 to 22"),
        ([1.0], r"ids must be integer positions, got dtype float64; use astype\(int\) or a mask"),
        (["img1"], "ids must be integer positions"),
        ([[1, 2]], r"ids must be one-dimensional, got shape \(1, 2\); pass ids.ravel\(\)"),
        (range(N), "ids mark all 23 samples; at least one must stay"),
    ],
)
def test_bad_ids_are_refused(ids, message):
    puma = pf.Puma(network(), (X, Y), holdout=(X, Y), damping=0.1)
    with pytest.raises(ValueError, match=message):
        puma.remove(ids)


def test_unknown_names_are_refused():
    named = Samples((X, Y), ids=[f"img{j}" for j in range(N)])
    with pytest.raises(ValueError, match="ids holds 'img23', which is not among the ids of data"):
        named.positions(["img1", "img23"])
    with pytest.raises(ValueError, match="up holds 3, which is not among the ids of data"):
        named.positions([3], name="up")
    with pytest.raises(ValueError, match="ids holds img1 more than once"):
        named.positions(["img1", "img2", "img1"])


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        (range(5), r"ids must have one name for each of the 23 samples, got shape \(5,\)"),
        ([0] * N, "ids must be unique: two samples share a name; pass None to use positions"),
        (np.zeros((N, 1)), "ids must have one name for each"),
    ],
)
def test_names_that_do_not_fit_are_refused(ids, message):
    with pytest.raises(ValueError, match=message):
        Samples((X, Y), ids=ids)
