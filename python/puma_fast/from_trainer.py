"""What a Hugging Face `Trainer` was given, as arguments of `Puma`.

The trainer is only read: transformers is not imported here. A batch goes into the model as the trainer's
collator makes it, and the loss is that of the model's head with one number per sample; whether it is
the trainer's own loss is checked on the first sample.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch
from torch.nn import functional
from torch.utils.data import DataLoader

from puma_fast.batches import moved
from puma_fast.restored import in_mode, unchanged_randomness
from puma_fast.score.losses import IGNORED
from puma_fast.score.unwrapped import unwrapped

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor, nn

    Loss = Callable[[Tensor, Tensor], Tensor]

_OF_A_TRAINER = ("model", "args", "train_dataset", "compute_loss", "get_eval_dataloader")

_AGREEMENT = 1e-2
"""Relative difference of the two losses that rounding in half precision explains."""


def trainer_arguments(trainer: Any, **given: Any) -> dict[str, Any]:
    """Read model, data and loss from a trainer; what is `given` goes before what is read.

    `Puma.from_trainer` says what is refused.
    """
    if not all(hasattr(trainer, name) for name in _OF_A_TRAINER):
        msg = f"trainer must be a transformers.Trainer, got {type(trainer).__name__}"
        raise TypeError(msg)
    if trainer.train_dataset is None:
        msg = "trainer has no train_dataset, so there is nothing to score; make it with train_dataset="
        raise ValueError(msg)
    model = unwrapped(trainer.model)
    read: dict[str, Any] = {"model": model, "data": _loader(trainer, trainer.train_dataset)}
    held_out = getattr(trainer, "eval_dataset", None)
    if held_out is not None and not isinstance(held_out, dict):
        read["holdout"] = _loader(trainer, held_out)
    if not given.keys() & {"loss", "objective"}:
        read["loss"] = head_loss(model)
        _check(trainer, model, read["loss"], read["data"])
    return read | given


def head_loss(model: nn.Module) -> Loss:
    """Give the loss of a model's head, one number per sample, a sum over tokens where there are any.

    Raises
    ------
    ValueError
        A head whose loss is not known here.
    """
    base: Any = getattr(model, "get_base_model", lambda: model)()
    name = type(base).__name__
    if name.endswith(("ForCausalLM", "LMHeadModel")):
        return causal_tokens
    if name.endswith(("ForMaskedLM", "ForTokenClassification")):
        return tokens
    if name.endswith(("ForSequenceClassification", "ForImageClassification")):
        kind = base.config.problem_type
        if kind == "regression" or (kind is None and base.config.num_labels == 1):
            return squares
        return several_labels if kind == "multi_label_classification" else one_label
    msg = f"the loss of {name} is not known; pass loss= or objective=, one number per sample (see Puma)"
    raise ValueError(msg)


def tokens(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross entropy of (B, T, V) logits, summed over the tokens with a label."""
    losses = functional.cross_entropy(logits.movedim(-1, 1), labels, reduction="none", ignore_index=IGNORED)
    return losses.sum(1)


def causal_tokens(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross entropy of the token that follows, as the labels of a causal model are its own inputs."""
    return tokens(logits[:, :-1], labels[:, 1:])


def one_label(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross entropy of (B, C) logits."""
    return functional.cross_entropy(logits, labels.view(-1), reduction="none")


def several_labels(logits: Tensor, labels: Tensor) -> Tensor:
    """Binary cross entropy of (B, C) logits, averaged over the labels."""
    return functional.binary_cross_entropy_with_logits(logits, labels, reduction="none").mean(1)


def squares(logits: Tensor, labels: Tensor) -> Tensor:
    """Squared error, averaged over the values."""
    return (logits.flatten(1) - labels.to(logits.dtype).reshape(len(logits), -1)).square().mean(1)


def _loader(trainer: Any, dataset: Any) -> DataLoader[Any]:
    """Read in order what the trainer would read, columns dropped and collated as it does."""
    theirs = trainer.get_eval_dataloader(dataset)
    return DataLoader(
        theirs.dataset,
        batch_size=trainer.args.per_device_train_batch_size,
        collate_fn=theirs.collate_fn,
    )


def _check(trainer: Any, model: nn.Module, loss: Loss, data: DataLoader[Any]) -> None:
    """Refuse a trainer that minimises something else than the loss of the model's head."""
    device = next(model.parameters()).device
    with unchanged_randomness(), torch.no_grad(), in_mode(model, train=False):
        batch = moved(data.collate_fn([data.dataset[0]]), device)
        labels = batch["labels"] if "labels" in batch else batch["label"]
        theirs = float(trainer.compute_loss(model, dict(batch)))
        inputs = {key: value for key, value in batch.items() if value is not labels}
        ours = float(loss(model(**inputs).logits, labels))
    if loss in (tokens, causal_tokens):
        counted = labels if loss is tokens else labels[:, 1:]
        ours /= max(int((counted != IGNORED).sum()), 1)
    if not math.isclose(ours, theirs, rel_tol=_AGREEMENT, abs_tol=_AGREEMENT):
        msg = (
            f"the trainer's loss of the first sample is {theirs:.6g}, that of the model's head "
            f"{ours:.6g}: a compute_loss of its own, label smoothing, or weights. Pass loss= or objective= "
            "with what was minimised, one number per sample"
        )
        raise ValueError(msg)
