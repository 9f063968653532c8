"""One seeded training loop: the same model, samples and seed give the same parameters.

It minimises the objective that everything else differentiates, J(θ) = (1/n) Σ L_i(θ) + (γ/2)‖θ‖², by
stochastic gradients with Nesterov momentum and a learning rate that falls to nought along a cosine.
"""

from __future__ import annotations

import math
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from puma_fast.numeric.arrays import as_count, as_number, as_progress
from puma_fast.progress import bar
from puma_fast.restored import in_mode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from torch import Tensor, nn

    from puma_fast.data import Samples

MOMENTUM = 0.9


def train(
    model: nn.Module,
    samples: Samples,
    objective: Callable[[nn.Module, Any], Tensor],
    *,
    epochs: int,
    lr: float,
    weight_decay: float = 0.0,
    seed: int = 0,
    progress: bool | None = None,
) -> list[float]:
    """Train a model in place; leave torch's and NumPy's own random states as they were.

    Parameters
    ----------
    model : nn.Module
        Trained in train mode, and left in the mode it was in. Its parameters with `requires_grad` are
        written, on the device where they are, which must be the samples'.
    samples : Samples
        The n training samples with their batch size; every epoch reads them once, in a drawn order.
    objective : callable
        ``objective(model, batch) -> (B,)``, the losses L_i of a batch; the same as `Puma` takes.
    epochs : int
        Passes over the samples, at least 1.
    lr : float
        The learning rate of the first step, positive.
    weight_decay : float, default 0.0
        γ. It is part of the gradient, not decoupled from it.
    seed : int, default 0
        Of the order of the samples and of the model's own draws (dropout).
    progress : bool, optional
        Show a bar for training of over two seconds; by default only on a terminal.

    Returns
    -------
    list of float
        The mean loss over each epoch, as met on the way and without the weight decay.

    Raises
    ------
    ValueError
        A setting out of its range, or a loss that is no longer finite.

    Examples
    --------
    >>> import torch
    >>> from puma_fast.data import Samples
    >>> X = torch.linspace(-1, 1, 64)[:, None]
    >>> model = torch.nn.Linear(1, 1)
    >>> losses = train(
    ...     model,
    ...     Samples((X, 3 * X), batch_size=16),
    ...     lambda model, batch: (model(batch[0]) - batch[1]).square().mean(1),
    ...     epochs=50,
    ...     lr=0.1,
    ... )
    >>> round(model.weight.item(), 3)
    3.0
    """
    epochs, seed = as_count("epochs", epochs, least=1), as_count("seed", seed)
    lr, weight_decay = as_number("lr", lr, above=0), as_number("weight_decay", weight_decay, least=0)
    progress = as_progress(progress)
    edited = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.SGD(edited, lr, momentum=MOMENTUM, nesterov=True, weight_decay=weight_decay)
    steps = epochs * -(-samples.n // samples.batch_size)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    order = np.random.default_rng(seed)
    history: list[float] = []
    with (
        _own_draws(edited[0].device, seed),
        in_mode(model, train=True),
        bar("training", unit="epoch", total=epochs, progress=progress) as shown,
    ):
        for epoch in range(epochs):
            total = 0.0
            for _, batch in samples.batches(order.permutation(samples.n)):
                losses = objective(model, batch)
                optimizer.zero_grad()
                losses.mean().backward()  # type: ignore[no-untyped-call]
                optimizer.step()
                schedule.step()
                total += float(losses.detach().double().sum())
            if not math.isfinite(total):
                msg = f"lr={lr} is too large: the loss is {total / samples.n} in epoch {epoch + 1}; lower it"
                raise ValueError(msg)
            history.append(total / samples.n)
            shown.update()
        optimizer.zero_grad()
    return history


@contextmanager
def _own_draws(device: torch.device, seed: int) -> Iterator[None]:
    """Seed what the model draws from, and give the states back on leaving."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        # torch.manual_seed would also seed devices that were not forked.
        torch.default_generator.manual_seed(seed)
        if device.type == "cuda":
            with torch.cuda.device(device):
                torch.cuda.manual_seed(seed)
        yield
