"""The user's model as it is worked on: free of wrappers, on a device that is there, fit to be copied."""

from __future__ import annotations

import copy
import reprlib
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy


def unwrapped(model: nn.Module) -> nn.Module:
    """Look through the wrappers of torch.compile and (Distributed)DataParallel."""
    wrappers = (nn.DataParallel, nn.parallel.DistributedDataParallel)
    while True:
        inner = model.module if isinstance(model, wrappers) else getattr(model, "_orig_mod", None)
        if not isinstance(inner, nn.Module):
            return model
        model = inner


def checked_device(device: torch.device | str) -> torch.device:
    """Give a device that can be computed on, or refuse it by name."""
    try:
        known = torch.device(device)
        torch.empty(0, device=known)
        reason = "its tensors hold no values" if known.type == "meta" else None
    # torch raises whatever the device's own library does.
    except Exception as error:
        reason = str(error).strip().partition("\n")[0]
    if reason is not None:
        msg = (
            f"device={reprlib.repr(device)} cannot be used here ({reason}); leave it out to compute where "
            "the model is, or pass 'cpu'"
        )
        raise ValueError(msg)
    return known


def refuse_unmade(model: nn.Module) -> None:
    """Refuse parameters and buffers that hold no values yet."""
    for name, value in [*model.named_parameters(), *model.named_buffers()]:
        if is_lazy(value):
            msg = f"model: {name!r} is uninitialized, as lazy layers are; call the model on a batch first"
            raise ValueError(msg)
        if value.is_meta and isinstance(value, nn.Parameter):
            msg = "model has parameters on the device 'meta', which hold no values; load its weights first"
            raise ValueError(msg)


def copied(model: nn.Module) -> nn.Module:
    """Make a deep copy, also of a model that keeps tensors it has computed (as the old weight_norm does)."""
    return copy.deepcopy(model, {id(each): each.detach().clone() for each in _computed(model)})


def refuse_uncopyable(model: nn.Module) -> None:
    """Find out before long work that the patched copy cannot be made; no tensor is copied for it."""
    tensors = [*model.parameters(), *model.buffers(), *_computed(model)]
    memo: dict[int, Any] = {id(each): each for each in tensors}
    try:
        copy.deepcopy(model, memo)
    except Exception as error:
        msg = (
            f"model cannot be deep-copied ({type(error).__name__}: {error}), so no patched copy "
            "could be made; take locks, files and loggers off it, or give it __deepcopy__"
        )
        raise TypeError(msg) from error


def _computed(model: nn.Module) -> list[Tensor]:
    """Give the tensors among the modules' attributes that hold a graph, which torch refuses to copy."""
    attributes = [value for module in model.modules() for value in vars(module).values()]
    return [value for value in attributes if isinstance(value, Tensor) and value.grad_fn is not None]
