"""Every argument, given what it is not: the error names it and says the rule, before the model is called."""

from __future__ import annotations

import inspect
import json
import math
import re
from functools import partial

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch.nn import functional
from torch.utils.data import IterableDataset

import puma_fast as pf
from puma_fast.audit.membership import threshold_attack
from puma_fast.data import Samples
from puma_fast.score.solve import ConjugateGradient, Exact, Jacobi, Lanczos, Lissa, Nystrom
from puma_fast.training import train

N = 30
generator = torch.Generator().manual_seed(0)
X = torch.randn(N, 3, dtype=torch.float64, generator=generator)
Y = (X[:, 0] > 0).long()
HOLDOUT = X.flip(0), Y.flip(0)
PSI = X[:, 0].numpy()


class Counted(torch.nn.Linear):
    """A model that knows how often it was called."""

    calls = 0

    def forward(self, batch):
        Counted.calls += 1
        return super().forward(batch)

    def training_step(self, batch, _):
        return functional.cross_entropy(self(batch[0]), batch[1])


class DataModule:
    prepare_data = train_dataloader = val_dataloader = setup = lambda *_: None


class OneShot(IterableDataset):
    """It goes on where the last reading stopped."""

    def __init__(self):
        self.items = iter(list(zip(X, Y, strict=True)))

    def __iter__(self):
        yield from self.items


def model():
    torch.manual_seed(1)
    return Counted(3, 2, dtype=torch.float64)


PUMA = pf.Puma(model(), (X, Y), holdout=HOLDOUT, weight_decay=0.1)
REMOVAL = PUMA.remove([0, 1])
ESTIMATOR = LogisticRegression(tol=1e-8).fit(X.numpy(), Y.numpy())
LINEAR = {"estimator": ESTIMATOR, "X": X.numpy(), "y": Y.numpy()}

WRONG = {
    "count": [True, 2.5, "3", -1, 2**70, 10**400, math.nan, [1], np.array([1, 2]), object()],
    "number": ["1", True, math.nan, 1j, [0.5], np.zeros(2), -(10**400), object()],
    "flag": [1, 0, "no", 2.5, np.array([True, False]), torch.zeros(2), object()],
    "function": ["x", 3, True, [], object()],
    "path": [3, b"x", True, ["a.npy"], np.zeros(2), object()],
    "word": ["x", 3, True, np.zeros(2), object()],
    "ids": [
        [],
        "abc",
        {1, 2},
        {1: 2},
        iter([1, 2]),
        [0, 0],
        [-1],
        [N],
        [0.5],
        [None],
        [[1], [1, 2]],
        [[1, 2]],
        [True, False],
        np.zeros(N, dtype=bool),
        np.ma.array([1, 2], mask=[False, True]),
        torch.zeros(2, device="meta"),
        np.array([2**63], dtype=np.uint64),
        object(),
    ],
    "array": [
        "abc",
        {1.0},
        iter([1.0]),
        ["a"],
        [1j],
        [[1], [1, 2]],
        np.ma.array([1.0, 2.0], mask=[False, True]),
        torch.zeros(2, device="meta"),
        torch.zeros(2, requires_grad=True),
        np.zeros((2, 2, 2)),
        object(),
    ],
    "data": [3, "cifar10", X, X.numpy(), {"x": "a"}, [X, Y], (X, "labels"), iter([X]), (X, Y[:5]), []],
    "other": ["x", 3, True, object()],
}

POSITIVE = [0, 0.0]
BOUNDED = [math.inf, -1.0]


def construct(**given):
    return pf.Puma(**{"model": model(), "data": (X, Y), "holdout": HOLDOUT, **given})


def gradients(**given):
    return list(PUMA.per_sample_gradients(**{"projection": 2, **given}))


def trained(**given):
    objective = partial(functional.cross_entropy, reduction="none")
    settings = {"epochs": 1, "lr": 0.1, **given}
    return train(model(), Samples((X, Y)), lambda net, batch: objective(net(batch[0]), batch[1]), **settings)


