"""The user's model, its modes and gradients, and every random state are as they were, come what may."""

from __future__ import annotations

import copy
import random
import threading
from contextlib import nullcontext

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset

import puma_fast as pf

N = 24
generator = torch.Generator().manual_seed(0)
X = torch.randn(N, 4, generator=generator)
Y = torch.randint(0, 3, (N,), generator=generator)


class Items(Dataset):
    def __len__(self):
        return N

    def __getitem__(self, position):
        return X[position], Y[position]


class Counter(nn.Module):
    """Counts its calls in a buffer, in eval mode too."""

    def __init__(self):
        super().__init__()
        self.register_buffer("calls", torch.zeros((), dtype=torch.int64))

    def forward(self, x):
        self.calls += 1
        return x


def network():
    """Everything that could be touched: buffers, mixed modes, a frozen layer, gradients of its own."""
    torch.manual_seed(0)
    model = nn.Sequential(
        Counter(),
        nn.Linear(4, 5),
        nn.BatchNorm1d(5),
        nn.Dropout(0.5),
        nn.Unflatten(1, (1, 5)),
        nn.LSTM(5, 5, batch_first=True),
        Last(),
        nn.Linear(5, 3),
    )
    model.train()
    model[2].eval()
    model[1].bias.requires_grad_(False)
    functional.cross_entropy(model(X), Y).backward()
    return model


class Last(nn.Module):
    def forward(self, outputs):
        return outputs[0][:, -1]


def state(model):
    """Give everything that must stay."""
    return {
        "values": [(name, value.clone()) for name, value in model.state_dict().items()],
        "objects": [id(each) for each in [*model.parameters(), *model.buffers()]],
        "versions": [each._version for each in [*model.parameters(), *model.buffers()]],
        "flags": [each.requires_grad for each in model.parameters()],
        "gradients": [None if each.grad is None else each.grad.clone() for each in model.parameters()],
        "modes": [each.training for each in model.modules()],
        "torch": torch.get_rng_state(),
        "numpy": list(np.random.get_state()),  # noqa: NPY002
        "python": random.getstate(),
        "default type": torch.get_default_dtype(),
        "gradient mode": torch.is_grad_enabled(),
        "inference mode": torch.is_inference_mode_enabled(),
        "attention": torch.backends.mha.get_fastpath_enabled(),
        "flash": torch.backends.cuda.flash_sdp_enabled(),
        "oneDNN": torch.backends.mkldnn.enabled,
        "cudnn": torch.backends.cudnn.enabled,
        "loaded": torch.random.initial_seed(),
    }


def same(one, other):
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, np.ndarray):
        return np.array_equal(one, other)
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other


def assert_same(before, after):
    for key, value in before.items():
        assert same(value, after[key]), key


def draws(model, batch):
    """A forward that draws from every generator, as a careless one does, without an effect."""
    torch.rand(3)
    np.random.rand()  # noqa: NPY002
    random.random()
    return model(batch[0])


SETTINGS = {"forward": draws, "batch_size": 7, "damping": 0.1}
DATA = {
    "tensors": lambda: (X, Y),
    "loader": lambda: DataLoader(Items(), batch_size=5, shuffle=True),
    "loader with workers": lambda: DataLoader(Items(), batch_size=12, shuffle=True, num_workers=1),
}


@pytest.mark.parametrize("data", DATA)
@pytest.mark.parametrize("context", [nullcontext, torch.no_grad, torch.inference_mode])
def test_nothing_is_touched_by_the_main_job(data, context):
    model = network()
    before = state(model)
    numbers = []
    with context():
        inside = state(model)
        puma = pf.Puma(model, DATA[data](), holdout=(X, Y), **SETTINGS)
        assert_same(inside, state(model))
        numbers.append(puma.influence())
        assert_same(inside, state(model))
        removal = puma.remove([0, 1], up=6)
        assert_same(inside, state(model))
        removal.report.numbers()
        numbers.append(torch.cat([each.flatten() for each in removal.delta.values()]))
        assert removal.model[0].calls == model[0].calls
        assert_same(inside, state(model))
    assert_same(before, state(model))
    plain = pf.Puma(model, (X, Y), holdout=(X, Y), **SETTINGS)
    np.testing.assert_allclose(numbers[0], plain.influence(), rtol=1e-4, atol=1e-6)
    assert float(numbers[1].abs().sum()) > 0


