"""What does not fit is named before long work, and what was changed behind torch's back is noticed."""

from __future__ import annotations

import threading
import time
import warnings

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import TensorDataset

import puma_fast as pf

torch.manual_seed(0)
N = 12
X = torch.randn(N, 4)
Y = torch.arange(N) % 3
SETTINGS = {"holdout": (X.flip(0), Y), "damping": 0.1}


def linear():
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(4, 3))


def test_batches_of_three_need_a_word():
    data = (X, torch.ones(N, 4), Y)
    with pytest.raises(ValueError, match=r"data gives batches of 3 items, .* say how, e.g. forward="):
        pf.Puma(linear(), data)
    puma = pf.Puma(
        linear(),
        data,
        forward=lambda model, batch: model(batch[0] * batch[1]),
        damping=0.1,
        holdout=data,
    )
    same = pf.Puma(linear(), (X, Y), damping=0.1, holdout=(X, Y))
    np.testing.assert_array_equal(puma.influence(), same.influence())


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("batch_size", 2.5),
        ("weight_decay", "a"),
        ("solver", 3),
        ("objective", 3),
        ("forward", "x"),
        ("targets", 1),
        ("tol", "small"),
        ("max_iterations", 2.5),
        ("device", "cuda:99"),
        ("device", 1.5),
        ("params", 3),
        ("params", [3]),
    ],
)
def test_wrong_types_name_the_argument(argument, value):
    with pytest.raises((TypeError, ValueError), match=argument):
        pf.Puma(linear(), (X, Y), **{argument: value})
    with pytest.raises(TypeError, match=r"model must be a torch.nn.Module, got str"):
        pf.Puma("model", (X, Y))


@pytest.mark.parametrize("progress", [True, None])
def test_a_slow_first_look_is_seen_and_only_where_it_is_wanted(capsys, progress):
    class Slow(nn.Linear):
        def forward(self, batch):
            time.sleep(0.8)
            return super().forward(batch)

    class SlowItems(TensorDataset):
        def __getitem__(self, position):
            time.sleep(0.35)
            return super().__getitem__(position)

    pf.Puma(Slow(4, 3), SlowItems(X[:4], Y[:4]), damping=0.1, progress=progress)
    seen = capsys.readouterr().err
    assert ("first look at data" in seen) == bool(progress)
    assert ("two readings of data" in seen) == bool(progress)


def test_data_of_a_criterion_is_looked_at_like_the_rest():
    puma = pf.Puma(linear(), (X, Y), **SETTINGS)
    with pytest.raises(ValueError, match=r"criterion gives batches of 3 items"):
        puma.influence(criterion=(X, X, Y))
    with pytest.raises(RuntimeError) as caught:
        puma.influence(criterion=(X[:, :2], Y))
    assert "samples of criterion" in caught.value.__notes__[0]
    assert "layer '0' (Linear)" in caught.value.__notes__[0]


def test_a_layer_that_torch_cannot_differentiate_twice_is_named():
    bag = nn.Sequential(nn.EmbeddingBag(3, 4), nn.Linear(4, 3))
    with pytest.raises(NotImplementedError) as caught:
        pf.Puma(bag, (torch.randint(3, (N, 5)), Y))
    assert "in layer '0' (EmbeddingBag)" in caught.value.__notes__[0]


def test_a_model_that_cannot_be_copied_is_refused_at_once():
    model = linear()
    model.guard = threading.Lock()
    with pytest.raises(TypeError, match=r"model cannot be deep-copied .*locks"):
        pf.Puma(model, (X, Y))


def test_a_model_that_keeps_what_it_computed_is_copied():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        normed = nn.utils.weight_norm(nn.Linear(4, 3))
    assert normed.weight.grad_fn is not None
    with pytest.warns(UserWarning, match="no forward-mode derivative of _weight_norm_interface"):
        puma = pf.Puma(normed, (X, Y), **SETTINGS)
    patched = puma.remove([0], eta=0.5).model
    assert not torch.equal(patched(X), normed(X))


class Square(torch.autograd.Function):
    """As users write them: no forward rule."""

    @staticmethod
    def forward(x):
        return x * x

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx, gradient):
        return 2 * ctx.saved_tensors[0] * gradient


class Squared(nn.Module):
    def __init__(self, square):
        super().__init__()
        self.inner, self.square = linear(), square

    def forward(self, x):
        return self.square(self.inner(x))


def test_a_function_of_ones_own_without_jvp_falls_back():
    with pytest.warns(UserWarning, match="no forward-mode derivative of a torch.autograd.Function") as seen:
        own = pf.Puma(Squared(Square.apply), (X, Y), **SETTINGS)
    # The warning points here, at the line that led to it.
    assert seen[0].filename == __file__
    plain = pf.Puma(Squared(torch.square), (X, Y), **SETTINGS).influence()
    np.testing.assert_allclose(own.influence(), plain, rtol=1e-3, atol=1e-5 * np.abs(plain).max())