CALLS = {
    "Puma": (
        construct,
        {
            "model": ("other", "must be a torch.nn.Module", []),
            "data": ("data", "", []),
            "loss": ("other", "", [None, "mse"]),
            "holdout": ("data", "", []),
            "criterion": ("data", "", []),
            "weight_decay": ("number", "finite number, at least 0", BOUNDED),
            "forward": ("function", "must be a function", []),
            "targets": ("function", "must be a function", []),
            "objective": ("function", "must be a function", []),
            "params": ("other", "", [[], [3], "nothing.*"]),
            "curvature": ("word", "must be one of ggn, hessian, fisher", [None]),
            "solver": ("word", "must be one of cg, nystrom", [None]),
            "damping": ("number", "finite number, at least 0, or 'auto'", [*BOUNDED, "a"]),
            "batch_size": ("count", "", [0, "many"]),
            "device": ("other", "cannot be used here", ["cudaa", "cuda:99", "meta", 2.5, -1, 2**70]),
            "allow_tf32": ("flag", "True or False", [None]),
            "progress": ("flag", "True or False", ["yes"]),
            "ids": ("other", "", [[0] * N, range(3), {1, 2}, [[1], [1, 2]], iter(range(N))]),
            "tol": ("number", "a number between 0 and 1", [0, 1, -1.0]),
            "max_iter": ("count", "", [0]),
            "n_threads": ("count", "", [0]),
            "distributed": ("flag", "True or False", [None, "no"]),
            "patience": ("number", "a number between 0 and 1e+09 of seconds", [0, -1, math.inf, 1e300]),
        },
    ),
    "influence": (
        PUMA.influence,
        {
            "criterion": ("data", "", [{}]),
            "checkpoints": ("other", "", [[3], [None], {"a": 3}, (), b"x", "run.ckpt", np.zeros(2)]),
            "out": ("path", "must be a", ["scores.txt", "/nowhere/scores.npy"]),
        },
    ),
    "self_influence": (
        PUMA.self_influence,
        {"ids": ("ids", "", []), "probes": ("count", "", [0]), "seed": ("count", "", [None])},
    ),
    "per_sample_gradients": (
        gradients,
        {
            "ids": ("ids", "", []),
            "projection": ("count", "", [0]),
            "seed": ("count", "", [None]),
            "chunk": ("count", "", [0]),
        },
    ),
    "remove": (
        lambda **given: PUMA.remove(**{"ids": [0, 1], **given}),
        {
            "ids": ("ids", "", [range(N), None]),
            "eta": ("number", "finite number, at least 0", BOUNDED),
            "max_change": ("number", "go together", [0.1]),
            "up": ("ids", "", [0, N, 10**400, [0], "all", 2.5]),
            "l1": ("number", "finite number, at least 0", [*BOUNDED, None]),
            "l2": ("number", "finite number, at least 0", BOUNDED),
            "lower": ("array", "", [True, math.nan, math.inf, [0.0], np.zeros(N)]),
            "upper": ("array", "", [True, math.nan, -math.inf, [0.0], np.zeros(N)]),
            "criterion": ("data", "", [{}]),
            "scores": ("array", "", [3, np.zeros(5), [math.nan] * N, "nowhere.npy"]),
            "seed": ("count", "", [None]),
        },
    ),
    "remove, eta found": (
        partial(PUMA.remove, [0, 1], eta="auto"),
        {"max_change": ("number", "finite number above 0", [*BOUNDED, *POSITIVE])},
    ),
    "at": (REMOVAL.at, {"eta": ("number", "finite number, at least 0", [*BOUNDED, None, "auto"])}),
    "save": (REMOVAL.report.save, {"directory": ("path", "must be a path", [None])}),
    "from_trainer": (pf.Puma.from_trainer, {"trainer": ("other", "transformers.Trainer", [None, model()])}),
    "from_lightning": (
        lambda **given: pf.Puma.from_lightning(**{"module": model(), "datamodule": DataModule(), **given}),
        {
            "module": ("other", "lightning.LightningModule", [None, torch.nn.Linear(1, 1)]),
            "datamodule": ("other", "lightning.LightningDataModule", [None, (X, Y)]),
        },
    ),
    "unfit": (
        lambda **given: pf.unfit(**{**LINEAR, "ids": [1], **given}),
        {
            "estimator": ("other", "must be a LogisticRegression", [None]),
            "X": ("array", "", [None, X[:, :2]]),
            "y": ("other", "", [None, Y[:5], [[1], [1, 2]], {0, 1}]),
            "ids": ("ids", "", [range(N), None]),
            "sample_weight": ("array", "", [3, [1.0], [-1.0] * N, [math.nan] * N]),
            "newton_steps": ("count", "", []),
            "tol": ("number", "a number between 0 and 1", [0, 1, None]),
            "progress": ("flag", "True or False", []),
            "return_info": ("flag", "True or False", [None]),
        },
    ),
    "linear_influence": (
        lambda **given: pf.linear_influence(
            **{**LINEAR, "X_holdout": X.numpy(), "y_holdout": Y.numpy(), **given}
        ),
        {
            "estimator": ("other", "must be a LogisticRegression", [None]),
            "X": ("array", "", [None, X[:, :2]]),
            "y": ("other", "", [None, Y[:5], [[1], [1, 2]], {0, 1}]),
            "X_holdout": ("array", "", [None, X[:, :2]]),
            "y_holdout": ("other", "", [None, Y[:5], [2] * N, [[1], [1, 2]]]),
            "sample_weight": ("array", "", [3, [1.0]]),
            "progress": ("flag", "True or False", []),
        },
    ),
    "per_class": (
        lambda **given: pf.per_class(**{"data": (X, Y), **given}),
        {"data": ("data", "", []), "targets": ("function", "must be a function", [])},
    ),
    "per_group": (
        lambda **given: pf.per_group(**{"data": (X, Y), "groups": Y, **given}),
        {"data": ("data", "", []), "groups": ("other", "", [None, {1}, [[1], [1, 2]], Y[:5]])},
    ),
    "solve_weights": (
        lambda **given: pf.solve_weights(**{"psi_up": PSI, "target": 1.0, **given}),
        {
            "psi_up": ("array", "", [None, 3, [math.nan]]),
            "target": ("array", "", [True, [1.0], math.nan]),
            "l1": ("number", "", [-1.0]),
            "l2": ("number", "", BOUNDED),
            "lower": ("array", "", [True, math.nan, [0.0]]),
            "upper": ("array", "", [True, math.nan, [0.0]]),
            "max_residual": ("number", "", [-1.0]),
            "tol": ("number", "", [0, -1.0, None]),
            "max_iter": ("count", "", [0, None]),
            "start": ("array", "", [True, [1.0, 2.0], math.nan]),
            "nan": ("other", "raise", ["last", None]),
            "sparse": ("flag", "True or False", [None]),
            "out": ("other", "", [[0.0] * N, np.zeros(2), np.zeros(N, np.float32)]),
            "shard": ("other", "must be a puma_fast.Shard", [()]),
            "n_threads": ("count", "", [0]),
            "return_info": ("flag", "True or False", [None]),
        },
    ),
    "solve_weights, rows": (
        lambda psi_mk: pf.solve_weights(PSI, psi_mk),
        {"psi_mk": ("array", "", [3, [[1.0]], [math.nan]])},
    ),
    "Shard": (
        lambda **given: pf.Shard(**{"index": 0, "count": 2, "reduce": np.copy, **given}),
        {
            "index": ("count", "", [2]),
            "count": ("count", "", [0]),
            "reduce": ("function", "must be a function", [None]),
        },
    ),
    "train": (
        trained,
        {
            "epochs": ("count", "", [0, None]),
            "lr": ("number", "finite number above 0", [*BOUNDED, *POSITIVE, None]),
            "weight_decay": ("number", "finite number, at least 0", [*BOUNDED, None]),
            "seed": ("count", "", [None]),
            "progress": ("flag", "True or False", []),
        },
    ),
    "threshold_attack": (
        lambda **given: threshold_attack(**{"members": [1.0], "others": [0.0], **given}),
        {"members": ("array", "", [None, [], 3.0]), "others": ("array", "", [None, [], 3.0])},
    ),
    "ConjugateGradient": (
        lambda **given: ConjugateGradient(**{"tol": 1e-6, **given}),
        {
            "tol": ("number", "a number between 0 and 1", [0, 1, None]),
            "max_iter": ("count", "", [0]),
            "preconditioner": ("word", "must be one of jacobi, nystrom", []),
            "memory": ("count", "", [None]),
        },
    ),
    "Lissa": (partial(Lissa, 1e-6), {"scale": ("number", "finite number above 0", [*BOUNDED, *POSITIVE])}),
    "Lanczos": (partial(Lanczos, 1e-6), {"rank": ("count", "", [0]), "seed": ("count", "", [None])}),
    "Exact": (Exact, {"max_size": ("count", "", [0])}),
    "Jacobi": (Jacobi, {"probes": ("count", "", [0]), "seed": ("count", "", [None])}),
    "Nystrom": (Nystrom, {"rank": ("count", "", [0]), "seed": ("count", "", [None])}),
}
"""What is called; for each argument what it is a kind of, the words expected, and what else is wrong."""

