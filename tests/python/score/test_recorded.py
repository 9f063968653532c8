"""Within a call a batch's product is recorded once, as far as memory is granted, and means the same."""

from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import puma_fast as pf
from puma_fast.data import Samples, kept
from puma_fast.score import curvature as room
from puma_fast.score.curvature import LEFT_TO_A_PART, Curvature
from puma_fast.score.objective import Objective
from puma_fast.score.recorded import Recorded

N = 23
DRAWS = torch.Generator().manual_seed(0)
X = torch.randn(N, 4, generator=DRAWS, dtype=torch.float64)
Y = torch.arange(N) % 3
KINDS = ["ggn", "hessian", "fisher"]


class Counting(nn.Module):
    """A network with a frozen layer, a tied weight and a bias without effect; it counts its calls."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.mix, self.head = nn.Linear(4, 5), nn.Linear(5, 5), nn.Linear(5, 3)
        self.twin = nn.Linear(5, 5, bias=False)
        self.twin.weight = self.mix.weight
        self.unused = nn.Parameter(torch.ones(2))
        self.first.bias.requires_grad_(False)
        self.double()
        self.calls = 0

    def forward(self, x):
        self.calls += 1
        return self.head(self.twin(torch.tanh(self.mix(torch.sin(self.first(x))))))


def columns(size):
    return torch.eye(size, dtype=torch.float64)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("loss", ["cross_entropy", "l1_loss"])
@pytest.mark.parametrize("batch_size", [1, 7, N])
def test_the_same_numbers_come_out_with_one_evaluation_of_each_batch(kind, loss, batch_size):
    """Under the L1 loss outputs have no curvature: the GGN is nought."""
    model = Counting()
    target = Y if loss == "cross_entropy" else torch.randn(N, 3, generator=DRAWS, dtype=torch.float64)
    samples = Samples((X, target), batch_size=batch_size)
    curvature = Curvature(Objective(model, loss, weight_decay=0.1), samples, kind, damping=0.25)
    eye = columns(curvature.size)
    expected = curvature @ eye
    curvature.rehearse(samples.first(2))
    with samples.keeping():
        model.calls = 0
        products = torch.stack([curvature @ row for row in eye], dim=1)
        assert model.calls == -(-N // batch_size)
        torch.testing.assert_close(curvature @ eye, products, rtol=0, atol=0)
        assert model.calls == -(-N // batch_size)
    torch.testing.assert_close(products, expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("batches", [0, 1, 2.5])
def test_what_does_not_fit_is_evaluated_again(monkeypatch, batches):
    model, samples = Counting(), Samples((X, Y), batch_size=5)
    curvature = Curvature(Objective(model), samples, "ggn")
    size = Recorded(curvature.objective, (X[:5], Y[:5]), "ggn", 2**30).nbytes
    monkeypatch.setattr(kept, "MEMORY", int(batches * size / (1 - LEFT_TO_A_PART)) + 1)
    eye = columns(curvature.size)[:10]
    expected = [curvature @ row for row in eye]
    curvature.rehearse(samples.first(2))
    with samples.keeping():
        _ = curvature @ eye[0]
        model.calls = 0
        products = [curvature @ row for row in eye]
        # The last batch has three samples; at half a batch's memory there is room for it.
        held = {0: 0, 1: 1, 2.5: 2}[batches]
        assert model.calls <= 10 * (5 - held)
        assert model.calls >= 10 * (4 - held)
        assert samples.kept.room() >= 0
    torch.testing.assert_close(torch.stack(products), torch.stack(expected), rtol=1e-10, atol=1e-12)


def test_graphs_count_every_tensor_that_they_hold_but_the_model_s_once():
    model = nn.Sequential(nn.Linear(4, 400, bias=False), nn.Tanh(), nn.Linear(400, 3, bias=False)).double()
    recorded = Recorded(Objective(model), (X, Y), "hessian", 2**30)
    # Inputs and targets, tanh and its slope, and what has the shape of logits.
    activations = N * 400 * 8
    assert 2 * activations < recorded.nbytes < 8 * activations


def test_nothing_is_held_outside_a_call_or_for_another_model(monkeypatch):
    made: list[weakref.ref[Recorded]] = []

    class Watched(Recorded):
        def __init__(self, *arguments):
            super().__init__(*arguments)
            made.append(weakref.ref(self))

    monkeypatch.setattr(room, "Recorded", Watched)
    gc.disable()
    try:
        puma = pf.Puma(Counting(), (X, Y), holdout=(X, Y), damping=0.1, params="head.*")
        puma.influence()
        assert made
        assert not any(each() for each in made)
        samples = Samples((X, Y))
        with samples.keeping():
            for _ in range(2):
                curvature = Curvature(Objective(Counting()), samples)
                curvature.rehearse(samples.first(2))
                _ = curvature @ columns(curvature.size)[0]
            assert [each() is not None for each in made[-2:]] == [False, True]
    finally:
        gc.enable()


def test_training_between_calls_is_noticed():
    model = Counting()
    puma = pf.Puma(model, (X, Y), holdout=(X.flip(0), Y), damping=0.1, params="head.*")
    before = puma.influence()
    with torch.no_grad():
        model.first.weight.add_(0.5)
    after = puma.influence()
    fresh = pf.Puma(model, (X, Y), holdout=(X.flip(0), Y), damping=0.1, params="head.*").influence()
    np.testing.assert_array_equal(after, fresh)
    assert not np.allclose(before, after)


class OneWay(torch.autograd.Function):
    """Squares, with a backward pass that torch may not differentiate, and a forward mode."""

    @staticmethod
    def forward(x) -> Tensor:
        return x * x

    @staticmethod
    def setup_context(ctx, inputs, output) -> None:
        ctx.save_for_backward(*inputs)
        ctx.save_for_forward(*inputs)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, gradient) -> Tensor:
        return 2 * ctx.saved_tensors[0] * gradient

    @staticmethod
    def jvp(ctx, tangent) -> Tensor:
        return 2 * ctx.saved_tensors[0] * tangent


@pytest.mark.parametrize("outputs", ["pair", "one way"])
def test_what_has_no_graph_of_its_gradient_is_evaluated_each_time(outputs):
    layer = nn.Linear(4, 3).double()

    def forward(model, batch):
        z = model(batch[0])
        return (z, z * z) if outputs == "pair" else OneWay.apply(z)

    def loss(z, y):
        z = z[0] + z[1] if outputs == "pair" else z
        return nn.functional.cross_entropy(z, y, reduction="none")

    def plain(model, batch):
        z = model(batch[0])
        return z + z * z if outputs == "pair" else z * z

    samples = Samples((X, Y), batch_size=7)
    curvature = Curvature(Objective(layer, loss, forward=forward), samples, "ggn")
    eye = columns(curvature.size)
    curvature.rehearse(samples.first(2))
    with samples.keeping():
        products = torch.stack([curvature @ row for row in eye])
    expected = Curvature(Objective(layer, forward=plain), samples, "ggn") @ eye
    torch.testing.assert_close(products, expected, rtol=1e-10, atol=1e-12)
