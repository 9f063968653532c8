"""Data that cannot be read by position is refused by name, with the way out."""

from __future__ import annotations

import pytest
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    DistributedSampler,
    RandomSampler,
    SequentialSampler,
    SubsetRandomSampler,
    TensorDataset,
    WeightedRandomSampler,
)

import puma_fast as pf
from data.items import Items, N, Stream, X, Y, network
from puma_fast.data import Samples


@pytest.mark.parametrize("name", ["data", "holdout"])
@pytest.mark.parametrize("one_shot", [lambda: iter([(X, Y)]), lambda: ((x, y) for x, y in zip(X, Y))])  # noqa: B905
def test_one_shot_iterators_are_refused(name, one_shot):
    with pytest.raises(
        TypeError, match=f"{name} is an iterator that can be read only once; pass the Dataset"
    ):
        Samples(one_shot(), name=name)


def test_a_stream_needs_ids():
    with pytest.raises(TypeError, match=r"data is an IterableDataset.* pass ids= with one name per sample"):
        Samples(Stream())
    # Held-out data takes no ids=, so the way out is another one.
    with pytest.raises(TypeError, match=r"holdout is an IterableDataset.*: pass a map-style Dataset"):
        pf.Puma(network(), (X, Y), holdout=Stream())
    with pytest.raises(ValueError, match=r"ids must have one name for each of the 1 samples, got shape \(\)"):
        Samples(Stream(), ids=N)
    with pytest.raises(ValueError, match="holds no samples"):
        Samples(Stream(), ids=[])


@pytest.mark.parametrize(("ids", "what"), [(N + 1, "fewer"), (N - 1, "more"), (5, "more"), (40, "fewer")])
def test_a_stream_of_another_length_than_its_ids_is_refused(ids, what):
    with pytest.raises(ValueError, match=f"data gave {what} samples than its {ids} ids"):
        list(Samples(Stream(), ids=range(ids), batch_size=4).batches())


@pytest.mark.parametrize(
    ("data", "error", "message"),
    [
        ((X[:0], Y[:0]), ValueError, "holdout holds no samples"),
        ([], ValueError, "holdout holds no samples"),
        (TensorDataset(X[:0], Y[:0]), ValueError, "holdout holds no samples"),
        ((X, Y[:5]), ValueError, r"holdout holds tensors of different lengths \[23, 5\]; each needs one row"),
        ({"x": X, "y": Y[:5]}, ValueError, r"holdout holds tensors of different lengths \[23, 5\]"),
        (X, TypeError, "holdout must be a tuple or mapping of tensors.*got Tensor"),
        (X.numpy(), TypeError, "holdout must be a tuple or mapping of tensors.*got ndarray"),
        ([X, Y], TypeError, r"holdout is a list of tensors.* pass tuple\(holdout\)"),
        ("cifar10", TypeError, "holdout must be a tuple or mapping of tensors.*got str"),
        ({"x": "a"}, TypeError, "holdout must be a tuple or mapping of tensors.*got dict"),
        (3, TypeError, "holdout must be a tuple or mapping of tensors.*got int"),
        (DataLoader(Items(), batch_size=None), ValueError, "holdout is a DataLoader with batch_size=None"),
        (
            DataLoader(Items(), sampler=SubsetRandomSampler([1, 2])),
            ValueError,
            "holdout is a DataLoader that draws by a SubsetRandomSampler, .*pass the dataset itself.*Subset",
        ),
    ],
)
def test_data_that_is_no_data_is_refused_by_name(data, error, message):
    with pytest.raises(error, match=message):
        Samples(data, name="holdout")


@pytest.mark.parametrize("data", [(X, Y.tolist()), (X, "labels"), (X, None)])
def test_a_tuple_of_arrays_and_others_is_refused(data):
    with pytest.raises(TypeError, match=r"data is a tuple of arrays and a .*or pass list\(data\)"):
        Samples(data)


DRAWN = {
    "list": lambda: DataLoader(Items(), sampler=[3, 1]),
    "in batches": lambda: DataLoader(
        Items(), batch_sampler=BatchSampler(SubsetRandomSampler([1, 2]), 2, drop_last=False)
    ),
    "some": lambda: DataLoader(Items(), sampler=RandomSampler(Items(), num_samples=5)),
    "with replacement": lambda: DataLoader(Items(), sampler=RandomSampler(Items(), replacement=True)),
    "weighted": lambda: DataLoader(Items(), sampler=WeightedRandomSampler([1.0] * N, N)),
    "of another": lambda: DataLoader(Items(), sampler=SequentialSampler(range(5))),
    "own batches": lambda: DataLoader(Items(), batch_sampler=[[0, 1], [2, 3]]),
}


@pytest.mark.parametrize("kind", DRAWN)
def test_a_loader_that_does_not_give_each_sample_once_is_refused(kind):
    with pytest.raises(ValueError, match=r"data is a DataLoader that draws by .*Subset\(dataset, indices\)"):
        Samples(DRAWN[kind]())


def test_loaders_of_the_whole_set_are_read():
    whole = BatchSampler(RandomSampler(Items()), 6, drop_last=True)
    assert Samples(DataLoader(Items(), batch_sampler=whole)).batch_size == 6
    share = DistributedSampler(Items(), num_replicas=2, rank=1)
    assert Samples(DataLoader(Items(), sampler=share)).n == N
