"""Handwritten digits and a small network on them: what the demonstration runs on.

The 1797 digits of 8 × 8 pixels come with scikit-learn, so nothing is fetched. The network is trained
to near its optimum (the learning rate ends at nought) with enough weight decay that it does not
interpolate: its gradients, and with them the influences, do not vanish.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional

from puma_fast.data import Samples
from puma_fast.training import train

if TYPE_CHECKING:
    from torch import Tensor

HELD_OUT, FRESH = 599, 300
"""A third and a sixth of the digits."""

WEIGHT_DECAY = 1e-2
"""γ of the training objective."""

LOSS = "cross_entropy"


@dataclass(frozen=True, eq=False)
class Digits:
    """The digits, cut in three at random.

    What is preserved on held-out data is preserved there by design; `fresh` neither trains the model
    nor steers an edit, and tells how far that carries.

    Attributes
    ----------
    train, holdout, fresh : tuple of Tensor
        Images (m, 64), float32 between 0 and 1, and labels (m,), int64: a half, a third and a sixth.
    """

    train: tuple[Tensor, Tensor]
    holdout: tuple[Tensor, Tensor]
    fresh: tuple[Tensor, Tensor]


def load(seed: int = 0) -> Digits:
    """Read the digits and cut them at random, drawn by `seed`."""
    digits = load_digits()
    images = torch.from_numpy((digits.data / 16).astype(np.float32))
    labels = torch.from_numpy(digits.target.astype(np.int64))
    order = torch.from_numpy(np.random.default_rng(seed).permutation(len(labels)))
    held, fresh, rest = order[:HELD_OUT], order[HELD_OUT:][:FRESH], order[HELD_OUT + FRESH :]
    return Digits(*((images[piece], labels[piece]) for piece in (rest, held, fresh)))


def trained_network(data: tuple[Tensor, Tensor], *, seed: int = 0, device: str = "cpu") -> nn.Module:
    """Train a network of one hidden layer on images and labels, in eval mode on return.

    Parameters
    ----------
    data : tuple of Tensor
        Images (n, 64) and labels (n,).
    seed : int, default 0
        Of the first weights and the order of the samples.
    device : str, default "cpu"
        Where to train, and where the network is on return.
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        network = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10)).to(device)
    train(
        network,
        Samples(data, batch_size=64, device=device),
        lambda model, batch: functional.cross_entropy(model(batch[0]), batch[1], reduction="none"),
        epochs=60,
        lr=0.1,
        weight_decay=WEIGHT_DECAY,
        seed=seed,
    )
    return network.eval()
