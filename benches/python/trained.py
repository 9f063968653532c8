"""Train the models of the influence benches, in our own environment, from data that needs no fetching."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import torch
from sklearn.datasets import load_digits, load_wine
from torch import nn
from torch.nn.functional import cross_entropy

from influence_task import MODELS, Task
from puma_fast.data import Samples
from puma_fast.training import train


def losses(model, batch):
    """Give one loss per sample."""
    return cross_entropy(model(batch[0]), batch[1], reduction="none")


def images(n, held):
    """Give X and y of n MNIST images, then of held-out ones."""
    with np.load(Path(os.environ["PUMA_FAST_DATA"]) / "mnist.npz") as arrays:
        X, y, X_out, y_out = (arrays[key] for key in ("x_train", "y_train", "x_test", "y_test"))
    X, X_out = (each.reshape(-1, 784) / np.float32(255) for each in (X[:n], X_out[:held]))
    return X, y[:n], X_out, y_out[:held]


def data(name):
    """Give X and y, training data, then held-out data, of the model called `name`."""
    kind = name.split()[0]
    if kind == "mnist":
        return images(2000, 500)
    drawn = load_digits() if kind == "digits" else load_wine()
    X, y = drawn.data, drawn.target.astype(np.int64)
    X = X / 16 if kind == "digits" else (X - X.mean(0)) / X.std(0)
    order = np.random.default_rng(0).permutation(len(y))
    X, y = X[order].astype(np.float32), y[order]
    held = len(y) // 3
    return X[held:], y[held:], X[:held], y[:held]


SETTINGS = {
    "wine mlp": {"epochs": 100, "lr": 0.05, "weight_decay": 1e-3, "batch": 32},
    "digits softmax": {"epochs": 60, "lr": 0.2, "weight_decay": 1e-3, "batch": 64},
    "digits mlp": {"epochs": 60, "lr": 0.1, "weight_decay": 1e-3, "batch": 64},
    "mnist cnn": {"epochs": 8, "lr": 0.03, "weight_decay": 1e-3, "batch": 64},
}
"""Of the training; enough weight decay that the gradients do not vanish."""


def fit(name, X, y, *, seed=0):
    """Train the model called `name` on these samples; weights and order are drawn by `seed`."""
    settings = SETTINGS[name]
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        model = MODELS[name]()
    samples = Samples((torch.from_numpy(X), torch.from_numpy(y)), batch_size=settings["batch"])
    options = {key: settings[key] for key in ("epochs", "lr", "weight_decay")}
    train(model, samples, losses, **options, seed=seed, progress=False)
    return model.eval()


def task(name):
    """Train the model called `name` on its data."""
    X, y, X_out, y_out = data(name)
    parameters = nn.utils.parameters_to_vector(fit(name, X, y).parameters()).detach().numpy()
    return Task(name, parameters, X, y, X_out, y_out)