def padded():
    torch.manual_seed(1)
    return nn.Sequential(nn.Embedding(5, 4, padding_idx=0), nn.Flatten(), nn.Linear(12, 3)).double()


def test_a_padding_row_is_constant_in_both_modes():
    """In reverse mode torch gives it no gradient, in forward mode a derivative."""
    tokens = torch.randint(5, (N, 3))
    tokens[:, -1] = 0
    puma = pf.Puma(padded(), (tokens, Y), holdout=(tokens.flip(0), Y), damping=0.1)
    objective = puma._objective
    draw = torch.Generator().manual_seed(0)
    u, v = torch.randn(2, objective.layout.size, generator=draw, dtype=torch.float64)
    with objective.untouched():
        slopes = objective.derivatives((tokens, Y), v)
        assert float(slopes.sum()) == pytest.approx(float(objective.gradient((tokens, Y)) @ v), rel=1e-10)
        curvature = puma._influence._current().curvature
        assert float(u @ (curvature @ v)) == pytest.approx(float(v @ (curvature @ u)), rel=1e-10)
    patched = puma.remove([0, 1], eta=0.5).model
    assert torch.equal(patched[0].weight[0], padded()[0].weight[0])


def binary_cross_entropy(outputs, targets):
    """A namesake of torch's that compares something else: margins, not probabilities."""
    return functional.softplus(-(2 * targets - 1) * outputs).flatten()


def test_a_namesake_of_a_loss_of_torch_gets_no_confidence_of_torchs():
    model, labels = nn.Linear(4, 1), (Y > 0).float()[:, None]
    data = (X, labels)
    report = pf.Puma(model, data, binary_cross_entropy, holdout=data, damping=0.1).remove([0]).report
    assert report.before.accuracy is None
    logits = pf.Puma(model, data, "binary_cross_entropy_with_logits", holdout=data, damping=0.1)
    assert logits.remove([0]).report.before.accuracy is not None


def doubled_parameter(model, data):
    model[0].weight.data.mul_(2)


def swapped_rows(model, data):
    weight = model[0].weight.data
    weight[[0, 1]] = weight[[1, 0]]


def written_tensor(model, data):
    data[0].mul_(2)


def written_array(model, data):
    data[2][:] *= 2


@pytest.mark.parametrize("write", [doubled_parameter, swapped_rows, written_tensor, written_array])
def test_writes_that_torch_does_not_count_are_noticed(write):
    model, array = linear(), X.flip(0).clone().numpy()
    data = (X.clone(), Y, array)
    puma = pf.Puma(model, data[:2], holdout=(array, Y), damping=0.1)
    before, removal = puma.influence(), puma.remove([0])
    write(model, data)
    after = pf.Puma(model, data[:2], holdout=(array, Y), damping=0.1).influence()
    assert not np.array_equal(before, after)
    np.testing.assert_array_equal(puma.influence(), after)
    with pytest.raises(RuntimeError, match="the model or its data were changed"):
        _ = removal.model


def test_a_tied_parameter_goes_by_any_of_its_names():
    model = nn.Sequential(nn.Linear(4, 4, bias=False), nn.Tanh(), nn.Linear(4, 4, bias=False))
    model[2].weight = model[0].weight
    removals = [pf.Puma(model, (X, Y), params=name, **SETTINGS).remove([0]) for name in ("0.*", "2.*")]
    assert [list(each.delta) for each in removals] == [["0.weight"]] * 2
    assert torch.equal(removals[0].delta["0.weight"], removals[1].delta["0.weight"])


def test_classes_may_come_last_as_language_models_have_them():
    model = nn.Linear(4, 3).double()
    x = torch.randn(N, 5, 4, dtype=torch.float64)
    labels = torch.arange(N * 5).view(N, 5) % 3
    labels[:, 0] = -100
    last = pf.Puma(model, (x, labels), holdout=(x, labels), damping=0.1)
    second = pf.Puma(
        model,
        (x, labels),
        holdout=(x, labels),
        damping=0.1,
        forward=lambda model, batch: model(batch[0]).movedim(-1, 1),
    )
    np.testing.assert_allclose(last.influence(), second.influence(), rtol=1e-12)
    with pytest.raises(ValueError, match="the classes may come second or last; say which"):
        pf.Puma(nn.Linear(4, 5).double(), (x, labels))