CASES = [
    pytest.param(call, name, words, value, id=f"{what}-{name}-{place}")
    for what, (call, arguments) in CALLS.items()
    for name, (kind, words, others) in arguments.items()
    for place, value in enumerate([*WRONG[kind], *others])
]


@pytest.mark.parametrize(("call", "name", "words", "value"), CASES)
def test_what_an_argument_is_not_is_refused_by_its_name_before_the_model_is_called(call, name, words, value):
    before = Counted.calls
    with pytest.raises((TypeError, ValueError)) as caught:
        call(**{name: value})
    message = ". ".join([str(caught.value), *getattr(caught.value, "__notes__", ())])
    assert re.search(rf"\b{name}\b", message), message
    assert words in message
    if call is not construct:
        assert Counted.calls == before


@pytest.mark.parametrize(
    ("what", "function"),
    [
        ("Puma", pf.Puma),
        ("influence", pf.Puma.influence),
        ("self_influence", pf.Puma.self_influence),
        ("per_sample_gradients", pf.Puma.per_sample_gradients),
        ("remove", pf.Puma.remove),
        ("unfit", pf.unfit),
        ("linear_influence", pf.linear_influence),
        ("per_class", pf.per_class),
        ("per_group", pf.per_group),
    ],
)
def test_no_argument_is_left_out_above(what, function):
    assert set(inspect.signature(function).parameters) - {"self"} == set(CALLS[what][1])


