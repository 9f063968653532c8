"""Every kind of loss, model and batch gives one loss per sample, as the user's own training would."""

from __future__ import annotations

import copy
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import TensorDataset

import puma_fast as pf
from puma_fast.data import Samples
from puma_fast.score.losses import LOSSES
from puma_fast.score.objective import Objective, unwrapped
from puma_fast.score.parameters import select_parameters

N = 12
generator = torch.Generator().manual_seed(0)
X = torch.randn(N, 4, generator=generator)
CLASSES = torch.randint(0, 3, (N,), generator=generator)
REAL = torch.randn(N, 3, generator=generator)
POSITIVE = torch.rand(N, 3, generator=generator)
BINARY = (POSITIVE > 0.5).float()
TOKENS = torch.randint(0, 3, (N, 5), generator=generator)
TOKENS[0, 1:] = TOKENS[3, 2] = -100
SEQUENCES = torch.randn(N, 5, 4, generator=generator)


def linear(out=3, *after):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, out), *after)


def losses(loss, model, data, **arguments):
    """All losses through the package, one batch."""
    objective = Objective(model, loss, **arguments)
    with objective.untouched():
        objective.preflight(Samples(data))
        return objective.losses(objective.parameters, data).detach()


# Losses by name, function, module, or one's own.

TARGETS = {
    "binary_cross_entropy": (BINARY, nn.Sigmoid()),
    "binary_cross_entropy_with_logits": (BINARY, nn.Identity()),
    "cross_entropy": (CLASSES, nn.Identity()),
    "huber_loss": (REAL, nn.Identity()),
    "l1_loss": (REAL, nn.Identity()),
    "mse_loss": (REAL, nn.Identity()),
    "nll_loss": (CLASSES, nn.LogSoftmax(1)),
    "poisson_nll_loss": (POSITIVE, nn.Identity()),
    "smooth_l1_loss": (REAL, nn.Identity()),
}


@pytest.mark.parametrize("name", LOSSES)
def test_a_named_loss_is_torchs_loss_of_each_sample(name):
    """One sample's loss is torch's loss of a batch of that one, in the reduction that was asked for."""
    targets, last = TARGETS[name]
    model = linear(3, last)
    function = getattr(functional, name)

    def each(reduction):
        one = [function(model(X[i : i + 1]), targets[i : i + 1], reduction=reduction) for i in range(N)]
        return torch.stack(one).detach()

    for loss in (name, function, partial(function, reduction="mean")):
        torch.testing.assert_close(losses(loss, model, (X, targets)), each("mean"))
    summed = partial(function, reduction="sum")
    torch.testing.assert_close(losses(summed, model, (X, targets)), each("sum"))
    mean = losses(name, model, (X, targets)).mean()
    torch.testing.assert_close(mean, function(model(X), targets).detach())


@pytest.mark.parametrize(
    ("loss", "targets", "function"),
    [
        (nn.CrossEntropyLoss(), CLASSES, functional.cross_entropy),
        (
            nn.CrossEntropyLoss(weight=torch.tensor([1.0, 2.0, 4.0]), label_smoothing=0.1),
            CLASSES,
            partial(functional.cross_entropy, weight=torch.tensor([1.0, 2.0, 4.0]), label_smoothing=0.1),
        ),
        (nn.CrossEntropyLoss(reduction="sum"), CLASSES, functional.cross_entropy),
        (nn.CrossEntropyLoss(), POSITIVE / POSITIVE.sum(1, keepdim=True), functional.cross_entropy),
        (nn.MSELoss(), REAL, functional.mse_loss),
        (nn.MSELoss(reduction="sum"), REAL, partial(functional.mse_loss, reduction="sum")),
        (nn.HuberLoss(delta=0.2), REAL, partial(functional.huber_loss, delta=0.2)),
        (
            nn.BCEWithLogitsLoss(pos_weight=torch.tensor([1.0, 2.0, 3.0])),
            BINARY,
            partial(functional.binary_cross_entropy_with_logits, pos_weight=torch.tensor([1.0, 2.0, 3.0])),
        ),
        (nn.KLDivLoss(reduction="batchmean"), BINARY, partial(functional.kl_div, reduction="batchmean")),
        (partial(functional.kl_div, reduction="batchmean"), BINARY, nn.KLDivLoss(reduction="batchmean")),
        (partial(functional.mse_loss, reduction="sum"), REAL, nn.MSELoss(reduction="sum")),
        (lambda o, t: (o - t).square().sum(1), REAL, partial(functional.mse_loss, reduction="sum")),
        (lambda o, t: (o - t).square(), REAL, partial(functional.mse_loss, reduction="sum")),
    ],
)
def test_modules_and_functions_are_called_without_their_reduction(loss, targets, function):
    model = linear()
    got = losses(loss, model, (X, targets))
    outputs = model(X)
    if isinstance(function, partial) and "weight" in function.keywords:
        # A mean over one sample would divide its weight out again.
        want = function(outputs, targets, reduction="none")
    else:
        want = torch.stack([function(outputs[i : i + 1], targets[i : i + 1]) for i in range(N)])
    torch.testing.assert_close(got, want.detach())


