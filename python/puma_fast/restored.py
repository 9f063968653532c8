"""What work on a user's model and data leaves as it found it: random states and modes."""

from __future__ import annotations

import random
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
import torch

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import nn


@contextmanager
def unchanged_randomness() -> Iterator[None]:
    """Restore the random states of torch, NumPy and Python on leaving, also after an exception."""
    # Only where CUDA is in use already: asking for a device's state would start it.
    started = torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
    with torch.random.fork_rng(devices=list(range(torch.cuda.device_count())) if started else []):
        state = np.random.get_state()  # noqa: NPY002 - the user's data set may draw from it
        python = random.getstate()
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(state)  # noqa: NPY002


@contextmanager
def in_mode(model: nn.Module, *, train: bool) -> Iterator[None]:
    """Put a model into train or eval mode, and each of its modules back into the one it was in."""
    modes = [(module, module.training) for module in model.modules()]
    try:
        model.train(train)
        yield
    finally:
        for module, training in modes:
            module.training = training
