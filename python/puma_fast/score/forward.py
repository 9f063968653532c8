"""Directional derivatives of functions of the parameters, whatever operators they are made of.

Forward mode gives them at the cost of about one more evaluation. Some of torch's operators (fused
distances, sparse products) have no forward rule; then two reverse passes give the same
numbers: f'(θ)·t is the gradient of u ↦ (f'(θ)ᵀu)ᵀt, which is linear in u.
"""

from __future__ import annotations

import re
import sys
import warnings
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.func import jvp, vmap
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook

from puma_fast.batches import map_tensors
from puma_fast.score.bilinear import SparseTangents
from puma_fast.score.reverse import detached, leaves, pulled_back, tensors
from puma_fast.warning import warn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_MISSING = re.compile(r"forward AD with (?:aten::)?(\S+)")
_WITHOUT_NAME = {
    "must implement the jvp": "a torch.autograd.Function without jvp",
    "must override the setup_context": "a torch.autograd.Function without setup_context",
    "Cannot access data pointer of Tensor that doesn't have storage": "packed sequences",
}
"""What torch says of what cannot be differentiated forward, where it tells no operator's name."""


class Forward:
    """Forward derivatives that fall back to double reverse mode, and say so once.

    Attributes
    ----------
    missing : str or None
        The first operator seen without a forward rule; from then on reverse mode is used throughout.
    """

    def __init__(self) -> None:
        self.missing: str | None = None

    def __call__(self, function: Callable[[Any], Any], at: Any, along: Any) -> Any:
        """Give the derivative of `function` at `at` in the direction `along`."""
        return self.with_value(function, at, along)[1]

    def with_value(self, function: Callable[[Any], Any], at: Any, along: Any) -> tuple[Any, Any]:
        """Give the value of `function` at `at` and its derivative in the direction `along`."""
        if self.missing is not None:
            return _double_reverse(function, at, along)
        try:
            with SparseTangents():
                value, derivative, *_ = jvp(function, (at,), (along,))
        except RuntimeError as error:
            missing = _without_rule(error)
            if missing is None:
                raise
            try:
                value, derivative = _double_reverse(function, at, along)
            except (NotImplementedError, RuntimeError):
                # Not twice differentiable either: the operator named first is the one to replace.
                raise error from None
            self.missing = missing
            warn(
                f"torch has no forward-mode derivative of {missing}; two reverse passes are used in its "
                "place, which give the same numbers in about twice the time"
            )
        return value, derivative

    def several(self, function: Callable[[Any], Any], at: Any, along: Any) -> tuple[Any, Any]:
        """Give the same for as many directions as `along` has rows, by one evaluation."""
        one = partial(self.with_value, function, at)
        once: Any = (None, 0)  # torch's annotation leaves out that one of several may have no such axis
        value, derivatives = vmap(one, out_dims=once)(along)
        return value, derivatives


def _without_rule(error: RuntimeError) -> str | None:
    """Name the operator that has no forward rule, where that is what `error` says."""
    for says, what in _WITHOUT_NAME.items():
        if says in str(error):
            return what
    operator = _MISSING.search(str(error)) if isinstance(error, NotImplementedError) else None
    return None if operator is None else operator[1]


def _double_reverse(function: Callable[[Any], Any], at: Any, along: Any) -> tuple[Any, Any]:
    goes_on = any(value.requires_grad for value in tensors(at))
    with torch.enable_grad():
        here = at if goes_on else leaves(at)
        there = function(here)
        u = leaves(map_tensors(torch.zeros_like, there))
        linear = pulled_back(there, here, u, create_graph=True)
        derivative = pulled_back(linear, u, along, create_graph=goes_on)
    return (there, derivative) if goes_on else (detached(there), detached(derivative))


@contextmanager
def where_it_fails(model: nn.Module) -> Iterator[Callable[[], str | None]]:
    """Follow the calls of the model's layers; give a function that names the one last left unfinished."""
    names = {id(module): name for name, module in model.named_modules()}
    running: list[nn.Module] = []

    def enter(module: nn.Module, _: Any) -> None:
        if id(module) in names:
            running.append(module)

    def leave(module: nn.Module, *_: Any) -> None:
        if running and running[-1] is module:
            running.pop()

    def innermost() -> str | None:
        if not running or not names[id(running[-1])]:
            return None
        return f"layer {names[id(running[-1])]!r} ({type(running[-1]).__name__})"

    # Global hooks: those of a module would be written into the user's model.
    handles = [register_module_forward_pre_hook(enter), register_module_forward_hook(leave)]
    try:
        yield innermost
    finally:
        for handle in handles:
            handle.remove()


class _Constant(torch.autograd.Function):
    """The identity, with nought for its derivative in both modes (`detach` is one in reverse mode alone)."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:
        pass

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return torch.zeros_like(gradient)

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor) -> Tensor:
        return torch.zeros_like(tangent)


def _fixed_padding(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> Any:
    """Keep the padding row of an embedding constant in forward mode, too, as torch does in reverse mode.

    Without this the two modes differ wherever a sample is padded, and JᵀSJ is not symmetric.
    """
    if not isinstance(module, nn.Embedding) or module.padding_idx is None or not inputs:
        return None
    padded = (inputs[0] == module.padding_idx).unsqueeze(-1)
    return torch.where(padded, _Constant.apply(output), output)


@contextmanager
def differentiable_kernels(model: nn.Module) -> Iterator[None]:
    """Keep torch from its fused kernels that lack a forward-mode derivative (attention, recurrent layers)."""
    fast = torch.backends.mha.get_fastpath_enabled()
    with ExitStack() as stack:
        stack.enter_context(sdpa_kernel(SDPBackend.MATH))
        if any(isinstance(module, nn.RNNBase) for module in model.modules()):
            backends: tuple[Any, ...] = (torch.backends.mkldnn, torch.backends.cudnn)
            for backend in backends:
                stack.callback(setattr, backend, "enabled", backend.enabled)
                backend.enabled = False
        stack.callback(register_module_forward_hook(_fixed_padding).remove)
        stack.callback(torch.backends.mha.set_fastpath_enabled, fast)
        torch.backends.mha.set_fastpath_enabled(False)
        # A layer compiled within the model is run as it was written: a graph cannot be differentiated
        # in forward mode. Nothing is compiled where torch's compiler was never loaded.
        if "torch._dynamo" in sys.modules and hasattr(torch.compiler, "set_stance"):
            stack.enter_context(torch.compiler.set_stance("force_eager"))
        # What TorchScript has optimized loses second derivatives without a word.
        stack.enter_context(torch.jit.optimized_execution(False))  # type: ignore[attr-defined]
        for module in model.modules():
            if isinstance(module, torch.jit.ScriptModule) and hasattr(module, "forward"):
                module.forward._debug_flush_compilation_cache()  # type: ignore[attr-defined]
        yield


def one_by_one(what: str, error: Exception) -> None:
    """Warn that something is taken one by one that torch does not vectorise, unless memory ran out."""
    if isinstance(error, torch.OutOfMemoryError):
        raise error
    reason = str(error).strip().splitlines()
    warn(
        f"torch cannot vectorise the model over {what}, so they are taken one by one: the same numbers, "
        f"more slowly ({reason[0] if reason else type(error).__name__})"
    )


def load_rules() -> None:
    """Let torch load its forward-mode rules, which it does on first use, warning of its own old code."""
    with warnings.catch_warnings():
        for category in (FutureWarning, DeprecationWarning):
            warnings.filterwarnings("ignore", message=".*torch.jit.*is deprecated", category=category)
        at = torch.zeros(1, device="cpu")
        jvp(torch.sin, (at,), (at,))