def test_the_users_loss_module_keeps_its_reduction():
    loss = nn.CrossEntropyLoss()
    losses(loss, linear(), (X, CLASSES))
    assert loss.reduction == "mean"


class Tagger(nn.Module):
    """One label per token, classes in the second dimension as torch has it."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.head = nn.Linear(4, 3)

    def forward(self, x):
        return self.head(x).transpose(1, 2)


@pytest.mark.parametrize(
    "loss",
    [
        "cross_entropy",
        functional.cross_entropy,
        partial(functional.cross_entropy, ignore_index=-100),
        nn.CrossEntropyLoss(),
        lambda o, t: functional.cross_entropy(o, t.clamp(min=0), reduction="none"),
    ],
)
def test_token_losses_are_summed_over_what_is_not_ignored(loss):
    model = Tagger()
    per_token = functional.cross_entropy(model(SEQUENCES), TOKENS, reduction="none")
    want = (per_token * (TOKENS != -100)).sum(1).detach()
    torch.testing.assert_close(losses(loss, model, (SEQUENCES, TOKENS)), want)


def test_a_real_target_of_minus_hundred_is_no_mark():
    targets = REAL.clone()
    targets[2, 1] = -100.0
    model = linear()
    want = (model(X) - targets).square().sum(1).detach()
    torch.testing.assert_close(losses(nn.MSELoss(reduction="sum"), model, (X, targets)), want)
    torch.testing.assert_close(losses(lambda o, t: (o - t).square(), model, (X, targets)), want)


class Mean(nn.Module):
    def forward(self, outputs, targets):
        return functional.cross_entropy(outputs, targets)


def my_mean(outputs, targets):
    return functional.cross_entropy(outputs, targets)


@pytest.mark.parametrize("loss", [my_mean, Mean()])
def test_one_number_for_a_batch_is_refused(loss):
    with pytest.raises(ValueError, match=r"loss '(my_mean|Mean)' gives one number .* drop its final mean"):
        losses(loss, linear(), (X, CLASSES))


def squared(outputs, targets):
    return (outputs - targets) ** 2


@pytest.mark.parametrize(
    "loss", ["mse_loss", "poisson_nll_loss", nn.L1Loss(), nn.SmoothL1Loss(), functional.huber_loss, squared]
)
@pytest.mark.parametrize(("out", "shape"), [(1, (N,)), (None, (N, 1))])
def test_broadcast_losses_are_refused(loss, out, shape):
    """(B, 1) beside (B,) would silently become (B, B)."""
    model = linear(1) if out else nn.Sequential(linear(1), nn.Flatten(0))
    with pytest.raises(ValueError, match=r"compares outputs of shape .*make them equal, e\.g\. forward="):
        losses(loss, model, (X, POSITIVE[:, 0].reshape(shape)))


@pytest.mark.parametrize(
    ("loss", "error", "message"),
    [
        ("crossentropy", ValueError, "loss: 'crossentropy' is not known; use one of .*cross_entropy"),
        (3, TypeError, "loss must be a name, a torch loss or a function, got int"),
    ],
)
def test_losses_that_are_none_are_refused(loss, error, message):
    with pytest.raises(error, match=message):
        Objective(linear(), loss)


def whole_loss(model, batch):
    return functional.cross_entropy(model(batch[0]), batch[1], reduction="none")


def test_an_objective_stands_for_loss_forward_and_targets():
    settings = {"holdout": (X, CLASSES), "damping": 0.1}
    whole = pf.Puma(linear(), (X, CLASSES), objective=whole_loss, curvature="hessian", **settings)
    parts = pf.Puma(linear(), (X, CLASSES), curvature="hessian", **settings)
    np.testing.assert_allclose(whole.influence(), parts.influence(), rtol=1e-3, atol=1e-5)
    report = whole.remove([0, 1], up=4).report
    assert report.before.accuracy is None
    assert report.before.marked.loss == pytest.approx(losses("cross_entropy", linear(), (X, CLASSES))[:2])
    with pytest.raises(ValueError, match=r"curvature='ggn' needs outputs.*pass curvature='hessian'"):
        pf.Puma(linear(), (X, CLASSES), objective=whole_loss)
    with pytest.raises(ValueError, match=r"objective must give one loss per sample.*drop its final mean"):
        pf.Puma(linear(), (X, CLASSES), objective=lambda m, b: whole_loss(m, b).mean(), curvature="hessian")


# Batches.


class Named(nn.Module):
    """A model as language libraries write them: called by name, answering with an object."""

    def __init__(self):
        super().__init__()
        self.inner = linear()

    def forward(self, inputs, scale=None):
        logits = self.inner(inputs)
        return SimpleNamespace(logits=logits if scale is None else logits * scale[:, None])


@pytest.mark.parametrize("key", ["labels", "label", "y"])
def test_a_mapping_goes_in_by_its_keys(key):
    scale = torch.linspace(0.5, 2, N)
    data = {"inputs": X, key: CLASSES, "scale": scale}
    puma = pf.Puma(Named(), data, holdout=data, damping=0.1)
    same = pf.Puma(
        Named(),
        (X, scale, CLASSES),
        holdout=(X, scale, CLASSES),
        forward=lambda model, batch: model(*batch[:2]).logits,
        damping=0.1,
    )
    np.testing.assert_allclose(puma.influence(), same.influence(), rtol=1e-5)


def test_targets_may_be_anywhere():
    data = {"inputs": X, "gold": CLASSES}
    with pytest.raises(
        ValueError, match=r"targets: the batch has the keys \['gold', 'inputs'\].*pass targets="
    ):
        pf.Puma(Named(), data, forward=lambda model, batch: model(batch["inputs"]).logits)
    puma = pf.Puma(
        Named(),
        data,
        holdout=data,
        forward=lambda model, batch: model(batch["inputs"]).logits,
        targets=lambda batch: batch["gold"],
    )
    assert puma.influence().shape == (N,)


class Rows(torch.utils.data.Dataset):
    """Plain tensors, as for an autoencoder."""

    def __len__(self):
        return N

    def __getitem__(self, position):
        return X[position]


def test_a_batch_may_be_one_tensor():
    with pytest.raises(ValueError, match=r"a batch of type Tensor has no second item; pass targets="):
        pf.Puma(linear(4), Rows(), "mse_loss")
    with pytest.raises(ValueError, match=r"targets: a batch of type list has no second item"):
        pf.Puma(linear(4), TensorDataset(X), "mse_loss")
    settings = {"damping": 0.1}
    one = pf.Puma(linear(4), Rows(), "mse_loss", targets=lambda batch: batch, holdout=Rows(), **settings)
    two = pf.Puma(linear(4), (X, X), "mse_loss", holdout=(X, X), **settings)
    np.testing.assert_allclose(one.influence(), two.influence(), rtol=1e-5)


def test_what_does_not_fit_together_is_raised_with_what_was_given():
    """NumPy's float64 beside a float32 model is the commonest first mistake."""
    with pytest.raises(RuntimeError, match="dtype") as caught:
        pf.Puma(linear(), (X.double().numpy(), CLASSES.numpy()))
    (note,) = caught.value.__notes__
    assert "(float64 (2, 4), int64 (2,))" in note
    assert "torch.float32 on cpu" in note
    assert "forward= and targets=" in note
    bag = nn.Sequential(nn.EmbeddingBag(3, 4), linear())
    with pytest.raises(NotImplementedError) as caught:
        pf.Puma(bag, (TOKENS.clamp(min=0), CLASSES))
    assert "differentiable in torch, twice" in caught.value.__notes__[0]


