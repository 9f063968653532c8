"""The main job on a CUDA device gives the numbers of the CPU."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import puma_fast as pf

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")

N = 200
generator = torch.Generator().manual_seed(0)
X = torch.randn(2 * N, 6, generator=generator)
Y = torch.randint(0, 3, (2 * N,), generator=generator)


def network(dtype):
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
        batch_size=64,
        **arguments,
    )
    removal = puma.remove(range(10), eta=0.02)
    return puma.influence(), removal, removal.report


@pytest.mark.parametrize(("dtype", "rounding"), [(torch.float64, 1e-8), (torch.float32, 1e-3)])
@pytest.mark.parametrize("kind", ["on the device", "on the host", "loader"])
@pytest.mark.parametrize("moved", [True, False])
def test_the_main_job_is_the_cpus_to_rounding(dtype, rounding, kind, moved):
    """Wherever the data are, with the model on the device or only computed with there."""
    want, there, measured = main_job(network(dtype), "cpu", "on the host", dtype)
    model = network(dtype).to("cuda" if moved else "cpu")
    state = torch.cuda.get_rng_state()
    psi, removal, report = main_job(model, None if moved else "cuda", kind, dtype)
    assert torch.equal(torch.cuda.get_rng_state(), state)
    assert next(model.parameters()).is_cuda == moved
    np.testing.assert_allclose(psi, want, atol=rounding * np.abs(want).max())
    assert removal.predicted.by_patch == pytest.approx(there.predicted.by_patch, rel=10 * rounding, abs=1e-9)
    assert {each.device.type for each in removal.delta.values()} == {"cuda"}
    assert {each.device.type for each in removal.model.parameters()} == {"cuda" if moved else "cpu"}
    for name, value in removal.delta.items():
        expected = there.delta[name]
        torch.testing.assert_close(
            value.cpu(), expected, rtol=0, atol=10 * rounding * float(expected.abs().max())
        )
    assert report.after.criterion == pytest.approx(measured.after.criterion, rel=rounding)
    assert report.after.accuracy == measured.after.accuracy


def test_recurrent_layers_and_attention_have_forward_mode_there():
    class Mixed(nn.Module):
        def __init__(self):
            super().__init__()
            self.recurrent = nn.LSTM(6, 8, batch_first=True)
            self.attention = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
            self.head = nn.Linear(8, 3)

        def forward(self, x):
            return self.head(self.attention(self.recurrent(x.unsqueeze(1))[0]).mean(1))

    torch.manual_seed(0)
    model = Mixed().double()
    settings = {"holdout": (X[N:].double(), Y[N:]), "damping": 0.1}
    want = pf.Puma(model, (X[:N].double(), Y[:N]), **settings).influence()
    psi = pf.Puma(model, (X[:N].double(), Y[:N]), device="cuda", **settings).influence()
    np.testing.assert_allclose(psi, want, atol=1e-8 * np.abs(want).max())
