"""Ranks of a job: the same numbers as one process, the same bits on every rank, clear ends."""

import os
import time
from itertools import pairwise

import numpy as np
import pytest
import torch
import torch.distributed as dist

import puma_fast as pf
from puma_fast.distributed import LostRankError, Ranks
from ranks import in_ranks


def test_blocks_cover_every_position_once():
    for n in (0, 1, 7, 100):
        for count in (1, 2, 3, 9):
            blocks = [Ranks(index, count).block(n) for index in range(count)]
            assert blocks[0][0] == 0
            assert blocks[-1][1] == n
            assert all(one[1] == other[0] for one, other in pairwise(blocks))


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


def reads_late(path):
    ranks = Ranks.of_this_job(patience=10)
    if ranks.index == 1:
        time.sleep(0.5)
        assert path.read_text() == "kept"
    ranks.first(path.unlink)


def test_the_first_rank_takes_nothing_away_that_another_still_reads(tmp_path):
    path = tmp_path / "shared"
    path.write_text("kept")
    assert in_ranks(2, reads_late, path) == [None, None]
    assert not path.exists()


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


N, HELD_OUT = 61, 20
GENERATOR = torch.Generator().manual_seed(1)
X = torch.randn(N + HELD_OUT, 5, generator=GENERATOR, dtype=torch.float64)
Y = torch.randint(0, 3, (N + HELD_OUT,), generator=GENERATOR)
MARKED = [3, 40, 60, 7]


def network():
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(5, 6), torch.nn.Tanh(), torch.nn.Linear(6, 3)).double()


def facade(n=N, **options):
    data = (X[:n], Y[:n])
    return pf.Puma(network(), data, holdout=(X[N:], Y[N:]), weight_decay=0.01, batch_size=8, **options)


ASKED = {
    "rest": {},
    "sparse in a box": {"l1": 1e-4, "lower": -1, "upper": 1},
    "drawn": {"up": 20},
    "chosen": {"up": [50, 2, 30, 31, 9]},
    "none": {"up": None},
    "two criteria": {
        "criterion": {"half": (X[N : N + 10], Y[N : N + 10]), "rest": (X[N + 10 :], Y[N + 10 :])}
    },
}


def everything():
    """Give what the main job gives, a name for each number; one start of the ranks for all of it."""
    puma = facade()
    found = {"psi": puma.influence(), "self": puma.self_influence([0, 5, 33], probes=3)}
    for asked, options in ASKED.items():
        removal = puma.remove(MARKED, **options)
        report = removal.report
        found |= {
            f"{asked}: weights": removal.weights,
            f"{asked}: b": removal.b,
            f"{asked}: predicted": removal.predicted.by_scores,
            f"{asked}: criterion after": report.after.criterion,
            f"{asked}: attack after": report.after.attack.advantage,
        }
        for name, value in removal.model.named_parameters():
            found[f"{asked}: {name}"] = value.detach().numpy()
    return found


@pytest.mark.parametrize("ranks", [2, 3])
def test_ranks_give_the_numbers_of_one(ranks):
    answers = in_ranks(ranks, everything)
    for name, value in everything().items():
        for answer in answers:
            # Probes are rooted to 1e-4 only, and where that stops may shift with the rounding.
            rounding = 1e-4 if name == "self" else 1e-7
            scale = rounding / 100 * np.abs(value).max(initial=0)
            np.testing.assert_allclose(answer[name], value, rtol=rounding, atol=scale, err_msg=name)
            assert np.array_equal(answer[name], answers[0][name]), f"{name} differs between ranks"


def trained_together():
    """Train one epoch under DistributedDataParallel and ask while still wrapped; give the weights, too."""
    model = torch.nn.parallel.DistributedDataParallel(network())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for batch in torch.arange(N)[dist.get_rank() : N - 1 : 2].split(6):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(X[batch]), Y[batch]).backward()
        optimizer.step()
    puma = pf.Puma(model, (X[:N], Y[:N]), holdout=(X[N:], Y[N:]), weight_decay=0.01, batch_size=8)
    removal = puma.remove(MARKED)
    found = {"psi": puma.influence(), "weights": removal.weights, "delta": removal.delta["0.weight"].numpy()}
    return found, type(removal.model).__name__, model.module.state_dict()


def test_a_model_that_ranks_train_together_is_taken_in_its_wrapper():
    answers = in_ranks(2, trained_together)
    alone = network()
    alone.load_state_dict(answers[0][2])
    puma = pf.Puma(alone, (X[:N], Y[:N]), holdout=(X[N:], Y[N:]), weight_decay=0.01, batch_size=8)
    removal = puma.remove(MARKED)
    assert not torch.equal(alone[0].weight, network()[0].weight)
    want = {"psi": puma.influence(), "weights": removal.weights, "delta": removal.delta["0.weight"].numpy()}
    for found, kind, _ in answers:
        assert kind == "Sequential"
        for name, value in want.items():
            np.testing.assert_allclose(
                found[name], value, rtol=1e-7, atol=1e-9 * np.abs(value).max(), err_msg=name
            )
            assert np.array_equal(found[name], answers[0][0][name]), f"{name} differs between ranks"


def of_other_lengths():
    facade(N - dist.get_rank())


def of_other_models():
    model = network()
    with torch.no_grad():
        model[0].bias += dist.get_rank()
    pf.Puma(model, (X, Y))


def test_ranks_with_other_data_or_models_are_refused():
    for error in in_ranks(2, of_other_lengths):
        assert isinstance(error, ValueError)
        assert "the number of samples in data is 61 on rank 0 and 60 on rank 1" in str(error)
    for error in in_ranks(2, of_other_models):
        assert isinstance(error, ValueError)
        assert "the checksum of the model" in str(error)


def alone_among_others():
    return facade(distributed=False).influence() if dist.get_rank() == 0 else None


def test_a_rank_may_work_alone():
    np.testing.assert_array_equal(in_ranks(2, alone_among_others)[0], facade().influence())


def streamed(path, dies):
    puma = facade(patience=5 if dies else 60)
    if dies and dist.get_rank() == 1:
        # The process ends in the middle of its scores, like one that is killed.
        batches, puma._data.batches = puma._data.batches, None

        def some(positions=None, **options):
            for count, batch in enumerate(batches(positions, **options)):
                if options["description"] == "scores" and count == 2:
                    os._exit(1)
                yield batch

        puma._data.batches = some
    return np.array(puma.influence(out=path))


def test_a_lost_rank_keeps_the_finished_scores_and_the_job_goes_on(tmp_path):
    path = tmp_path / "scores.npy"
    error = in_ranks(2, streamed, path, True)[0]
    assert isinstance(error, LostRankError)
    done = np.load(tmp_path / "scores.done.npy")
    assert 0 < done.sum() < N
    for scores in in_ranks(2, streamed, path, False):
        np.testing.assert_allclose(scores, facade().influence(), rtol=1e-7)