def test_the_target_of_a_mapping_does_not_go_in_whatever_its_key():
    class Keyed(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = linear()

        def forward(self, inputs):
            return self.inner(inputs)

    data = {"inputs": X, "gold": Y}
    puma = pf.Puma(Keyed(), data, targets=lambda batch: batch["gold"], holdout=data, damping=0.1)
    same = pf.Puma(linear(), (X, Y), holdout=(X, Y), damping=0.1)
    np.testing.assert_array_equal(puma.influence(), same.influence())


def test_a_parameter_that_is_no_number_is_named():
    model = nn.Linear(3, 2)
    with torch.no_grad():
        model.weight[1, 2] = torch.nan
    with pytest.raises(ValueError, match=r"model: its parameter 'weight' holds a NaN"):
        pf.Puma(model, (torch.randn(8, 3), torch.randint(0, 2, (8,))))


def test_targets_alone_do_not_say_what_the_middle_of_a_batch_is_for():
    data = TensorDataset(torch.randn(8, 3), torch.randn(8, 3), torch.randint(0, 2, (8,)))
    with pytest.raises(ValueError, match="forward="):
        pf.Puma(nn.Linear(3, 2), data, targets=lambda batch: batch[2])


def test_a_sample_that_the_loss_cannot_take_is_placed():
    labels = torch.randint(0, 2, (40,))
    labels[30] = 7
    held_out = torch.randn(8, 3), torch.randint(0, 2, (8,))
    puma = pf.Puma(nn.Linear(3, 2), (torch.randn(40, 3), labels), holdout=held_out, batch_size=4)
    with pytest.raises(IndexError) as raised:
        puma.influence()
    assert "samples of data at positions 28, 29, 30, 31" in " ".join(raised.value.__notes__)


def test_a_criterion_without_a_gradient_is_refused_before_the_curvature_is_looked_at():
    calls = []

    class Counting(nn.Linear):
        def forward(self, x):
            calls.append(len(x))
            return super().forward(x)

    model = Counting(3, 2)
    puma = pf.Puma(model, (torch.randn(40, 3), torch.randint(0, 2, (40,))))
    calls.clear()
    with pytest.raises(ValueError, match="does not depend on the edited parameters"):
        puma.influence(criterion=lambda model: model.weight.argmax().float())
    assert calls == []


class Cube(torch.autograd.Function):
    """Written as they were before torch.func: one forward that is given the context."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x**3

    @staticmethod
    def backward(ctx, gradient):
        (x,) = ctx.saved_tensors
        return 3 * x**2 * gradient


class Cubed(nn.Module):
    function = staticmethod(Cube.apply)

    def __init__(self):
        super().__init__()
        torch.manual_seed(1)
        self.layer = nn.Linear(4, 3)

    def forward(self, x):
        return self.function(self.layer(x))


class Packed(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(1)
        self.layer = nn.GRU(2, 3, batch_first=True)

    def forward(self, x):
        lengths = torch.full((len(x),), 2)
        packed = nn.utils.rnn.pack_padded_sequence(x.view(-1, 2, 2), lengths, batch_first=True)
        return self.layer(packed)[1][0]


@pytest.mark.parametrize("curvature", ["ggn", "hessian", "fisher"])
@pytest.mark.parametrize("packed", [False, True])
def test_what_torch_func_does_not_know_is_taken_backward(packed, curvature):
    model, plain = (Packed(), Packed()) if packed else (Cubed(), Cubed())
    plain.forward = (
        (lambda x: plain.layer(x.view(-1, 2, 2))[0][:, -1]) if packed else (lambda x: plain.layer(x) ** 3)
    )
    settings = {**SETTINGS, "damping": 10.0, "curvature": curvature}
    with pytest.warns(UserWarning, match=r"no forward-mode derivative of (packed seq|a torch.autograd.Func)"):
        puma = pf.Puma(model, (X, Y), **settings)
    found, expected = (
        (each.influence(criterion=pf.per_class((X, Y))), each.remove([0], up=3).weights)
        for each in (puma, pf.Puma(plain, (X, Y), **settings))
    )
    np.testing.assert_allclose(found[0], expected[0], rtol=1e-3, atol=1e-6)
    np.testing.assert_allclose(found[1], expected[1], rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize(
    ("extra", "kind"),
    [
        (None, "NoneType"),
        (torch.arange(2), r"tensor of torch\.int64"),
        (1.0, "float"),
        (1j * torch.ones(2), r"tensor of torch\.complex64"),
    ],
)
def test_outputs_without_a_derivative_are_refused(extra, kind):
    def forward(model, batch):
        return {"logits": model(batch[0]), "extra": extra}

    def loss(outputs, targets):
        return functional.cross_entropy(outputs["logits"], targets, reduction="none")

    with pytest.raises(TypeError, match=rf"outputs hold a {kind}, which is not differentiated; give"):
        pf.Puma(linear(), (X, Y), loss, forward=forward, **SETTINGS)


def test_a_lazy_layer_is_named():
    with pytest.raises(
        ValueError, match=r"'0.weight' is uninitialized, as lazy layers are; call the model on"
    ):
        pf.Puma(nn.Sequential(nn.LazyLinear(3)), (X, Y), **SETTINGS)
