"""What scores were made of, so that scores of something else are told from them by name."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from puma_fast.batches import map_tensors
from puma_fast.score.sketch import CountSketch

if TYPE_CHECKING:
    from collections.abc import Iterable

    from torch import Tensor, nn

    from puma_fast.data import Samples
    from puma_fast.score.criteria import Criteria
    from puma_fast.score.influence import Influence

_WIDTH = 16
"""Numbers kept of a gradient: two that differ agree in all of them as good as never."""

_SAME = 1e-3
"""Relative difference of two gradients that rounding on another machine or batch size may account for."""

_IN_WORDS = {
    "model": "another model: its parameters or buffers are not those of now",
    "data": "other data",
    "ids": "samples of other names",
    "loss": "another loss: its gradient is not that of now",
    "criterion": "another criterion: its gradient is not that of now",
}


def fingerprint(influence: Influence, criteria: Criteria) -> dict[str, Any]:
    """Give all that scores depend on, in plain numbers and words: one pass over the data to hash it.

    What is a function (loss, criterion) is known by its gradient, in a few random projections.
    """
    objective, samples = influence.objective, influence.samples
    gradients = influence.gradients(criteria.each)
    begin = samples.batches(np.arange(min(8, samples.n)), description="fingerprint")
    first = torch.stack([objective.gradient(batch) for _, batch in begin]).sum(0, keepdim=True)
    sketch = CountSketch(objective.layout.size, _WIDTH, device=objective.device)
    return {
        "model": _digest([*objective.model.named_parameters(), *objective.model.named_buffers()]),
        "data": _of_data(samples),
        "ids": hashlib.blake2b(repr(samples.names).encode(), digest_size=16).hexdigest(),
        "loss": sketch(first).cpu().tolist(),
        "criterion": sketch(gradients).cpu().tolist(),
        "settings": {
            name: value
            for name, value in influence.settings.items()
            if name not in ("batch_size", "device", "parameters")
        }
        | {"damping": influence.asked_damping},
    }


def difference(there: dict[str, Any], here: dict[str, Any]) -> str | None:
    """Say in words of what else scores were made; None where it is the same."""
    if "checkpoints" in there or "checkpoints" in here:
        count = there.get("checkpoints")
        if count == here.get("checkpoints"):
            return None
        return "one model" if count is None else f"{count} checkpoints, as their mean"
    for name, words in _IN_WORDS.items():
        if name in ("loss", "criterion"):
            one, other = np.array(there[name]), np.array(here[name])
            same = one.shape == other.shape and np.linalg.norm(one - other) <= _SAME * np.linalg.norm(other)
        else:
            same = there[name] == here[name]
        if not same:
            return words
    for name, value in here["settings"].items():
        if there["settings"].get(name) != value:
            return f"other settings: {name} was {there['settings'].get(name)!r}, and is {value!r}"
    return None


def _of_data(samples: Samples) -> str:
    """Hash every tensor of the data, row after row, so that the cut into batches does not matter."""
    hashes: list[Any] = []
    for _, batch in samples.batches(description="fingerprint"):
        tensors: list[Tensor] = []

        def keep(tensor: Tensor, tensors: list[Tensor] = tensors) -> Tensor:
            tensors.append(tensor)
            return tensor

        map_tensors(keep, batch)
        if not hashes:
            hashes = [hashlib.blake2b(digest_size=16) for _ in tensors]
        for digest, tensor in zip(hashes, tensors, strict=True):
            digest.update(_bytes(tensor))
    return " ".join([str(samples.n), *(digest.hexdigest() for digest in hashes)])


def model_digest(model: nn.Module) -> int:
    """Give a number that another state of the model would not have."""
    return int(_digest([*model.named_parameters(), *model.named_buffers()])[:15], base=16)


def _digest(named: Iterable[tuple[str, Tensor]]) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for name, tensor in named:
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(_bytes(tensor))
    return digest.hexdigest()


def _bytes(tensor: Tensor) -> bytes:
    """Give a tensor's memory, of whatever type, in the order of its elements."""
    flat = tensor.detach().cpu().contiguous().reshape(-1)
    return flat.view(torch.uint8).numpy().tobytes()
