"""What is computed on a GPU is what the CPU gives, and every tensor is where it belongs.

Each test runs on a CUDA device, skipped by name where there is none, and on a pretended one, which checks
the placing of tensors everywhere.
"""

from __future__ import annotations

import copy
from contextlib import nullcontext

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import puma_fast as pf
from pretended import PretendedGPU
from puma_fast.data import Samples
from puma_fast.score.curvature import Curvature
from puma_fast.score.objective import Objective
from puma_fast.score.solve import solver_named
from puma_fast.training import train

N = 60
SMALL = 20
DEVICE = "cuda:0"
generator = torch.Generator().manual_seed(0)
X = torch.randn(2 * N, 6, generator=generator)
Y = torch.randint(0, 3, (2 * N,), generator=generator)


@pytest.fixture(params=["real", "pretended"])
def gpu(request):
    """A context in which DEVICE can be computed on; outside it the CPU gives what is expected."""
    if request.param == "real" and not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    return PretendedGPU() if request.param == "pretended" else nullcontext()


def network(dtype=torch.float64):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Linear(8, 3)).to(dtype)


def main_job(model, device, kind, dtype, **arguments):
    data = (X[:N].to(dtype), Y[:N])
    if kind == "on the device":
        data = tuple(each.to(device) for each in data)
    elif kind == "loader":
        data = DataLoader(TensorDataset(*data), batch_size=32, num_workers=1)
    puma = pf.Puma(
        model,
        data,
        holdout=(X[N:].to(dtype), Y[N:]),
        weight_decay=0.01,
        device=device,
        batch_size=32,
        **arguments,
    )
    removal = puma.remove(range(10), eta=0.02)
    return puma.influence(), removal, removal.report


@pytest.mark.parametrize(("dtype", "rounding"), [(torch.float64, 1e-8), (torch.float32, 1e-3)])
@pytest.mark.parametrize("kind", ["on the device", "on the host", "loader"])
@pytest.mark.parametrize("moved", [True, False])
def test_the_main_job_is_the_cpus_to_rounding(gpu, dtype, rounding, kind, moved):
    """Wherever the data are, with the model on the device or only computed with there."""
    want, there, measured = main_job(network(dtype), "cpu", "on the host", dtype)
    with gpu:
        real = torch.cuda.is_available()
        model = network(dtype).to(DEVICE if moved else "cpu")
        state = torch.cuda.get_rng_state() if real else None
        psi, removal, report = main_job(model, None if moved else DEVICE, kind, dtype)
        assert not real or torch.equal(torch.cuda.get_rng_state(), state)
        assert next(model.parameters()).is_cuda == moved
        assert {each.device.type for each in removal.delta.values()} == {"cuda"}
        assert {each.device.type for each in removal.model.parameters()} == {"cuda" if moved else "cpu"}
        delta = {name: value.cpu() for name, value in removal.delta.items()}
    np.testing.assert_allclose(psi, want, atol=rounding * np.abs(want).max())
    assert removal.predicted.by_patch == pytest.approx(there.predicted.by_patch, rel=10 * rounding, abs=1e-9)
    for name, expected in there.delta.items():
        close = {"rtol": 0, "atol": 10 * rounding * float(expected.abs().max())}
        torch.testing.assert_close(delta[name], expected, **close)
    assert report.after.criterion == pytest.approx(measured.after.criterion, rel=rounding)
    assert report.after.accuracy == measured.after.accuracy


def equal_on_both(gpu, compute, rounding=1e-8):
    """Hold `compute(device)` on the GPU to what it gives on the CPU."""
    want = compute("cpu")
    with gpu:
        found = compute(DEVICE)
    np.testing.assert_allclose(found, want, atol=rounding * np.abs(want).max())


def small(device, **settings):
    """A small task, model and held-out data on `device`, training data on the host."""
    arguments = {"holdout": (X[N : N + SMALL].double().to(device), Y[N : N + SMALL].to(device))}
    arguments |= {"weight_decay": 0.01, "batch_size": 12, "damping": 0.1}
    data = (X[:SMALL].double(), Y[:SMALL])
    return pf.Puma(network().to(device), data, **(arguments | settings))


@pytest.mark.filterwarnings("ignore:the criterion solve ended")
@pytest.mark.parametrize("curvature", ["ggn", "hessian", "fisher"])
@pytest.mark.parametrize("solver", ["cg", "nystrom", "lanczos", "exact"])
def test_every_solver_and_curvature(gpu, solver, curvature):
    settings = {"solver": solver, "curvature": curvature, "damping": 1.0, "tol": 1e-8}
    equal_on_both(gpu, lambda device: small(device, **settings).influence(), 1e-6)


def test_the_heaviest_samples_precondition_there_too(gpu):
    model = nn.Linear(6, 3).double()
    length = torch.where(torch.arange(N) % 10 == 0, 0.1, 100.0)
    data = (X[:N].double() * length[:, None], Y[:N])

    def found(device):
        objective = Objective(copy.deepcopy(model), device=device)
        samples = Samples(data, batch_size=5, device=device)
        curvature = Curvature(objective, samples, damping=0.01)
        rhs = objective.gradient((X[N:].double().to(device), Y[N:].to(device)))
        solve = solver_named("cg", 1e-8, 100).solve(curvature, rhs)
        return curvature.heaviest().positions, solve.x.cpu()

    few, x = found("cpu")
    with gpu:
        there, y = found(DEVICE)
    np.testing.assert_array_equal(there, few)
    torch.testing.assert_close(y, x, rtol=1e-6, atol=1e-9)


