"""Whatever the user's data comes in, the same sample stands at the same position; the rest is refused."""

from __future__ import annotations

import random
import time
from collections import namedtuple

import numpy as np
import pytest
import torch
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    Dataset,
    DistributedSampler,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
    Subset,
    SubsetRandomSampler,
    TensorDataset,
    WeightedRandomSampler,
)

import puma_fast as pf
from puma_fast.data import BATCH_SIZE, Samples

N = 23
X = torch.arange(2.0 * N).view(N, 2)
Y = torch.arange(N) % 3
Pair = namedtuple("Pair", "x y")


class Items(Dataset):
    def __len__(self):
        return N

    def __getitem__(self, position):
        return X[position], Y[position]


class Stream(IterableDataset):
    def __init__(self, count=N):
        self.count = count

    def __iter__(self):
        return zip(X[: self.count], Y[: self.count], strict=True)


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


def scaled_collate(items):
    """A collate function that shows that it was used."""
    x, y = zip(*items, strict=True)
    return 10 * torch.stack(x), torch.stack(y)


def as_list_of_pairs():
    return [(x.numpy(), int(y)) for x, y in zip(X, Y, strict=True)]


def features(made):
    """What a backbone gives that was evaluated with gradients, or under inference_mode."""
    with torch.inference_mode(made == "inference"):
        return X.clone().requires_grad_(made == "graph") * 1


KINDS = {
    "tuple": lambda: (X, Y),
    "tuple with a graph": lambda: (features("graph"), Y),
    "tuple from inference": lambda: (features("inference"), Y),
    "data set with a graph": lambda: TensorDataset(features("graph"), Y),
    "data set from inference": lambda: TensorDataset(features("inference"), Y),
    "arrays": lambda: (X.numpy(), Y.numpy()),
    "mixed": lambda: (X.numpy(), Y),
    "named tuple": lambda: Pair(X, Y),
    "mapping": lambda: {"x": X, "y": Y},
    "mapping of arrays": lambda: {"x": X.numpy(), "y": Y.numpy()},
    "tensor data set": lambda: TensorDataset(X, Y),
    "map-style": Items,
    "list of items": as_list_of_pairs,
    "subset": lambda: Subset(Items(), range(N)),
    "loader": lambda: DataLoader(Items(), batch_size=4, shuffle=True),
    "loader, last dropped": lambda: DataLoader(Items(), batch_size=4, drop_last=True),
    "loader with workers": lambda: DataLoader(Items(), batch_size=4, shuffle=True, num_workers=2),
}


def read(samples, positions=None):
    """Read everything: positions, X and Y."""
    rows = list(samples.batches(positions))
    parts = [tuple(batch.values()) if isinstance(batch, dict) else tuple(batch) for _, batch in rows]
    where = np.concatenate([where for where, _ in rows])
    return where, torch.cat([part[0] for part in parts]), torch.cat([part[1] for part in parts])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("batch_size", [1, 5, N, 100])
def test_every_kind_is_read_in_order(kind, batch_size):
    if kind == "loader with workers" and batch_size == 1:
        pytest.skip("the same as with 5, only slow")
    samples = Samples(KINDS[kind](), batch_size=batch_size)
    assert len(samples) == samples.n == N
    sizes = [len(where) for where, _ in samples.batches()]
    assert sizes == [min(batch_size, N - start) for start in range(0, N, batch_size)]
    for _ in range(2):
        where, x, y = read(samples)
        assert where.tolist() == list(range(N))
        assert torch.equal(x, X)
        assert torch.equal(y, Y)
    some = np.array([22, 0, 1, 2, 7, 3])
    where, x, y = read(samples, some)
    assert where.tolist() == some.tolist()
    assert torch.equal(x, X[some])
    assert torch.equal(y, Y[some])
    first = samples.first(3)
    assert torch.equal(first["x"] if isinstance(first, dict) else first[0], X[:3])


@pytest.mark.parametrize("batch_size", [1, 5, 100])
@pytest.mark.parametrize("wrap", [lambda stream: stream, lambda stream: DataLoader(stream, batch_size=4)])
def test_a_stream_with_ids_is_read_in_order(batch_size, wrap):
    samples = Samples(wrap(Stream()), ids=np.arange(N), batch_size=batch_size)
    for positions in (None, np.array([22, 0, 1, 2, 7, 3])):
        where, x, y = read(samples, positions)
        assert torch.equal(x, X[where])
        assert torch.equal(y, Y[where])
        assert where.tolist() == (list(range(N)) if positions is None else positions.tolist())