# Models.


def oracle(model, data, v):
    """ψ by one reverse pass per sample, on a copy in eval mode."""
    model = copy.deepcopy(model).eval()
    parameters = [each for each in model.parameters() if each.requires_grad]
    rows = functional.cross_entropy(model(data[0]), data[1], reduction="none")
    gradients = [torch.autograd.grad(row, parameters, retain_graph=True) for row in rows]
    return np.array([float(torch.cat([g.flatten() for g in row]).double() @ v) for row in gradients])


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.TransformerEncoderLayer(4, 2, 8, batch_first=True)
        self.head = nn.Linear(4, 3)

    def forward(self, x):
        return self.head(self.layer(x).mean(1))


class ScaledDotProduct(nn.Module):
    def __init__(self):
        super().__init__()
        self.project = nn.Linear(4, 12)
        self.head = nn.Linear(4, 3)

    def forward(self, x):
        return self.head(functional.scaled_dot_product_attention(*self.project(x).chunk(3, -1)).mean(1))


class Recurrent(nn.Module):
    def __init__(self, kind):
        super().__init__()
        self.layer = kind(4, 3, batch_first=True)

    def forward(self, x):
        return self.layer(x)[0][:, -1]


class Tied(nn.Module):
    """The output weights are the input's."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(3, 4)
        self.mix = nn.Linear(4, 4)
        self.head = nn.Linear(4, 3, bias=False)
        self.head.weight = self.embed.weight

    def forward(self, tokens):
        return self.head(self.mix(self.embed(tokens)).tanh().mean(1))


def noisy():
    """In train mode these layers draw numbers, keep averages, and mix samples of a batch."""
    return nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Dropout(0.5), nn.Linear(6, 3))


MODELS = {
    "attention": (Attention, SEQUENCES),
    "scaled dot product": (ScaledDotProduct, SEQUENCES),
    "lstm": (lambda: Recurrent(nn.LSTM), SEQUENCES),
    "gru": (lambda: Recurrent(nn.GRU), SEQUENCES),
    "tied": (Tied, TOKENS.clamp(min=0)),
    "normalised": (noisy, X),
    "convolution": (
        lambda: nn.Sequential(
            nn.Conv1d(5, 6, 3), nn.GroupNorm(2, 6), nn.GELU(), nn.MaxPool1d(2), nn.Flatten(), nn.Linear(6, 3)
        ),
        SEQUENCES,
    ),
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", MODELS)
def test_every_architecture_gives_reverse_modes_numbers(name, dtype):
    """In train mode, where torch's layers are left, and with fused kernels where torch would take them."""
    build, inputs = MODELS[name]
    torch.manual_seed(3)
    model = build().to(dtype)
    inputs = inputs.to(dtype) if inputs.is_floating_point() else inputs
    if name == "normalised":
        model(inputs * 3 + 1)  # running averages that differ from the batch's own
    data = inputs, CLASSES
    puma = pf.Puma(model, data, holdout=data, damping=0.1, batch_size=5)
    assert puma._objective.layout.size == sum(each.numel() for each in model.parameters())
    with puma._objective.untouched():
        v = puma._influence.directions(puma._criteria.each)[0]
    want = oracle(model, data, v)
    rounding = 1e-5 if dtype == torch.float32 else 1e-12
    np.testing.assert_allclose(puma.influence(), want, atol=rounding * np.abs(want).max())
    if name == "tied":
        patched = puma.remove([0, 1], eta=0.5).model
        assert patched.head.weight is patched.embed.weight
        assert not torch.equal(patched.head.weight, model.head.weight)


