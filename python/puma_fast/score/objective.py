"""Model, data and loss as one function: edited parameters in, one loss per training sample out.

The training objective is J(θ) = (1/n) Σ L_i(θ) + (γ/2)‖θ‖². Everything that touches the user's model
goes through here: it is called functionally, in eval mode, and left exactly as it was found.
"""

from __future__ import annotations

import copy
import threading
from contextlib import ExitStack, contextmanager, nullcontext
from functools import partial
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

import torch
from torch import Tensor, nn
from torch.func import functional_call

from puma_fast.batches import described, map_tensors, moved
from puma_fast.data import Samples
from puma_fast.marks import mark
from puma_fast.numeric.arrays import as_flag, as_number
from puma_fast.restored import in_mode, unchanged_randomness, whole_float32
from puma_fast.score.conventions import (
    default_forward,
    default_targets,
    refuse_constants,
    refuse_more_than_pairs,
)
from puma_fast.score.forward import Forward, differentiable_kernels, load_rules, where_it_fails
from puma_fast.score.losses import per_sample
from puma_fast.score.parameters import HALVES, Layout, select_parameters
from puma_fast.score.reverse import leaves, pulled_back, slopes
from puma_fast.score.unwrapped import checked_device, refuse_uncopyable, refuse_unmade, unwrapped

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from puma_fast.score.losses import Loss

