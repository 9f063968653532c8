"""Ranks: blocks that cover everything once, sums that are the same bits everywhere, clear ends."""

import os
import time

import numpy as np
import pytest
import torch
from ranks import in_ranks

from puma_fast.distributed import LostRankError, Ranks


def test_blocks_cover_every_position_once():
    for n in (0, 1, 7, 100):
        for count in (1, 2, 3, 9):
            blocks = [Ranks(index, count).block(n) for index in range(count)]
            assert blocks[0][0] == 0
            assert blocks[-1][1] == n
            assert all(one[1] == next_one[0] for one, next_one in zip(blocks, blocks[1:], strict=False))


def test_a_rank_alone_changes_nothing():
    alone = Ranks.of_this_job()
    part = torch.rand(3)
    assert alone.total(part) is part
    assert alone.shard is None
    alone.require_equal("n", 3, "")


def sums():
    ranks = Ranks.of_this_job()
    part = torch.rand(1000, generator=torch.Generator().manual_seed(ranks.index), dtype=torch.float64)
    whole = np.zeros(10)
    low, high = ranks.block(10)
    whole[low:high] = np.arange(low, high) / 3
    number = np.array([np.iinfo(np.int64).max, ranks.index])
    return part.numpy(), ranks.total(part).numpy(), ranks.assembled(whole), ranks.shard.reduce(number)


def test_sums_are_the_same_bits_on_every_rank():
    answers = in_ranks(3, sums)
    parts = [answer[0] for answer in answers]
    for _, total, assembled, integers in answers:
        np.testing.assert_allclose(total, np.sum(parts, axis=0), rtol=1e-15)
        assert (total == answers[0][1]).all()
        assert (assembled == np.arange(10) / 3).all()
        # Integers wrap around, as bits that travel must.
        assert integers.tolist() == [np.iinfo(np.int64).max - 2, 3]


def unequal():
    ranks = Ranks.of_this_job()
    ranks.require_equal("the length of data", 10 + ranks.index, "give every rank the whole data set")


def test_ranks_that_were_given_different_things_are_told():
    for answer in in_ranks(2, unequal):
        assert isinstance(answer, ValueError)
        assert str(answer) == (
            "the length of data is 10 on rank 0 and 11 on rank 1; give every rank the whole data set"
        )


def lost():
    ranks = Ranks.of_this_job(patience=5)
    if ranks.index == 1:
        os._exit(1)
    ranks.total(torch.zeros(3))


def late():
    ranks = Ranks.of_this_job(patience=3)
    if ranks.index == 1:
        time.sleep(8)
    ranks.total(torch.zeros(3))


@pytest.mark.parametrize("ending", [lost, late])
def test_a_lost_rank_is_a_clear_error_within_the_time_limit(ending):
    started = time.monotonic()
    error = in_ranks(2, ending)[0]
    assert time.monotonic() - started < 60
    assert isinstance(error, LostRankError)
    assert "rank 0 of 2 lost another rank" in str(error)
