"""What a `LightningModule` was trained on, as arguments of `Puma`.

Lightning is not imported here. A training step gives one number for a batch, so the loss has to be
named; whether it is the one that the training step computes is checked on the first samples.
"""

from __future__ import annotations

import copy
import math
from typing import TYPE_CHECKING, Any

import torch

from puma_fast.data import Samples
from puma_fast.restored import in_mode, unchanged_randomness
from puma_fast.score.objective import Objective

if TYPE_CHECKING:
    from torch import nn

_AGREEMENT = 1e-3
"""Relative difference of the two losses that rounding explains."""

_OF_THE_LOSS = ("loss", "forward", "targets", "objective")


def lightning_arguments(module: nn.Module, datamodule: Any, **given: Any) -> dict[str, Any]:
    """Read the data from a data module, and take the module off its trainer; what is `given` goes before.

    `Puma.from_lightning` says what is refused.
    """
    for name, given_one, kind, of_one in (
        ("module", module, "LightningModule", ("named_parameters", "training_step")),
        ("datamodule", datamodule, "LightningDataModule", ("prepare_data", "setup", "train_dataloader")),
    ):
        if not all(callable(getattr(given_one, each, None)) for each in of_one):
            msg = f"{name} must be a lightning.{kind}, got {type(given_one).__name__}"
            raise TypeError(msg)
    datamodule.prepare_data()
    datamodule.setup("fit")
    read: dict[str, Any] = {"model": _without_trainer(module), "data": datamodule.train_dataloader()}
    held_out = datamodule.val_dataloader()
    if held_out is not None and not isinstance(held_out, (list, tuple)):
        read["holdout"] = held_out
    arguments = read | given
    if getattr(module, "automatic_optimization", True):
        _check(arguments)
    return arguments


def _without_trainer(module: nn.Module) -> Any:
    """Give a view of the module, its parameters shared, that does not hold the trainer and all its data."""
    view = copy.copy(module)
    view.__dict__.update(_trainer=None, _fabric=None, log=_silent, log_dict=_silent)
    return view


def _silent(*_: Any, **__: Any) -> None:
    """Stand in for `self.log`, which has nowhere to write to outside of a training loop."""


def _check(arguments: dict[str, Any]) -> None:
    model = arguments["model"]
    of_the_loss = {name: arguments[name] for name in _OF_THE_LOSS if name in arguments}
    objective = Objective(model, **of_the_loss)
    batch = Samples(arguments["data"], device=objective.device).first(2)
    with unchanged_randomness(), torch.no_grad(), in_mode(model, train=False):
        step = model.training_step(batch, 0)
        theirs = float(step["loss"] if isinstance(step, dict) else step)
        with objective.untouched():
            ours = float(objective.losses(objective.parameters, batch).mean())
    if not math.isclose(ours, theirs, rel_tol=_AGREEMENT, abs_tol=_AGREEMENT):
        msg = (
            f"the training step's loss of the first samples is {theirs:.6g}, loss= gives {ours:.6g}; name "
            "the one that was minimised, e.g. loss='mse_loss', or pass objective="
        )
        raise ValueError(msg)
