"""Whatever the user's data comes in, the same sample stands at the same position."""

from __future__ import annotations

import time
from collections import namedtuple

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Subset, TensorDataset

import puma_fast as pf
from data.items import Items, N, Stream, X, Y, network
from puma_fast.data import BATCH_SIZE, Samples

Pair = namedtuple("Pair", "x y")


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


class Pooled(torch.nn.Module):
    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x):
        return self.inner(x.mean(1))


def test_samples_of_any_shape_are_read_one_by_one(tmp_path):
    torch.manual_seed(0)
    data = [(torch.randn(2 + i % 5, 2), Y[i]) for i in range(N)]
    means = torch.stack([x.mean(0) for x, _ in data])
    model = torch.nn.Linear(2, 3)
    settings = {"holdout": (means, Y), "damping": 0.1}
    expected = pf.Puma(model, (means, Y), **settings)
    settings["holdout"] = data
    found = pf.Puma(Pooled(model), data, batch_size=1, **settings)
    np.testing.assert_allclose(found.influence(), expected.influence(), rtol=1e-3, atol=1e-5)
    np.testing.assert_array_equal(found.influence(out=tmp_path / "psi.npy"), found.influence())
    removals = [puma.remove([0, 1], up=4).report.after.criterion for puma in (found, expected)]
    assert removals[0] == pytest.approx(removals[1], rel=1e-4)
    with pytest.raises(RuntimeError, match="stack expects each tensor to be equal size") as caught:
        pf.Puma(Pooled(model), data, **settings)
    assert "or pass a DataLoader with a collate_fn, or batch_size=1" in caught.value.__notes__[0]


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


def test_the_first_samples_are_one_batch():
    for samples in (Samples((X, Y)), Samples(Items()), Samples(Stream(), ids=range(N))):
        x, y = samples.first(2)
        assert torch.equal(x, X[:2])
        assert torch.equal(y, Y[:2])
        assert samples.n == N


def test_columns_may_be_nested():
    samples = Samples(({"a": X, "b": (X, Y)}, Y), batch_size=4)
    batch = samples.first(3)
    assert samples.n == N
    assert torch.equal(batch[0]["b"][1], Y[:3])
    with pytest.raises(ValueError, match=r"different lengths \[23, 5\]"):
        Samples(({"a": X}, Y[:5]))


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


def test_a_bar_is_seen_after_two_seconds_and_only_where_it_is_wanted(capsys):
    data = (torch.zeros(4, 1),)
    shown, silent = (Samples(data, batch_size=1, progress=progress) for progress in (True, None))
    for _ in zip(shown.batches(description="shown"), silent.batches(description="silent"), strict=True):
        time.sleep(0.8)
    seen = capsys.readouterr().err
    assert "shown" in seen
    assert "silent" not in seen


def test_the_batch_size_is_at_least_one():
    with pytest.raises(ValueError, match="batch_size must be at least 1, got 0"):
        Samples((X, Y), batch_size=0)


@pytest.mark.parametrize("batch_size", [2.5, "many"])
def test_the_batch_size_is_a_whole_number(batch_size):
    with pytest.raises(TypeError, match="batch_size"):
        Samples((X, Y), batch_size=batch_size)
