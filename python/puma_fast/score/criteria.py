"""What is to be preserved or improved: a differentiable function C of the edited parameters.

A criterion gives its gradient (one pass) and its value at any parameters, so that a prediction can be
held against a measurement. Several at once are kept in the order that they were given in.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from puma_fast import sweep
from puma_fast.warning import warn

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from puma_fast.data import Samples
    from puma_fast.score.objective import Objective

KEPT_CRITERIA = 8
"""Criteria that are remembered with their solves and scores: two vectors of p and one of n each."""

_PIECES = 8
"""Pieces into which the data is cut at least, so that the noise of a mean gradient can be seen."""


class Criterion(Protocol):
    """A differentiable function of the edited parameters."""

    @property
    def name(self) -> str:
        """What reports call it."""

    def value(self, objective: Objective, parameters: Mapping[str, Tensor]) -> float:
        """Compute C at `parameters`."""

    def gradient(self, objective: Objective) -> Tensor:
        """Compute ∇C at the trained parameters: float64, (p,)."""


class MeanLoss:
    """The mean loss over a data set: C(θ) = (1/m) Σ L_i(θ), without the weight decay.

    Parameters
    ----------
    samples : Samples
        The data.
    is_training : bool, default False
        Whether these are the training data, on which ∇C vanishes as training converges: a gradient
        within its own sampling noise is then worth a warning.
    """

    def __init__(self, samples: Samples, *, is_training: bool = False) -> None:
        self.samples = samples
        self.is_training = is_training
        self.name = f"mean loss on {samples.name}"

    def value(self, objective: Objective, parameters: Mapping[str, Tensor]) -> float:
        """Compute the mean loss at `parameters`."""

        def losses(_: NDArray[np.int64], batch: Any) -> Tensor:
            return objective.losses(parameters, batch).double().sum()

        nought = torch.zeros((), dtype=torch.float64, device=objective.device)
        with torch.no_grad():
            return float(sweep.total(self.samples, losses, nought, description=self.name)) / self.samples.n

    def gradient(self, objective: Objective) -> Tensor:
        """Compute ∇C; its noise comes from the spread between pieces of the data, without their storage."""
        n, p = self.samples.n, objective.layout.size

        def piece(places: NDArray[np.int64], batch: Any) -> Tensor:
            gradient, count = objective.gradient(batch), len(places)
            facts = torch.stack([gradient @ gradient, *gradient.new_tensor([count**2, 1])])
            return torch.cat([gradient, count * gradient, facts])

        # Data sorted by class has pieces that differ far more than by chance.
        order, pieces = (self.samples.scattered(), _PIECES) if self.is_training else (None, 1)
        nought = torch.zeros(2 * p + 3, dtype=torch.float64, device=objective.device)
        sums = sweep.total(
            self.samples, piece, nought, order, at_least=pieces, description=f"gradient of {self.name}"
        )
        total, weighted = sums[:p], sums[p : 2 * p]
        squares, counts, made = sums[2 * p :].tolist()
        mean = objective.finite(total, self.samples) / n
        if self.is_training and made > 1:
            # Σ‖G_b − c_b·mean‖² over the pieces, expanded.
            spread = max(squares - 2 * float(weighted @ mean) + counts * float(mean @ mean), 0.0)
            noise = (spread * made / (made - 1)) ** 0.5 / n
            if float(mean.norm()) <= noise:
                warn(
                    f"the gradient of the {self.name} ({float(mean.norm()):.2e}) is within its own "
                    f"sampling noise ({noise:.2e}): the model has converged on it, so influences are next "
                    "to nought and reweighting can do nothing. Pass holdout= data as the criterion"
                )
        return mean


class Function:
    """A function of the whole model: C(θ) = ``function(model)``, a differentiable scalar.

    Parameters
    ----------
    function : callable
        ``function(model) -> scalar tensor``; it brings its own data.
    name : str, optional
        By default the function's own.
    """

    def __init__(self, function: Callable[[nn.Module], Tensor], name: str | None = None) -> None:
        self.function = function
        self.name: str = name or str(getattr(function, "__name__", type(function).__name__))

    def value(self, objective: Objective, parameters: Mapping[str, Tensor]) -> float:
        """Compute C at `parameters`."""
        with torch.no_grad():
            return float(self._scalar(objective, parameters))

    def gradient(self, objective: Objective) -> Tensor:
        """Compute ∇C.

        Raises
        ------
        ValueError
            Where C is not differentiable in any edited parameter, or its gradient is not finite.
        """
        parameters = {name: value.requires_grad_() for name, value in objective.parameters.items()}
        with torch.enable_grad():
            value = self._scalar(objective, parameters)
            moved: tuple[Tensor | None, ...] = (None,)
            if value.requires_grad:
                moved = torch.autograd.grad(value, list(parameters.values()), allow_unused=True)
        if all(gradient is None for gradient in moved):
            msg = (
                f"criterion {self.name!r} does not depend on the edited parameters through differentiable "
                "operations (an argmax, .item(), no_grad or a detach cuts the graph); use a smooth "
                "surrogate, such as a loss or a confidence"
            )
            raise ValueError(msg)
        known = zip(parameters.items(), moved, strict=True)
        whole = objective.layout.join(
            {name: torch.zeros_like(at) if gradient is None else gradient for (name, at), gradient in known}
        )
        if not bool(torch.isfinite(whole).all()):
            msg = (
                f"criterion {self.name!r} is {value.item()} and its gradient is not finite; look for a NaN "
                "in its data, or a square root, norm or logarithm at nought"
            )
            raise ValueError(msg)
        return whole

    def _scalar(self, objective: Objective, parameters: Mapping[str, Tensor]) -> Tensor:
        try:
            value = objective.call(parameters, self.function)
        except Exception as error:
            error.add_note(f"Raised by the criterion {self.name!r}, which is called with the model")
            raise
        if not isinstance(value, Tensor) or value.numel() != 1 or not value.is_floating_point():
            got = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
            msg = f"criterion {self.name!r} must return one floating-point number as a tensor, got {got}"
            raise ValueError(msg)
        return value.squeeze()


@dataclass(frozen=True)
class Criteria:
    """One criterion, or k of them in order.

    Attributes
    ----------
    each : tuple of Criterion
        The criteria.
    several : bool
        Whether they were given as a list or mapping: results then have an axis for them, even for one.
    """

    each: tuple[Criterion, ...]
    several: bool = False

    @property
    def name(self) -> str | list[str]:
        """What reports call it, or them."""
        names = [criterion.name for criterion in self.each]
        return names if self.several else names[0]

    def values(self, objective: Objective, parameters: Mapping[str, Tensor]) -> NDArray[np.float64]:
        """Compute C at `parameters`, of shape (k,) or ()."""
        return self.shaped(np.array([criterion.value(objective, parameters) for criterion in self.each]))

    def shaped(self, columns: NDArray[np.float64]) -> NDArray[np.float64]:
        """Take away the last axis, of length k, where one criterion was asked for."""
        return columns if self.several else columns[..., 0]


class AskedCriteria:
    """Criteria from what users give; each is wrapped once, so that what is solved for it is found again.

    Parameters
    ----------
    read : callable
        ``read(data, name=) -> Samples``.
    """

    def __init__(self, read: Callable[..., Samples]) -> None:
        self._read = read
        # The user's object is kept along, so that its id is not given to another one.
        self._known: dict[tuple[int, str | None], tuple[Any, Criterion]] = {}

    def __call__(self, given: Any) -> Criteria:
        """Wrap a criterion, or a list or mapping of them.

        Raises
        ------
        ValueError
            An empty list or mapping.
        """
        members = _members(given)
        if members is None:
            return Criteria((self._wrapped(given, None),))
        if not members:
            msg = "criterion is empty; give at least one, or leave it out for the default"
            raise ValueError(msg)
        criteria = tuple(self._wrapped(each, name) for name, each in members)
        for key in list(self._known)[: -max(KEPT_CRITERIA, len(criteria))]:
            del self._known[key]
        return Criteria(criteria, several=True)

    def _wrapped(self, given: Any, name: str | None) -> Criterion:
        key = id(given), name
        if key not in self._known:
            wrapped: Criterion
            if callable(given):
                wrapped = Function(given, name)
            else:
                try:
                    wrapped = MeanLoss(self._read(given, name=name or "criterion"))
                except Exception as error:
                    error.add_note(f"Raised on the data of the criterion {name!r}")
                    raise
            self._known[key] = given, wrapped
        # The last ones used are the last to go.
        self._known[key] = self._known.pop(key)
        return self._known[key][1]


def _members(given: Any) -> list[tuple[str | None, Any]] | None:
    """Give the criteria of a list or mapping with their names; None where `given` is a single one.

    A tuple or mapping of tensors is data, and so is a list of samples: in a list, at least one criterion
    has to be a function, a Dataset or a DataLoader. A mapping may hold anything.
    """
    if isinstance(given, Mapping) and not (
        given and all(hasattr(each, "__array__") for each in given.values())
    ):
        return [(str(name), each) for name, each in given.items()]
    if isinstance(given, (list, tuple)) and (
        not given or any(callable(each) or isinstance(each, (Dataset, DataLoader)) for each in given)
    ):
        return [(None if callable(each) else f"criterion {at}", each) for at, each in enumerate(given)]
    return None