def test_modes_do_not_matter():
    model = noisy()
    model(X * 3 + 1)
    settings = {"holdout": (X, CLASSES), "batch_size": 5}
    left = pf.Puma(model.train(), (X, CLASSES), **settings).influence()
    np.testing.assert_array_equal(pf.Puma(model.eval(), (X, CLASSES), **settings).influence(), left)


class Standardised(nn.Module):
    """What a BatchNorm without running statistics does to more than one sample."""

    def forward(self, x):
        return x - x.mean(0)


@pytest.mark.parametrize(
    ("model", "loss"),
    [
        (nn.Sequential(linear(4), Standardised(), linear(3)), "cross_entropy"),
        (linear(), lambda o, t: (o - o.mean(0)).square().sum(1)),
    ],
)
def test_samples_that_see_one_another_are_refused(model, loss):
    with pytest.raises(ValueError, match=r"beside the second: samples of a batch see one another"):
        pf.Puma(model, (X, CLASSES), loss, holdout=(X, CLASSES))


def test_a_batch_of_one_is_tried_before_long_work():
    def squeezed(model, batch):
        return model(batch[0]).squeeze()

    single = nn.Linear(4, 1)
    with pytest.raises(ValueError, match=r"outputs of shape \(\) with targets of shape \(1,\)") as caught:
        pf.Puma(single, (X, X[:, 0]), "mse_loss", forward=squeezed, holdout=(X, X[:, 0]))
    assert "a batch of the first sample of data" in caught.value.__notes__[0]


