"""Weights into a model: a state dict, safetensors, or a torch file read without unpickling objects.

What training frameworks wrap around a state dict is looked through: the keys ``state_dict``, ``model`` and
``model_state_dict``, and a prefix that all names share.
"""

from __future__ import annotations

import os
import pickle
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import load_file
from torch import Tensor

if TYPE_CHECKING:
    from torch import nn

_KEYS = ("state_dict", "model", "model_state_dict")

_SHOWN = 3
"""Names listed of each kind that does not fit."""


def load_checkpoint(
    model: nn.Module, source: Mapping[str, Any] | str | os.PathLike[str], *, name: str = "checkpoint"
) -> None:
    """Load a checkpoint into a model, in place; nothing is written unless all of it fits.

    Parameters
    ----------
    model : nn.Module
        The model.
    source : mapping or path-like
        A state dict, or its file: ``.safetensors``; any other ending is read by torch with
        ``weights_only=True``.
    name : str
        The argument's name, for messages.

    Raises
    ------
    TypeError
        Neither a mapping nor a path.
    ValueError
        Where the file cannot be read safely, holds no state dict, or does not fit: the first names that
        are missing, not expected or of another shape are given.
    """
    if not isinstance(source, Mapping):
        if not isinstance(source, (str, os.PathLike)):
            msg = f"{name} must be a state dict or the path of one, got {type(source).__name__}"
            raise TypeError(msg)
        name = f"{name} {source}"
    state = _stripped(_state_dict(source, name), set(model.state_dict()))
    own = model.state_dict()
    shared = {value.data_ptr() for name, value in own.items() if name in state and value.numel()}
    # A tied tensor is stored under one of its names.
    missing = [name for name in own if name not in state and own[name].data_ptr() not in shared]
    unexpected = [name for name in state if name not in own]
    shapes = [
        f"{name} is {tuple(value.shape)}, the model's {tuple(own[name].shape)}"
        for name, value in state.items()
        if name in own and value.shape != own[name].shape
    ]
    faults = [
        f"{kind}: {', '.join(names[:_SHOWN])}"
        + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")
        for kind, names in (("missing", missing), ("not expected", unexpected), ("other shape", shapes))
        if names
    ]
    if faults:
        msg = (
            f"{name} does not fit the model; {'; '.join(faults)}. Give the model that was saved, or save "
            "model.state_dict() again"
        )
        raise ValueError(msg)
    model.load_state_dict(state, strict=False)


def _state_dict(source: Mapping[str, Any] | str | os.PathLike[str], name: str) -> dict[str, Tensor]:
    stored = source if isinstance(source, Mapping) else _file(Path(source), name)
    for key in _KEYS:
        if isinstance(stored, Mapping) and isinstance(stored.get(key), Mapping):
            stored = stored[key]
    if not isinstance(stored, Mapping) or not all(isinstance(value, Tensor) for value in stored.values()):
        msg = f"{name} holds no state dict, nor one under {', '.join(_KEYS)}; save model.state_dict()"
        raise ValueError(msg)
    return dict(stored)


def _stripped(state: dict[str, Tensor], own: set[str]) -> dict[str, Tensor]:
    """Take prefixes that all names share off until they are the model's; where they never are, none."""
    names = state
    while names and not own & names.keys():
        prefix = next(iter(names)).partition(".")[0] + "."
        if not all(name.startswith(prefix) for name in names):
            return state
        names = {name.removeprefix(prefix): value for name, value in names.items()}
    return names


def _file(path: Path, name: str) -> Any:
    try:
        if path.suffix.lower() == ".safetensors":
            return load_file(path)
        with warnings.catch_warnings():
            # torch remarks on the protocol of a file that it then refuses.
            warnings.simplefilter("ignore")
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        msg = (
            f"{name} holds more than weights, and unpickling it could run any code; save "
            "model.state_dict() alone, best with safetensors.torch.save_file"
        )
        raise ValueError(msg) from error
    # The readers raise whatever their parsing meets in a damaged file.
    except Exception as error:
        msg = f"{name} cannot be read: {str(error).splitlines()[0] if str(error) else error!r}"
        raise ValueError(msg) from error