def test_a_patched_model_shares_nothing_and_keeps_modes_and_flags():
    model = network()
    removal = pf.Puma(model, (X, Y), holdout=(X, Y), **SETTINGS).remove([0, 1])
    there = removal.model
    assert [each.training for each in there.modules()] == [each.training for each in model.modules()]
    assert [each.requires_grad for each in there.parameters()] == [
        each.requires_grad for each in model.parameters()
    ]
    before = state(model)
    with torch.no_grad():
        for each in [*there.parameters(), *there.buffers()]:
            each.zero_()
    assert_same(before, state(model))


class BrokenError(Exception):
    """What the user's code raises."""


class Breaks:
    """Counts calls and raises at the k-th."""

    def __init__(self, at):
        self.at = at
        self.calls = 0

    def __call__(self):
        self.calls += 1
        if self.calls == self.at:
            raise BrokenError


def main_job(model, breaks, where):
    """Run the main job with `breaks` called from the loss, the forward or the data set."""

    def loss(outputs, targets):
        if where == "loss":
            breaks()
        return functional.cross_entropy(outputs, targets, reduction="none")

    def forward(model, batch):
        model.train()
        if where == "forward":
            breaks()
        model.eval()
        return draws(model, batch)

    class Counted(Items):
        def __getitem__(self, position):
            if where == "data":
                breaks()
            return super().__getitem__(position)

    def criterion(model):
        if where == "criterion":
            breaks()
        return functional.cross_entropy(model(X), Y)

    class Counting(nn.Module):
        """Raises in the middle of a forward, with the parameters swapped."""

        def __init__(self, inner):
            super().__init__()
            self.inner = inner

        def forward(self, x):
            x = self.inner(x)
            if where == "model":
                breaks()
            return x

    whole = Counting(model)
    settings = SETTINGS | {"forward": forward}
    puma = pf.Puma(whole, Counted(), loss, holdout=(X, Y), criterion=criterion, **settings)
    puma.remove([0, 1], up=6, eta="auto", max_change=1e-3).report.numbers()


@pytest.mark.parametrize("where", ["loss", "forward", "data", "criterion", "model"])
def test_nothing_is_touched_when_an_exception_passes_through(where):
    """At calls spread over the whole job, the last one too."""
    model = network()
    counting = Breaks(0)
    main_job(model, counting, where)
    assert counting.calls > 5
    before = state(model)
    for at in sorted({1, 2, *np.linspace(1, counting.calls, 5).astype(int).tolist()}):
        with pytest.raises(BrokenError):
            main_job(model, Breaks(at), where)
        assert_same(before, state(model))


def test_the_modes_are_the_users_between_calls():
    """The modes are given back as they are at the call, not as they were at the start."""
    model = network()
    puma = pf.Puma(model, (X, Y), holdout=(X, Y), **SETTINGS)
    model.eval()
    model[3].train()
    modes = [each.training for each in model.modules()]
    puma.influence()
    assert [each.training for each in model.modules()] == modes


# Training after Puma(...).


def linear():
    torch.manual_seed(0)
    return nn.Linear(4, 3)


def trained(model):
    """Take one step."""
    optimiser = torch.optim.SGD(model.parameters(), lr=0.5)
    functional.cross_entropy(model(X), Y).backward()
    optimiser.step()


def replaced(model):
    """Put another parameter in the place of the old one, which stays alive."""
    model.weight = nn.Parameter(2 * model.weight.detach())


def loaded(model):
    state = {name: 0.5 * value for name, value in model.state_dict().items()}
    model.load_state_dict(state, assign=True)


@pytest.mark.parametrize("change", [trained, replaced, loaded])
def test_a_model_that_is_changed_is_solved_for_again(change):
    model = linear()
    settings = {"holdout": (X.flip(0), Y), "damping": 0.1}
    puma = pf.Puma(model, (X, Y), **settings)
    before, early = puma.influence(), puma.remove([0, 1], up=6)
    kept = early.model
    late = puma.remove([0, 1], up=6)
    change(model)
    fresh = pf.Puma(model, (X, Y), **settings)
    assert np.abs(fresh.influence() - before).max() > 1e-3 * np.abs(before).max()
    np.testing.assert_array_equal(puma.influence(), fresh.influence())
    for one, other in zip(
        puma.remove([0, 1], up=6).model.parameters(),
        fresh.remove([0, 1], up=6).model.parameters(),
        strict=True,
    ):
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-7)
    assert early.model is kept
    for outdated in (late, early.at(0.5)):
        with pytest.raises(
            RuntimeError, match=r"its data were changed since this removal.*call remove again"
        ):
            _ = outdated.model
        with pytest.raises(
            RuntimeError, match=r"its data were changed since this removal.*call remove again"
        ):
            _ = outdated.report