class Sampled(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = linear()

    def forward(self, x):
        return self.inner(x + torch.randn_like(x))


def test_a_model_that_draws_in_eval_mode_is_refused():
    with pytest.raises(ValueError, match="the model draws random numbers in eval mode; switch that off"):
        pf.Puma(Sampled(), (X, CLASSES))


class Opaque(nn.Module):
    """Looks like what torch.compile gives, which takes seconds to run."""

    def __init__(self, inner):
        super().__init__()
        self._orig_mod = inner

    def forward(self, *arguments):
        msg = "a compiled graph cannot take other parameters"
        raise AssertionError(msg)


@pytest.mark.parametrize(
    "wrap", [nn.DataParallel, torch.compile, Opaque, lambda model: torch.compile(nn.DataParallel(model))]
)
def test_wrappers_are_looked_through(wrap):
    model = linear()
    settings = {"holdout": (X, CLASSES), "damping": 0.1}
    wrapped = wrap(model)
    assert unwrapped(wrapped) is model
    puma = pf.Puma(wrapped, (X, CLASSES), params="0.*", **settings)
    np.testing.assert_array_equal(puma.influence(), pf.Puma(model, (X, CLASSES), **settings).influence())
    assert type(puma.remove([0]).model) is nn.Sequential


def test_a_submodule_of_the_wrappers_name_is_no_wrapper():
    model = nn.Module()
    model.module = linear()
    assert unwrapped(model) is model


# Parameters.


def test_parameters_are_chosen_by_pattern_in_the_models_order():
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 3))
    assert list(select_parameters(model, None)) == ["0.weight", "0.bias", "1.weight", "1.bias"]
    assert list(select_parameters(model, "*.bias")) == ["0.bias", "1.bias"]
    assert list(select_parameters(model, ["1.*", "0.bias", "*.bias"])) == ["0.bias", "1.weight", "1.bias"]
    assert list(select_parameters(Tied(), "*")) == ["embed.weight", "mix.weight", "mix.bias"]
    model[0].requires_grad_(False)
    assert list(select_parameters(model, None)) == ["1.weight", "1.bias"]
    assert list(select_parameters(model, "0.*")) == ["0.weight", "0.bias"]


def test_parameters_that_are_not_there_are_refused_with_the_closest_names():
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 3))
    with pytest.raises(
        ValueError, match=r"params: '1.wieght' matches no parameter; the closest names are 1.weight"
    ):
        pf.Puma(model, (X, CLASSES), params=["0.*", "1.wieght"])
    with pytest.raises(ValueError, match=r"params: no parameter of the model has requires_grad.*params='\*'"):
        pf.Puma(model.requires_grad_(False), (X, CLASSES))


