"""The models and data of the influence benches, as files that every contender's interpreter can read.

Imports torch and NumPy alone: pyDVL and puma-fast stand in environments that do not have each other. A
task is a trained model with its training data and held-out data; the models take flat samples with any
leading dimensions, so that a library without a criterion over many samples can be handed the held-out
set as a single one.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from pathlib import Path


class LeNet(nn.Module):
    """LeNet-5 (LeCun et al. 1998) with ReLU and maxima, 61,706 parameters, of images of 784 pixels."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 6, 5, padding=2),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(6, 16, 5),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
        )
        self.head = nn.Sequential(
            nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10)
        )

    def forward(self, pixels: Tensor) -> Tensor:
        """Give logits (..., 10) of pixels (..., 784)."""
        images = pixels.reshape(-1, 1, 28, 28)
        return self.head(self.features(images)).reshape(*pixels.shape[:-1], 10)


def mlp(*widths: int) -> nn.Module:
    """Linear layers of these widths with ReLU between."""
    layers: list[nn.Module] = []
    for before, after in pairwise(widths):
        layers += [nn.Linear(before, after), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


MODELS = {
    "wine mlp": lambda: mlp(13, 16, 16, 3),
    "digits softmax": lambda: mlp(64, 10),
    "digits mlp": lambda: mlp(64, 32, 10),
    "mnist cnn": LeNet,
}


@dataclass(frozen=True)
class Task:
    """A trained model as its name and parameters (p,), with data; float32 and int64."""

    name: str
    parameters: np.ndarray
    X: np.ndarray
    y: np.ndarray
    X_out: np.ndarray
    y_out: np.ndarray

    def model(self, dtype: torch.dtype = torch.float32) -> nn.Module:
        """Build the model with its parameters, in eval mode."""
        model = MODELS[self.name]().to(dtype).eval()
        nn.utils.vector_to_parameters(torch.from_numpy(self.parameters).to(dtype), model.parameters())
        return model

    def tensors(self, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Give X, y, X_out, y_out."""
        X, y, X_out, y_out = map(torch.from_numpy, (self.X, self.y, self.X_out, self.y_out))
        return X.to(dtype), y, X_out.to(dtype), y_out

    def save(self, path: Path) -> None:
        """Write it as .npz."""
        np.savez(path, **asdict(self))


def read(path: str | Path) -> Task:
    """Read what `Task.save` wrote."""
    with np.load(path) as arrays:
        return Task(str(arrays["name"]), *(arrays[key] for key in list(Task.__dataclass_fields__)[1:]))