def test_numbers_are_taken_as_numpy_and_torch_hold_them():
    puma = construct(
        weight_decay=np.float32(0.5),
        damping=torch.tensor(0.25),
        tol=np.array(1e-6),
        max_iter=np.int16(200),
        patience=np.int8(60),
    )
    found = puma.remove(
        np.int64(3), eta="auto", max_change=np.float32(0.5), up=np.int32(5), l2=np.array(0.5), seed=np.int8(3)
    )
    receipt = json.loads(json.dumps(found.report.numbers()))["settings"]
    assert (receipt["weight_decay"], receipt["tol"], receipt["max_change"]) == (0.5, 1e-6, 0.5)
    assert receipt["seed"] == 3
    assert found.at(torch.tensor(0.5)).eta == 0.5
    assert not pf.solve_weights(PSI, target=1.0, l1=math.inf).any()
    assert pf.Shard(np.int64(0), np.int32(2), np.copy).index == 0


def test_what_reading_or_a_criterion_raises_says_of_what():
    with pytest.raises(RuntimeError) as caught:
        construct(holdout=[[1.0], [1.0, 2.0]])
    assert any("holdout" in note and "collate_fn" in note for note in caught.value.__notes__)

    def broken(_):
        raise KeyError("a")

    with pytest.raises(KeyError) as caught:
        PUMA.influence(criterion=broken)
    assert caught.value.__notes__ == ["Raised by the criterion 'broken', which is called with the model"]


@pytest.mark.parametrize("count", [N, 3])
def test_a_stream_that_can_be_read_only_once_is_told_to_begin_anew(count):
    data = OneShot()
    data.items = iter(list(data.items)[:count])
    with pytest.raises(ValueError, match=r"data .*__iter__"):
        construct(data=data, ids=range(count))


def test_a_masked_number_has_no_value():
    with pytest.raises(ValueError, match="l1 has masked entries, which hold no value"):
        pf.solve_weights(PSI, target=1.0, l1=np.ma.masked)


def test_a_model_without_values_is_refused():
    with pytest.raises(ValueError, match=r"model has parameters on the device 'meta'.*load its weights"):
        construct(model=torch.nn.Linear(3, 2, device="meta"))
