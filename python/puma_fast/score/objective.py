"""Model, data and loss as one function: edited parameters in, one loss per training sample out.

The training objective is J(θ) = (1/n) Σ L_i(θ) + (γ/2)‖θ‖². Everything that touches the user's model
goes through here: it is called functionally, in eval mode, and left exactly as it was found.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad

from puma_fast.data import unchanged_randomness
from puma_fast.score.forward import Forward, differentiable_kernels, load_rules
from puma_fast.score.losses import per_sample
from puma_fast.score.parameters import Layout, select_parameters

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from puma_fast.data import Samples
    from puma_fast.score.losses import Loss

_TARGET_KEYS = ("labels", "label", "y")


class Objective:
    """A model with what turns its outputs into one loss per sample.

    Parameters
    ----------
    model : nn.Module
        The trained model; wrappers of torch.compile and (Distributed)DataParallel are looked through.
    loss : str, nn.Module or callable, default "cross_entropy"
        A name of `LOSSES`; a torch loss function or module, called with ``reduction="none"``; or
        ``loss(outputs, targets) -> (B,)``. Losses per token or position of cross_entropy, nll_loss and
        of functions of one's own are summed over the positions whose target is not −100; losses per
        element of the others (regression) are averaged over a sample's elements, as torch's
        ``reduction="mean"`` does, or summed where the module says ``reduction="sum"``.
    forward : callable, optional
        ``forward(model, batch) -> outputs``. By default the model is called with the first item of a
        tuple, or with every key of a mapping but the targets; `.logits` is taken where there is one.
    targets : callable, optional
        ``targets(batch)``; by default the last item of a tuple, or the key labels, label or y.
    objective : callable, optional
        ``objective(model, batch) -> (B,)`` replaces the three above.
    params : str or sequence of str, optional
        Patterns of the parameters to edit; by default those with `requires_grad`.
    weight_decay : float, default 0.0
        γ in J, at least 0.
    device : torch.device or str, optional
        Where to compute; by default where the model is. The user's model is never moved.
    """

    def __init__(
        self,
        model: nn.Module,
        loss: Loss = "cross_entropy",
        *,
        forward: Callable[[nn.Module, Any], Any] | None = None,
        targets: Callable[[Any], Any] | None = None,
        objective: Callable[[nn.Module, Any], Tensor] | None = None,
        params: str | Sequence[str] | None = None,
        weight_decay: float = 0.0,
        device: torch.device | str | None = None,
    ) -> None:
        if not weight_decay >= 0 or weight_decay == float("inf"):
            msg = f"weight_decay must be a finite number, at least 0, got {weight_decay}"
            raise ValueError(msg)
        self.model = unwrapped(model)
        edited = select_parameters(self.model, params)
        self.layout = Layout(edited)
        self.weight_decay = float(weight_decay)
        self.device = torch.device(device) if device is not None else next(iter(edited.values())).device
        self._forward = forward or _default_forward
        self._targets = targets or default_targets
        self._whole = objective
        self.forward = Forward()
        self._moved: tuple[object, dict[str, Tensor]] | None = None
        self.loss_name, self._loss = per_sample(loss)

    def of(self, model: nn.Module) -> Objective:
        """Give the same objective of another model with the same parameters: an earlier checkpoint, say."""
        other = copy.copy(self)
        other.model, other.forward, other._moved = model, Forward(), None
        return other

    @property
    def has_outputs(self) -> bool:
        """Whether losses are a function of outputs, which the GGN and confidences need."""
        return self._whole is None

    @property
    def parameters(self) -> dict[str, Tensor]:
        """The edited parameters as they are now, on the computing device, without a graph."""
        now = self._state()
        return {name: now[name].detach() for name in self.layout.names}

    @property
    def version(self) -> tuple[tuple[int, int], ...]:
        """A mark that changes when any parameter or buffer of the model is written."""
        tensors = [*self.model.parameters(), *self.model.buffers()]
        return tuple((tensor.data_ptr(), tensor._version) for tensor in tensors)

    def call(self, parameters: Mapping[str, Tensor], function: Callable[..., Any], *arguments: Any) -> Any:
        """Compute ``function(model, *arguments)`` with `parameters` in the place of the model's own."""
        state = self._state()
        # Copied, since a forward may write to them in eval mode too (a counter, a cache).
        buffers = {name: state[name].clone() for name, _ in self.model.named_buffers()}
        bound = {f"model.{name}": value for name, value in {**state, **buffers, **parameters}.items()}
        return functional_call(_Bound(self.model, function), bound, arguments)

    def _state(self) -> dict[str, Tensor]:
        """Give parameters and buffers on the computing device, moved there once for all batches."""
        version = self.version
        if self._moved is None or self._moved[0] != version:
            tensors = [*self.model.named_parameters(), *self.model.named_buffers()]
            self._moved = version, {name: tensor.detach().to(self.device) for name, tensor in tensors}
        return self._moved[1]

    def outputs(self, parameters: Mapping[str, Tensor], batch: Any) -> Any:
        """Give the model's outputs on a batch."""
        return self.call(parameters, self._forward, batch)

    def targets(self, batch: Any) -> Any:
        """Give the batch's targets."""
        return self._targets(batch)

    def losses_of(self, outputs: Any, batch: Any) -> Tensor:
        """Give the losses (B,) of given outputs."""
        return self._loss(outputs, self._targets(batch))

    def losses(self, parameters: Mapping[str, Tensor], batch: Any) -> Tensor:
        """Give the losses (B,) of a batch as a function of the edited parameters."""
        if self._whole is not None:
            return _checked_whole(self.call(parameters, self._whole, batch))
        return self.losses_of(self.outputs(parameters, batch), batch)

    def gradient(self, batch: Any, weights: Tensor | None = None) -> Tensor:
        """Give Σ w_i ∇L_i over a batch, float64 (p,): one reverse pass of the weighted losses."""

        def weighted(at: Mapping[str, Tensor]) -> Tensor:
            losses = self.losses(at, batch)
            return losses.sum() if weights is None else losses @ weights.to(losses.dtype)

        return self.layout.join(grad(weighted)(self.parameters))

    def derivatives(self, batch: Any, direction: Tensor) -> Tensor:
        """Give directionᵀ∇L_i for every sample of a batch, (B,): one forward-mode pass.

        No per-sample gradient is formed; the cost is about that of two forward passes.
        """
        tangent = self.layout.split(direction)
        moved: Tensor = self.forward(lambda at: self.losses(at, batch), self.parameters, tangent)
        return moved

    @contextmanager
    def untouched(self) -> Iterator[None]:
        """Evaluate in eval mode; leave attributes, modes and random states as they were, come what may."""
        # A forward may keep activations on the module, which would outlive the pass that they belong to.
        kept = [(module, module.__dict__.copy()) for module in self.model.modules()]
        full_precision = torch.autocast(self.device.type, enabled=False)
        try:
            # The user may call from under inference_mode, where nothing can be differentiated.
            with (
                torch.inference_mode(False),
                full_precision,
                unchanged_randomness(),
                differentiable_kernels(self.model),
            ):
                self.model.eval()
                yield
        finally:
            for module, attributes in kept:
                module.__dict__.clear()
                module.__dict__.update(attributes)

    def finite(self, values: Tensor, samples: Samples) -> Tensor:
        """Pass on what was computed from `samples`, or say which of them makes it NaN or infinite.

        Raises
        ------
        ValueError
            Where `values` are not all finite.
        """
        if bool(torch.isfinite(values).all()):
            return values
        with torch.no_grad():
            for where, batch in samples.batches(description="search for the NaN"):
                losses = self.losses(self.parameters, batch).cpu()
                bad = torch.nonzero(~torch.isfinite(losses)).flatten().tolist()
                if bad:
                    msg = (
                        f"loss is {float(losses[bad[0]])} at position {where[bad[0]]} of {samples.name}; "
                        "it must be finite: mend or leave out that sample"
                    )
                    raise ValueError(msg)
        msg = (
            f"a derivative of the loss on {samples.name} is not finite, though every loss is: look for a "
            "square root, norm or logarithm at nought in the model or the loss"
        )
        raise ValueError(msg)

    def preflight(self, batch: Any, count: int) -> None:
        """Look at a small batch of `count` samples before long work.

        Raises
        ------
        ValueError
            Losses that are not one finite number per sample, that differ the second time, or that no
            edited parameter moves.

        Notes
        -----
        What the model or the loss raises passes through, with a note of what they were given.
        """
        load_rules()
        try:
            losses, moved = self._tried(batch)
            again = self.losses(self.parameters, batch)
            self.derivatives(batch, torch.ones(self.layout.size, dtype=torch.float64, device=self.device))
        except Exception as error:
            kinds = {str(value.dtype) for value in self.parameters.values()}
            error.add_note(
                f"Raised on a batch of the first {count} samples: {_described(batch)}; the edited parameters "
                f"are {', '.join(sorted(kinds))} on {self.device}. forward= and targets= say how a batch is "
                "used, loss= what is made of it; all must be differentiable in torch, twice"
            )
            raise
        if losses.shape != (count,):
            msg = (
                f"loss gave shape {tuple(losses.shape)} for {count} samples; it must give one number "
                "per sample: loss(outputs, targets) -> (B,)"
            )
            raise ValueError(msg)
        if not bool(torch.isfinite(losses).all()):
            msg = f"loss is {losses.tolist()} on the first samples; it must be finite: look at the data"
            raise ValueError(msg)
        if not torch.allclose(losses, again, rtol=1e-3):
            msg = (
                f"loss is {losses.tolist()} on the first samples and then {again.tolist()}: the model draws "
                "random numbers in eval mode; switch that off, e.g. by another forward="
            )
            raise ValueError(msg)
        if not moved:
            msg = (
                "params: the losses do not depend on any edited parameter (a forward under no_grad, or "
                "parameters that the outputs do not use); choose others"
            )
            raise ValueError(msg)

    def _tried(self, batch: Any) -> tuple[Tensor, bool]:
        """Give the losses of a batch and whether any edited parameter moves them."""
        parameters = {name: value.requires_grad_() for name, value in self.parameters.items()}
        with torch.enable_grad():
            losses = self.losses(parameters, batch)
            if not losses.requires_grad:
                return losses, False
            moved = torch.autograd.grad(losses.sum(), list(parameters.values()), allow_unused=True)
        return losses.detach(), any(gradient is not None for gradient in moved)