def test_frozen_parameters_can_be_edited_by_name():
    model = linear().requires_grad_(False)
    settings = {"holdout": (X, CLASSES), "damping": 0.1}
    np.testing.assert_array_equal(
        pf.Puma(model, (X, CLASSES), params="*", **settings).influence(),
        pf.Puma(linear(), (X, CLASSES), **settings).influence(),
    )
    assert not any(each.requires_grad for each in model.parameters())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32_and_rounded_once(dtype):
    half, data = linear().to(dtype), (X.to(dtype), CLASSES)
    whole, same = copy.deepcopy(half).float(), (data[0].float(), CLASSES)
    one, other = (
        pf.Puma(model, given, holdout=given, damping=0.1).remove([0, 1], eta=0.5)
        for model, given in ((half, data), (whole, same))
    )
    np.testing.assert_array_equal(one.psi_up, other.psi_up)
    for name, value in one.model.named_parameters():
        assert value.dtype == dtype
        assert torch.equal(value, other.model.get_parameter(name).to(dtype))
    # What is measured is the model that is handed back, rounding included.
    with torch.no_grad():
        now = functional.cross_entropy(copy.deepcopy(one.model).float()(same[0]), CLASSES)
    assert one.report.after.criterion == pytest.approx(float(now), rel=1e-5)


def test_parameters_and_losses_may_differ_in_type():
    """A float64 head on float32 features, and a loss that is computed in float64."""

    class Mixed(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.body, self.head = nn.Linear(4, 4), nn.Linear(4, 3).double()

        def forward(self, x):
            return self.head(self.body(x).double())

    settings = {"holdout": (X, CLASSES), "damping": 0.1}
    removal = pf.Puma(Mixed(), (X, CLASSES), **settings).remove([0, 1])
    assert {each.dtype for each in removal.model.parameters()} == {torch.float32, torch.float64}
    assert {each.dtype for each in removal.delta.values()} == {torch.float64}

    def in_double(outputs, targets):
        return functional.cross_entropy(outputs.double(), targets, reduction="none")

    one = pf.Puma(linear(), (X, CLASSES), in_double, **settings).remove([0, 1]).delta
    other = pf.Puma(linear(), (X, CLASSES), **settings).remove([0, 1]).delta
    for name, value in one.items():
        torch.testing.assert_close(value, other[name], rtol=1e-3, atol=1e-6)


def test_parameters_that_no_loss_depends_on_are_refused():
    model = linear()
    model.register_module("unused", nn.Linear(2, 2))
    with pytest.raises(ValueError, match="params: the losses do not depend on any edited parameter"):
        pf.Puma(model, (X, CLASSES), params="unused.*", forward=lambda model, batch: model[0](batch[0]))

    @torch.no_grad()
    def cut(model, batch):
        return model(batch[0])

    with pytest.raises(ValueError, match="params: the losses do not depend on any edited parameter"):
        pf.Puma(linear(), (X, CLASSES), forward=cut)


@pytest.mark.parametrize("decay", [-1.0, float("nan"), float("inf")])
def test_weight_decay_is_a_number(decay):
    with pytest.raises(ValueError, match="weight_decay must be a finite number, at least 0"):
        pf.Puma(linear(), (X, CLASSES), weight_decay=decay)


# Numbers that are none.


def test_losses_that_are_not_finite_are_refused_by_position():
    bad = X.clone()
    bad[7, 1] = torch.nan
    with pytest.raises(
        ValueError, match=r"loss is nan at position 7 of data; .*mend or leave out that sample"
    ):
        pf.Puma(linear(), (bad, CLASSES), holdout=(X, CLASSES), batch_size=5).influence()
    with pytest.raises(ValueError, match="loss is nan at position 7 of data"):
        pf.Puma(linear(), (bad, CLASSES), holdout=(X, CLASSES), damping=0.1, solver="exact").influence()
    with pytest.raises(ValueError, match="loss is nan at position 7 of holdout"):
        pf.Puma(linear(), (X, CLASSES), holdout=(bad, CLASSES), batch_size=5).influence()
    bad[0, 0] = torch.inf
    with pytest.raises(ValueError, match=r"loss is \[.*\] on the first samples; it must be finite"):
        pf.Puma(linear(), (bad, CLASSES))


def test_derivatives_that_are_not_finite_are_told_from_losses():
    def root(outputs, targets):
        return functional.cross_entropy(outputs, targets, reduction="none") + outputs[:, 0].abs().sqrt()

    model = linear()
    nn.init.zeros_(model[0].weight[0])
    nn.init.zeros_(model[0].bias)
    with pytest.raises(
        ValueError, match=r"a derivative of the loss on .* is not finite, though every loss is"
    ):
        pf.Puma(model, (X, CLASSES), root, damping=0.1).influence()