def test_damping_by_lanczos_and_batches_by_memory(gpu):
    settings = {"damping": "auto", "batch_size": "auto"}
    equal_on_both(gpu, lambda device: small(device, **settings).influence())


def test_several_criteria_and_functions_of_the_model(gpu):
    def scores(device):
        held_out = (X[N:].double().to(device), Y[N:].to(device))
        by_class = small(device).influence(criterion=pf.per_class(held_out))
        whole = small(device).influence(criterion=lambda model: (model(held_out[0]) ** 2).mean())
        return np.column_stack([by_class, whole])

    equal_on_both(gpu, scores)


def test_self_influence_and_per_sample_gradients(gpu):
    equal_on_both(gpu, lambda device: small(device).self_influence())
    equal_on_both(gpu, lambda device: small(device, curvature="fisher").self_influence())
    for projection in (None, 32):

        def gradients(device, projection=projection):
            return np.concatenate(
                [rows for _, rows in small(device).per_sample_gradients(projection=projection)]
            )

        equal_on_both(gpu, gradients)


def test_checkpoints_and_scores_in_files(gpu, tmp_path):
    trained = network()
    nn.init.normal_(trained[0].weight)

    def scores(device):
        states = [network().state_dict(), copy.deepcopy(trained).to(device).state_dict()]
        return small(device).influence(checkpoints=states, out=tmp_path / f"{device[:3]}.npy")

    equal_on_both(gpu, scores)


def test_removals_along_a_criterion_of_each_class(gpu):
    def patch(device):
        held_out = (X[N:].double().to(device), Y[N:].to(device))
        removal = small(device).remove([0, 3, 9], criterion=pf.per_class(held_out), up=10)
        assert removal.at(0.1).report.after.criterion is not None
        return np.concatenate([value.cpu().numpy().ravel() for value in removal.delta.values()])

    equal_on_both(gpu, patch)


def test_layers_that_have_kernels_of_their_own(gpu):
    class Mixed(nn.Module):
        def __init__(self):
            super().__init__()
            self.words = nn.Embedding(10, 6, padding_idx=0)
            self.recurrent = nn.LSTM(6, 8, batch_first=True)
            self.attention = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
            self.convolution = nn.Conv1d(8, 4, 3, padding=1)
            self.head = nn.Linear(4, 3)

        def forward(self, ids):
            inside = self.attention(self.recurrent(self.words(ids))[0])
            return self.head(self.convolution(inside.mT).relu().mean(2))

    ids = torch.randint(10, (2 * SMALL, 5), generator=torch.Generator().manual_seed(1))

    def scores(device):
        torch.manual_seed(0)
        model = Mixed().double().to(device)
        data, held_out = (ids[:SMALL], Y[:SMALL]), (ids[SMALL:], Y[SMALL : 2 * SMALL])
        return pf.Puma(model, data, holdout=held_out, damping=0.1).influence()

    equal_on_both(gpu, scores)


@pytest.mark.filterwarnings("ignore")
def test_a_classifier_of_transformers(gpu):
    transformers = pytest.importorskip("transformers")
    sizes = {"hidden_size": 4, "intermediate_size": 5, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = transformers.BertConfig(vocab_size=10, num_labels=3, **sizes)
    draw = torch.Generator().manual_seed(2)
    ids = torch.randint(10, (2 * SMALL, 5), generator=draw)
    seen = (torch.arange(5) < torch.randint(3, 6, (2 * SMALL, 1), generator=draw)).long()
    batch = {"input_ids": ids, "attention_mask": seen, "labels": Y[: 2 * SMALL]}
    data = {name: value[:SMALL] for name, value in batch.items()}
    held_out = {name: value[SMALL:] for name, value in batch.items()}

    def scores(device):
        torch.manual_seed(0)
        model = transformers.BertForSequenceClassification(config).double().eval().to(device)
        return pf.Puma(model, data, holdout=held_out, loss="cross_entropy", damping=1.0).influence()

    equal_on_both(gpu, scores)


@pytest.mark.parametrize("gpu", ["real"], indirect=True)
def test_training_for_the_demonstration(gpu):
    def losses(model, batch):
        return nn.functional.cross_entropy(model(batch[0]), batch[1], reduction="none")

    def weights(device):
        model = network().to(device)
        samples = pf.data.Samples((X[:SMALL].double(), Y[:SMALL]), device=device)
        train(model, samples, losses, epochs=2, lr=0.1, weight_decay=0.0, seed=0, progress=False)
        return model[0].weight.detach().cpu().numpy()

    equal_on_both(gpu, weights)


def test_what_is_pretended_keeps_apart_what_a_gpu_keeps_apart():
    """The oracle itself: tensors of two devices do not meet, and NumPy stays outside."""
    with PretendedGPU():
        there, here = torch.ones(3, device=DEVICE), torch.ones(3)
        assert torch.equal((2 * there + torch.tensor(1.0)).cpu(), torch.full((3,), 3.0))
        for mixed in (lambda: there + here, lambda: torch.cat([there, here]), lambda: here @ there):
            with pytest.raises(RuntimeError, match="same device"):
                mixed()
        with pytest.raises((TypeError, RuntimeError)):
            there.numpy()