def test_buffers_count_as_the_model():
    model = network()
    puma = pf.Puma(model, (X, Y), holdout=(X, Y), **SETTINGS)
    before = puma.influence()
    with torch.no_grad():
        model[2].running_var *= 4
    assert np.abs(puma.influence() - before).max() > 1e-3 * np.abs(before).max()


class Remembering(nn.Module):
    """Keeps its activations and counts its calls, as models made for probing do."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(3, 2)
        self.calls = 0

    def forward(self, x):
        self.calls += 1
        self.hidden = self.linear(x)
        return self.hidden


def test_what_a_forward_keeps_on_the_model_is_taken_away_again():
    model = Remembering()
    data = (torch.randn(12, 3), torch.randint(0, 2, (12,)))
    removal = pf.Puma(model, data, holdout=data).remove([0])
    assert removal.report.before.criterion > 0
    assert model.calls == 0
    assert not hasattr(model, "hidden")
    copy.deepcopy(model)
    assert removal.model.calls == 0


def test_autocast_around_a_call_changes_nothing():
    model = nn.Linear(3, 2)
    data = (torch.randn(12, 3), torch.randint(0, 2, (12,)))
    expected = pf.Puma(model, data, holdout=data).influence()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = pf.Puma(model, data, holdout=data).influence()
    assert (found == expected).all()


@pytest.mark.parametrize("data", [(X, Y), Items()], ids=["tensors", "dataset"])
@pytest.mark.parametrize("solver", ["cg", "nystrom", "lanczos", "lissa", "exact"])
def test_the_default_device_is_of_no_matter(data, solver):
    """Here it is one that holds no values: what is made there by mistake cannot be computed with."""
    model = nn.Linear(4, 3)
    settings = {"holdout": (X, Y), "damping": 1.0, "solver": solver}
    expected = pf.Puma(model, data, **settings).influence()
    with torch.device("meta"):
        puma = pf.Puma(model, data, **settings)
        found = puma.influence()
        removal = puma.remove([0, 1], up=4, eta="auto", max_change=0.1, criterion=pf.per_class((X, Y)))
        assert removal.report.after.criterion.shape == (3,)
        puma.self_influence([0]), puma.self_influence(probes=2), next(puma.per_sample_gradients(projection=2))
    assert (found == expected).all()


def test_what_is_made_under_inference_mode_can_be_trained():
    with torch.inference_mode():
        removal = pf.Puma(nn.Linear(4, 3), (X, Y), holdout=(X, Y)).remove([0])
        patched, delta = removal.model, removal.delta
    assert not any(each.is_inference() for each in [*patched.parameters(), *delta.values()])
    functional.cross_entropy(patched(X), Y).backward()


def test_threads_wait_for_one_another():
    """torch has one level of forward mode and one set of switches for all threads."""
    before = torch.backends.mha.get_fastpath_enabled(), torch.backends.mkldnn.enabled
    found, failed = [], []

    def work():
        try:
            model = nn.LSTM(4, 3)
            data = X[:, None], torch.zeros(N, 1, 3)
            puma = pf.Puma(model, data, "mse_loss", forward=lambda model, batch: model(batch[0])[0])
            found.append(puma.influence().shape)
        except RuntimeError as error:
            failed.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert not failed
    assert found == [(N,)] * 4
    assert (torch.backends.mha.get_fastpath_enabled(), torch.backends.mkldnn.enabled) == before


@pytest.mark.parametrize("allow_tf32", [False, True])
def test_tf32_is_off_for_the_length_of_a_call_unless_asked_for(allow_tf32):
    """Only a GPU has it, but the switch is the same everywhere."""
    kinds = torch.backends.cuda.matmul, torch.backends.cudnn.conv
    before = [kind.fp32_precision for kind in kinds]
    seen = []

    class Watching(nn.Linear):
        def forward(self, x):
            seen.append([kind.fp32_precision for kind in kinds])
            return super().forward(x)

    data = (torch.randn(12, 3), torch.randint(0, 2, (12,)))
    pf.Puma(Watching(3, 2), data, holdout=data, allow_tf32=allow_tf32).influence()
    assert [kind.fp32_precision for kind in kinds] == before
    assert all(each == (before if allow_tf32 else ["ieee", "ieee"]) for each in seen)