def _described(batch: Any) -> str:
    """Say of what types and shapes a nested batch is."""
    if isinstance(batch, Tensor):
        return f"{str(batch.dtype).removeprefix('torch.')} {tuple(batch.shape)}"
    if isinstance(batch, Mapping):
        return "{" + ", ".join(f"{key}: {_described(value)}" for key, value in batch.items()) + "}"
    if isinstance(batch, (tuple, list)):
        return "(" + ", ".join(map(_described, batch)) + ")"
    return type(batch).__name__


class _Bound(nn.Module):
    """A function of the model as a module, so that `functional_call` can put parameters in its place."""

    def __init__(self, model: nn.Module, function: Callable[..., Any]) -> None:
        super().__init__()
        self.model = model
        self.function = function
        self.training = model.training

    def forward(self, *arguments: Any) -> Any:
        return self.function(self.model, *arguments)


def unwrapped(model: nn.Module) -> nn.Module:
    """Look through the wrappers of torch.compile and (Distributed)DataParallel."""
    wrappers = (nn.DataParallel, nn.parallel.DistributedDataParallel)
    while True:
        inner = model.module if isinstance(model, wrappers) else getattr(model, "_orig_mod", None)
        if not isinstance(inner, nn.Module):
            return model
        model = inner


def default_targets(batch: Any) -> Any:
    """Give the last item of a batch, or its key labels, label or y."""
    if isinstance(batch, Mapping):
        for key in _TARGET_KEYS:
            if key in batch:
                return batch[key]
        msg = (
            f"targets: the batch has the keys {sorted(batch)}, none of {_TARGET_KEYS}; "
            "pass targets=lambda batch: …"
        )
        raise ValueError(msg)
    if isinstance(batch, (tuple, list)) and len(batch) > 1:
        return batch[-1]
    msg = f"targets: a batch of type {type(batch).__name__} has no last item; pass targets=lambda batch: …"
    raise ValueError(msg)


def _default_forward(model: nn.Module, batch: Any) -> Any:
    if isinstance(batch, Mapping):
        inputs = {key: value for key, value in batch.items() if key not in _TARGET_KEYS}
        outputs = model(**inputs)
    else:
        outputs = model(batch[0] if isinstance(batch, (tuple, list)) else batch)
    return getattr(outputs, "logits", outputs)


def _checked_whole(losses: Any) -> Tensor:
    if not isinstance(losses, Tensor) or losses.ndim != 1:
        shape = tuple(losses.shape) if isinstance(losses, Tensor) else type(losses).__name__
        msg = f"objective must give one loss per sample, shape (B,), got {shape}; drop its final mean"
        raise ValueError(msg)
    return losses