def test_a_loader_brings_its_batch_size_collate_function_and_workers():
    loader = DataLoader(Items(), batch_size=4, collate_fn=scaled_collate, shuffle=True, num_workers=2)
    samples = Samples(loader)
    assert samples.batch_size == 4
    assert torch.equal(read(samples)[1], 10 * X)
    assert Samples(loader, batch_size=9).batch_size == 9
    assert Samples((X, Y)).batch_size == BATCH_SIZE


class Opened(Items):
    """Items that only a prepared worker may read often."""

    opened = False

    def __getitem__(self, position):
        info = torch.utils.data.get_worker_info()
        assert info is None or info.dataset.opened
        return super().__getitem__(position)


def open_worker(_):
    torch.utils.data.get_worker_info().dataset.opened = True


def test_workers_are_prepared_as_the_loader_says():
    loader = DataLoader(Opened(), batch_size=8, num_workers=1, worker_init_fn=open_worker)
    assert torch.equal(read(Samples(loader))[1], X)


@pytest.mark.parametrize("kind", ["map-style", "loader", "loader with workers"])
def test_reading_draws_no_numbers(kind):
    samples = Samples(KINDS[kind](), batch_size=12)
    state = torch.get_rng_state()
    read(samples)
    assert torch.equal(torch.get_rng_state(), state)


def test_a_pass_can_be_cut_finer():
    samples = Samples((X, Y), batch_size=100)
    assert len(list(samples.batches(at_least=8))) == 8
    assert len(list(samples.batches(np.array([4, 5]), at_least=8))) == 2
    assert list(samples.batches(np.array([], dtype=np.int64))) == []


def test_a_random_order_holds_every_sample_and_stays_the_same():
    samples = Samples((X, Y))
    assert sorted(samples.scattered()) == list(range(N))
    assert samples.scattered().tolist() == samples.scattered().tolist() != list(range(N))
    assert Samples(Stream(), ids=range(N)).scattered() is None


def network():
    torch.manual_seed(0)
    return torch.nn.Linear(2, 3)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if not kind.startswith("mapping")])
def test_influence_and_removal_are_the_same_for_every_kind(kind):
    settings = {"holdout": (X.flip(0), Y), "damping": 0.1}
    reference = pf.Puma(network(), (X, Y), batch_size=N, **settings)
    puma = pf.Puma(network(), KINDS[kind](), batch_size=6, **settings)
    scale = np.abs(reference.influence()).max()
    np.testing.assert_allclose(puma.influence(), reference.influence(), atol=1e-4 * scale)
    one, other = (each.remove([1, 2], up=5).delta for each in (puma, reference))
    for name, value in one.items():
        torch.testing.assert_close(value, other[name], rtol=1e-3, atol=1e-4 * float(other[name].abs().max()))


# Names and masks.


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


# Data that cannot be read by position.


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


def test_the_batch_size_is_at_least_one():
    with pytest.raises(ValueError, match="batch_size must be at least 1, got 0"):
        Samples((X, Y), batch_size=0)


def test_a_bar_is_seen_after_two_seconds_and_only_where_it_is_wanted(capsys):
    data = (torch.zeros(4, 1),)
    shown, silent = (Samples(data, batch_size=1, progress=progress) for progress in (True, None))
    for _ in zip(shown.batches(description="shown"), silent.batches(description="silent"), strict=True):
        time.sleep(0.8)
    seen = capsys.readouterr().err
    assert "shown" in seen
    assert "silent" not in seen


# What a collate function may make of items, and how a loader may draw them.


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


@pytest.mark.parametrize("data", [(X, Y.tolist()), (X, "labels"), (X, None)])
def test_a_tuple_of_arrays_and_others_is_refused(data):
    with pytest.raises(TypeError, match=r"data is a tuple of arrays and a .*or pass list\(data\)"):
        Samples(data)


def test_columns_may_be_nested():
    samples = Samples(({"a": X, "b": (X, Y)}, Y), batch_size=4)
    batch = samples.first(3)
    assert samples.n == N
    assert torch.equal(batch[0]["b"][1], Y[:3])
    with pytest.raises(ValueError, match=r"different lengths \[23, 5\]"):
        Samples(({"a": X}, Y[:5]))


def test_the_first_samples_are_one_batch():
    for samples in (Samples((X, Y)), Samples(Items()), Samples(Stream(), ids=range(N))):
        x, y = samples.first(2)
        assert torch.equal(x, X[:2])
        assert torch.equal(y, Y[:2])
        assert samples.n == N


@pytest.mark.parametrize("batch_size", [2.5, "many"])
def test_the_batch_size_is_a_whole_number(batch_size):
    with pytest.raises(TypeError, match="batch_size"):
        Samples((X, Y), batch_size=batch_size)
