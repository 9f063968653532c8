"""Data that reads differently the second time is refused, whatever hides it."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from data.items import Items, N, X, Y
from puma_fast.data import Samples


class Noisy(Items):
    """Items with a random transform, from one of three generators."""

    def __init__(self, draw):
        self.draw = draw

    def __getitem__(self, position):
        return X[position] + self.draw(), Y[position]


def torch_noise():
    return torch.rand(()).item()


def numpy_noise():
    return np.random.rand()  # noqa: NPY002


def python_noise():
    return random.random()


@pytest.mark.parametrize("noise", [torch_noise, numpy_noise, python_noise])
@pytest.mark.parametrize(
    "wrap",
    [
        lambda data: data,
        lambda data: DataLoader(data, num_workers=1),
        lambda data: DataLoader(data, shuffle=True),
    ],
)
def test_random_transforms_are_refused(noise, wrap):
    with pytest.raises(ValueError, match="data reads differently the second time: random transforms"):
        Samples(wrap(Noisy(noise)))


class Shuffled(IterableDataset):
    def __iter__(self):
        return iter([(X[j], Y[j]) for j in torch.randperm(N)])


def test_a_shuffling_stream_is_refused():
    with pytest.raises(ValueError, match="data reads differently the second time"):
        Samples(Shuffled(), ids=range(N))


def test_nan_items_are_not_taken_for_random_ones():
    assert Samples(TensorDataset(torch.full((4, 2), torch.nan), Y[:4])).n == 4


class Made:
    def __init__(self, x, y):
        self.x, self.y = x, y


@pytest.mark.parametrize("make", [lambda x, y: (x.numpy(), y.numpy()), Made])
def test_random_transforms_do_not_hide_in_arrays_or_objects(make):
    def collate(items):
        return make(*torch.utils.data.default_collate(items))

    with pytest.raises(ValueError, match="data reads differently the second time"):
        Samples(DataLoader(Noisy(torch_noise), collate_fn=collate))
    assert Samples(DataLoader(Items(), collate_fn=collate)).n == N


def test_a_batch_that_cannot_be_compared_is_refused_by_name():
    loader = DataLoader(Items(), collate_fn=lambda items: (torch.stack([x for x, _ in items]), open))
    assert Samples(loader).n == N
    loader = DataLoader(Items(), collate_fn=lambda items: (item for item in items))
    with pytest.raises(
        TypeError, match=r"data gives batches that hold a generator .*objects that can be pickled"
    ):
        Samples(loader)
