"""What a process pays that asks once: torch's compiler and its symbolic shapes take seconds to load."""

import os
import subprocess
import sys

START = r'''
import sys, traceback
from importlib.abc import MetaPathFinder

import torch
from torch import nn

import puma_fast as pf


class Watch(MetaPathFinder):
    """Tells who imports what is heavy; older torch loads some of it with itself."""

    heavy = {"torch._dynamo", "torch._inductor", "torch.fx.experimental.symbolic_shapes", "sympy"}

    def find_spec(self, name, path, target=None):
        if name in self.heavy:
            print(f"{name} was loaded:", *traceback.format_stack()[:-1], sep="\\n")
            self.heavy = set()


sys.meta_path.insert(0, Watch())
torch.manual_seed(0)
X, y = torch.randn(60, 1, 6, 6), torch.arange(60) % 3
model = nn.Sequential(
    nn.Conv2d(1, 2, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.LayerNorm(8), nn.Linear(8, 3)
)
data = {"data": (X[:40], y[:40]), "holdout": (X[40:], y[40:]), "batch_size": 4, "weight_decay": 1e-2}
'''

ROADS = {
    "influence": "pf.Puma(model, **data).influence()",
    "dense solve": "pf.Puma(model, **data, solver='exact', params='5.*').influence()",
    "exact Hessian": "pf.Puma(model, **data, curvature='hessian', damping=5.0).influence()",
    "Fisher matrix": "pf.Puma(model, **data, curvature='fisher').influence()",
    "several criteria": "pf.Puma(model, **data).influence(criterion=pf.per_class(data['holdout']))",
    "self-influence by probes": "pf.Puma(model, **data).self_influence(probes=2)",
    "removal and report": "print(pf.Puma(model, **data).remove([1, 2]).report)",
}


def test_a_first_call_loads_no_compiler():
    calls = "".join(f"print({road!r})\n{call}\n" for road, call in ROADS.items())
    run = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", START + calls],
        env=os.environ,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert "was loaded" not in run.stdout, run.stdout
    assert "several criteria" in run.stdout
