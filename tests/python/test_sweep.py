"""Sweeps: the sums and numbers of a plain loop, cut over ranks, backing off from memory that is short."""

import numpy as np
import pytest
import torch

from puma_fast import sweep
from puma_fast.data import Samples
from puma_fast.distributed import Ranks
from ranks import in_ranks

X = torch.rand(23, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
SOME = np.array([20, 3, 9, 4, 11])


def sums(positions=None, **options):
    samples = Samples((X,), **options)
    zeros = torch.zeros(3, dtype=torch.float64)
    rows = sweep.each(samples, lambda _, batch: batch[0], positions, columns=3)
    first = sweep.each(samples, lambda places, batch: batch[0][:, 0] + torch.from_numpy(places), positions)
    return sweep.total(samples, lambda _, batch: batch[0].sum(0), zeros, positions).numpy(), rows, first


def shared(positions):
    return sums(positions, ranks=Ranks.of_this_job(), batch_size=4)


@pytest.mark.parametrize("positions", [None, SOME], ids=["all", "some"])
@pytest.mark.parametrize("ranks", [1, 3])
def test_a_sweep_is_a_plain_loop(positions, ranks):
    want = X.numpy() if positions is None else X.numpy()[positions]
    answers = [sums(positions, batch_size=5)] if ranks == 1 else in_ranks(ranks, shared, positions)
    for total, rows, first in answers:
        np.testing.assert_allclose(total, want.sum(0), rtol=1e-14)
        np.testing.assert_array_equal(rows, want)
        np.testing.assert_array_equal(first, want[:, 0] + np.arange(len(want)))


def test_a_sweep_backs_off_from_memory_that_is_short():
    samples = Samples((X,), batch_size="auto")
    seen = []

    def work(places, batch):
        if len(places) > 4:
            raise torch.OutOfMemoryError
        seen.extend(places)
        return batch[0].sum(0)

    total = sweep.total(samples, work, torch.zeros(3, dtype=torch.float64))
    assert seen == list(range(23))
    torch.testing.assert_close(total, X.sum(0))
    assert samples.batch_size <= 4


@pytest.mark.parametrize("batch_size", [2, "auto"])
def test_memory_that_is_too_short_says_what_to_do(batch_size):
    def work(places, batch):
        raise torch.OutOfMemoryError

    with pytest.raises(torch.OutOfMemoryError) as error:
        sweep.each(Samples((X,), batch_size=batch_size), work)
    assert "batch_size" in error.value.__notes__[0]