_ONE_AT_A_TIME = threading.RLock()
"""torch keeps one level of forward mode and one set of switches (kernels, precision) for all threads."""


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
        ``reduction="mean"`` does, or summed where the loss is set to ``reduction="sum"`` or "batchmean".
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
    allow_tf32 : bool, default False
        Leave a GPU's TF32 as the user set it, in the place of switching it off.
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
        allow_tf32: bool = False,
    ) -> None:
        for name, given in (("forward", forward), ("targets", targets), ("objective", objective)):
            if given is not None and not callable(given):
                msg = f"{name} must be a function, got {type(given).__name__}; leave it out for the default"
                raise TypeError(msg)
        if not isinstance(model, nn.Module):
            msg = f"model must be a torch.nn.Module, got {type(model).__name__}"
            raise TypeError(msg)
        self.model = unwrapped(model)
        refuse_unmade(self.model)
        refuse_uncopyable(self.model)
        edited = select_parameters(self.model, params)
        self.layout = Layout(edited)
        self.weight_decay = as_number("weight_decay", weight_decay, least=0)
        self._allow_tf32 = as_flag("allow_tf32", allow_tf32)
        self.device = next(iter(edited.values())).device if device is None else checked_device(device)
        # Summed and solved in half precision, a small patch would be all rounding.
        self._computes_in_float32 = any(value.dtype in HALVES for value in self.model.parameters())
        self._targets = targets or default_targets
        self._forward = forward or partial(default_forward, targets=self._targets)
        self._takes_pairs = forward is None
        self._whole = objective
        self.forward = Forward()
        self.recordable: set[str] = set()  # kinds of curvature, seen to be so by `Curvature.rehearse`
        self._moved: tuple[object, dict[str, Tensor]] | None = None
        self._entered: tuple[object, ...] | None = None
        self._watched: WeakSet[Samples] = WeakSet()
        self._edits = 0
        self.loss_name, self.loss_is_torchs, self._loss_is_by_row, self._loss = per_sample(loss)

    def of(self, model: nn.Module) -> Objective:
        """Give the same objective of another model with the same parameters: an earlier checkpoint, say."""
        other = copy.copy(self)
        other.model, other.forward = model, Forward()
        other._moved = other._entered = None
        return other

    @property
    def has_outputs(self) -> bool:
        """Whether losses are a function of outputs, which the GGN and confidences need."""
        return self._whole is None

    @property
    def parameters(self) -> dict[str, Tensor]:
        """The edited parameters as they are now, on the computing device, without a graph."""
        now = self.state
        return {name: now[name].detach() for name in self.layout.names}

    @property
    def version(self) -> tuple[object, ...]:
        """A mark that changes when a parameter or buffer of the model is written, or data that it read.

        It is taken anew once per public call, on entering `untouched`, for it reads them all.
        """
        if self._entered is not None:
            return self._entered
        tensors = [*self.model.parameters(), *self.model.buffers()]
        return (self._edits, *map(mark, tensors))

    def read(self, data: Any, **settings: Any) -> Samples:
        """Read data that this is evaluated on (see `Samples`); try it and watch it from now on."""
        samples = Samples(data, device=self.device, **settings)
        with self.untouched():
            self.preflight(samples)
        self._watched.add(samples)
        return samples

    def call(self, parameters: Mapping[str, Tensor], function: Callable[..., Any], *arguments: Any) -> Any:
        """Compute ``function(model, *arguments)`` with `parameters` in the place of the model's own."""
        state = self.state
        # Copied, since a forward may write to them in eval mode too (a counter, a cache).
        buffers = {name: state[name].clone() for name, _ in self.model.named_buffers()}
        bound = {f"model.{name}": value for name, value in {**state, **buffers, **parameters}.items()}
        if self._computes_in_float32:
            arguments = map_tensors(_in_float32, arguments)
        return functional_call(_Bound(self.model, function), bound, arguments)

    @property
    def state(self) -> dict[str, Tensor]:
        """All parameters and buffers on the computing device, moved there once for all batches."""
        version = self.version
        if self._moved is None or self._moved[0] != version:
            tensors = [*self.model.named_parameters(), *self.model.named_buffers()]
            self._moved = (
                version,
                {
                    name: moved(_in_float32(tensor) if self._computes_in_float32 else tensor, self.device)
                    for name, tensor in tensors
                },
            )
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
        at = leaves(self.parameters)
        with torch.enable_grad():
            losses = self.losses(at, batch)
        given = torch.ones_like(losses) if weights is None else weights.to(losses.dtype)
        return self.layout.join(pulled_back(losses, at, given))

    def derivatives(self, batch: Any, directions: Tensor) -> Tensor:
        """Give directionᵀ∇L_i for every sample of a batch, (B,): one forward-mode pass.

        No per-sample gradient is formed; the cost is about that of two forward passes. Of several
        directions (k, p), which share one evaluation of the model, (k, B).
        """
        tangent = self.layout.split(directions)
        along = self.forward.with_value if directions.ndim == 1 else self.forward.several
        if self._whole is not None:
            moved: Tensor = along(lambda at: self.losses(at, batch), self.parameters, tangent)[1]
            return moved
        outputs, shifts = along(lambda at: self.outputs(at, batch), self.parameters, tangent)
        if not (self._loss_is_by_row and isinstance(outputs, Tensor)):
            moved = along(lambda at: self.losses_of(at, batch), outputs, shifts)[1]
            return moved
        # Torch's losses are several times dearer in forward than in reverse mode.
        there = leaves(outputs)
        with torch.enable_grad():
            losses = self.losses_of(there, batch)
        moved = (slopes(losses, there) * shifts).reshape(*shifts.shape[: directions.ndim], -1).sum(-1)
        return moved

    @contextmanager
    def untouched(self) -> Iterator[None]:
        """Evaluate in eval mode; leave attributes, modes and random states as they were, come what may."""
        with _ONE_AT_A_TIME, self._as_it_is():
            yield

    @contextmanager
    def _as_it_is(self) -> Iterator[None]:
        outer = self._entered
        if outer is None:
            self._edits += sum([samples.changed() for samples in self._watched])
            self._entered = self.version
        # A forward may keep activations on the module, which would outlive the pass that they belong to.
        kept = [(module, module.__dict__.copy()) for module in self.model.modules()]
        full_precision = torch.autocast(self.device.type, enabled=False)
        try:
            # The user may call from under inference_mode, where nothing can be differentiated.
            with (
                ExitStack() as stack,
                torch.inference_mode(False),
                full_precision,
                unchanged_randomness(),
                nullcontext() if self._allow_tf32 else whole_float32(),
                differentiable_kernels(self.model),
                in_mode(self.model, train=False),
            ):
                for samples in list(self._watched):
                    stack.enter_context(samples.keeping())
                yield
        finally:
            self._entered = outer
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

    @contextmanager
    def explained(self, samples: Samples, most: int = 2) -> Iterator[Any]:
        """Give the first samples as a batch to try things on; note on what is raised what was tried."""
        count = min(most, samples.batch_size, samples.n)
        batch = samples.first(count)
        with where_it_fails(self.model) as layer:
            try:
                yield batch
            except Exception as error:
                kinds = {str(value.dtype) for value in self.parameters.values()}
                at = f" in {layer()}" if layer() else ""
                read = "sample" if count == 1 else f"{count} samples"
                error.add_note(
                    f"Raised{at} on a batch of the first {read} of {samples.name}: "
                    f"{described(batch)}; the edited parameters are {', '.join(sorted(kinds))} on "
                    f"{self.device}. forward= and targets= say how a batch is used, loss= what is made of "
                    "it; all must be differentiable in torch, twice"
                )
                raise

    def preflight(self, samples: Samples) -> None:
        """Look at the first two samples before long work.

        Raises
        ------
        ValueError
            Batches of more than two items that nothing says how to use; losses that are not one finite
            number per sample, that differ the second time or beside another sample, or that no edited
            parameter moves.

        Notes
        -----
        What the model or the loss raises passes through, with a note of what they were given.
        """
        load_rules()
        for name, value in self.parameters.items():
            if not bool(torch.isfinite(value).all()):
                msg = f"model: its parameter {name!r} holds a NaN or an infinity; load finite weights"
                raise ValueError(msg)
        look = samples.bar(f"first look at {samples.name}", unit="evaluation", total=4)
        with look as shown:
            with self.explained(samples) as batch:
                if self._whole is None and self._takes_pairs:
                    refuse_more_than_pairs(samples.name, batch)
                losses, moved = self._tried(batch)
                shown.update()
                if self.has_outputs:
                    outputs = self.outputs(self.parameters, batch)
                    refuse_constants(outputs)
                    again = self.losses_of(outputs, batch)
                else:
                    again = self.losses(self.parameters, batch)
                shown.update()
                ones = torch.ones(self.layout.size, dtype=torch.float64, device=self.device)
                self.derivatives(batch, ones)
                shown.update()
            # A batch may end with one sample alone, and so may those that are marked.
            with self.explained(samples, 1) as single, torch.no_grad():
                alone = self.losses(self.parameters, single)
                shown.update()
        count = min(2, samples.batch_size, samples.n)
        for values, asked in ((losses, count), (alone, 1)):
            if values.shape != (asked,):
                msg = (
                    f"loss gave shape {tuple(values.shape)} for a batch of {asked}; it must give one number "
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
        if not torch.allclose(losses[:1], alone, rtol=1e-2, atol=1e-3):
            msg = (
                f"loss of the first sample of {samples.name} is {alone.item()} alone and {losses[0].item()} "
                "beside the second: samples of a batch see one another (a BatchNorm without running "
                "statistics, a loss across the batch, padding without a mask), so that scores would depend "
                "on how they are batched; mend that, or pass batch_size=1"
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


class _Bound(nn.Module):
    """A function of the model as a module, so that `functional_call` can put parameters in its place."""

    def __init__(self, model: nn.Module, function: Callable[..., Any]) -> None:
        super().__init__()
        self.model = model
        self.function = function
        self.training = model.training

    def forward(self, *arguments: Any) -> Any:
        return self.function(self.model, *arguments)


def _checked_whole(losses: Any) -> Tensor:
    if not isinstance(losses, Tensor) or losses.ndim != 1:
        shape = tuple(losses.shape) if isinstance(losses, Tensor) else type(losses).__name__
        msg = f"objective must give one loss per sample, shape (B,), got {shape}; drop its final mean"
        raise ValueError(msg)
    return losses


def _in_float32(tensor: Tensor) -> Tensor:
    return tensor.float() if tensor.dtype in HALVES else tensor
