"""What work on a user's model and data leaves as it found it: random states, modes, precision."""

from __future__ import annotations

import random
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

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
def whole_float32() -> Iterator[None]:
    """Let a GPU multiply float32 as it is: TF32 keeps ten bits of each number, too few for a solve."""
    kinds: tuple[Any, ...] = (torch.backends.cuda.matmul, torch.backends.cudnn)
    switch: str = "allow_tf32"
    off: object = False
    if hasattr(torch.backends.cudnn, "conv"):
        kinds = torch.backends.cuda.matmul, torch.backends.cudnn.conv, torch.backends.cudnn.rnn
        switch, off = "fp32_precision", "ieee"
    before = [getattr(kind, switch) for kind in kinds]
    try:
        for kind in kinds:
            setattr(kind, switch, off)
        yield
    finally:
        for kind, value in zip(kinds, before, strict=True):
            setattr(kind, switch, value)


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
