"""Within a call a Dataset is read once, as far as memory is granted; in the next it is read anew."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset, IterableDataset

import puma_fast as pf
from puma_fast.data import Samples, kept

N = 23
X = torch.randn(N, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
Y = torch.arange(N) % 3
HOLDOUT = (X[:5], Y[:5])


class Counted(Dataset):
    """Items that know how often each was read."""

    def __init__(self):
        self.reads = np.zeros(N, int)

    def __len__(self):
        return N

    def __getitem__(self, position):
        self.reads[position] += 1
        return X[position], Y[position]


class Stream(IterableDataset):
    def __init__(self):
        self.starts = 0

    def __iter__(self):
        self.starts += 1
        return zip(X, Y, strict=True)


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3)).double()


def facade(data, **options):
    return pf.Puma(network(), data, holdout=HOLDOUT, damping=0.1, batch_size=5, **options)


def test_one_call_reads_every_item_once():
    data = Counted()
    puma = facade(data)
    for held_out in ((X[5:9], Y[5:9]), (X[9:], Y[9:])):
        data.reads[:] = 0
        scores = puma.influence(criterion=held_out)
        np.testing.assert_allclose(scores, facade((X, Y)).influence(criterion=held_out), rtol=1e-6)
        # A call looks at the first items before its work, too.
        assert data.reads[8:].tolist() == [1] * (N - 8)


def test_a_stream_is_read_once_per_call():
    data = Stream()
    puma = facade(data, ids=np.arange(N))
    data.starts = 0
    scores = puma.influence()
    assert data.starts <= 2
    np.testing.assert_array_equal(scores, facade((X, Y)).influence())


@pytest.mark.parametrize("batches", [0, 2.5])
def test_what_does_not_fit_is_read_again(monkeypatch, batches):
    monkeypatch.setattr(kept, "MEMORY", int(batches * 5 * (4 + 1) * 8))
    data = Counted()
    puma = facade(data)
    data.reads[:] = 0
    np.testing.assert_array_equal(puma.influence(), facade((X, Y)).influence())
    first = data.reads[5:10].tolist()
    assert data.reads[-1] > 5
    assert first == ([1] * 5 if batches else [data.reads[-1]] * 5)


def test_nothing_is_kept_outside_a_call_or_after_it():
    data = Counted()
    samples = Samples(data, batch_size=5)
    data.reads[:] = 0
    for _ in range(2):
        list(samples.batches())
    with samples.keeping():
        with samples.keeping():
            list(samples.batches())
        list(samples.batches())
    list(samples.batches())
    assert data.reads.tolist() == [4] * N


def test_batches_of_other_things_than_tensors_are_not_kept():
    class Box:
        def __init__(self, items):
            self.inside = iter(items)

    samples = Samples(DataLoader(Counted(), batch_size=5, collate_fn=list))
    store = kept.Kept()
    with store.open():
        store.put(np.arange(2), (X[:2], Box([1])))
        store.put(np.arange(3), (X[:3], np.zeros(3)))
        store.put(np.arange(4), {"x": X[:4], "n": 4})
        assert store.get(np.arange(2)) is None
        assert store.get(np.arange(3)) is None
        assert store.get(np.arange(4)) is not None
        # A worker's tensors hold a file open each, a view all that it looks into.
        store.put(np.arange(5), (X[:5].clone().share_memory_(), X[5:10]))
        shared, view = store.get(np.arange(5))
        assert not shared.is_shared()
        assert view.untyped_storage().nbytes() == view.nbytes
    assert store.get(np.arange(4)) is None
    assert len(samples) == N
