"""The edited parameters: which they are, and how they stand in one vector.

Curvature solves are linear algebra on vectors of length p; the model speaks in named tensors. The
vector is float64 whatever the model's type, so that sums over batches and iterations keep their digits.
"""

from __future__ import annotations

import difflib
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import Tensor, nn


HALVES = (torch.float16, torch.bfloat16)
"""Types whose models are computed in a float32 copy."""


def select_parameters(model: nn.Module, patterns: str | Sequence[str] | None) -> dict[str, nn.Parameter]:
    """Find the parameters to be edited.

    Parameters
    ----------
    model : nn.Module
        The trained model. A tied parameter counts once, under its first name; a pattern may match any.
    patterns : str or sequence of str, optional
        Shell-style patterns of parameter names (``"head.*"``); by default every parameter with
        `requires_grad`, so that a fine-tune is edited where it was trained.

    Returns
    -------
    dict of str to nn.Parameter
        In the model's order.

    Raises
    ------
    ValueError
        No parameter fits (the closest names are listed), or one is no floating-point number.
    """
    every = dict(model.named_parameters())
    aliases = _aliases(model, every)
    if patterns is None:
        chosen = {name: value for name, value in every.items() if value.requires_grad}
        if not chosen:
            msg = (
                "params: no parameter of the model has requires_grad; name the ones to edit, e.g. params='*'"
            )
            raise ValueError(msg)
    else:
        try:
            wanted = [patterns] if isinstance(patterns, str) else list(patterns)
        except TypeError:
            msg = f"params must be a pattern of names or several, got {patterns!r}"
            raise TypeError(msg) from None
        wanted_names: set[str] = set()
        for pattern in wanted:
            if not isinstance(pattern, str):
                msg = f"params must be a pattern of names or several, got {pattern!r}"
                raise TypeError(msg)
            fits = {aliases[name] for name in aliases if fnmatchcase(name, pattern)}
            if not fits:
                close = difflib.get_close_matches(pattern, aliases, n=3, cutoff=0.0)
                msg = f"params: {pattern!r} matches no parameter; the closest names are {', '.join(close)}"
                raise ValueError(msg)
            wanted_names |= fits
        chosen = {name: value for name, value in every.items() if name in wanted_names}
        if not chosen:
            msg = f"params={patterns!r} names no parameter; give patterns such as 'head.*', or leave it out"
            raise ValueError(msg)
    for name, value in chosen.items():
        if value.dtype not in (torch.float32, torch.float64, *HALVES):
            msg = f"params: {name} is {value.dtype}, which has no derivative; name others by params="
            raise ValueError(msg)
    return chosen


def _aliases(model: nn.Module, every: Mapping[str, nn.Parameter]) -> dict[str, str]:
    """Map every name of every parameter to its first one: tied parameters have several."""
    first = {id(value): name for name, value in every.items()}
    return {name: first[id(value)] for name, value in model.named_parameters(remove_duplicate=False)}


class Layout:
    """The order, shapes and types of the edited parameters within one vector.

    Parameters
    ----------
    parameters : mapping of str to Tensor
        The edited parameters.
    """

    def __init__(self, parameters: Mapping[str, Tensor]) -> None:
        self.names = list(parameters)
        self._shapes = [value.shape for value in parameters.values()]
        self._stored = [value.dtype for value in parameters.values()]
        self._types = [torch.float32 if kind in HALVES else kind for kind in self._stored]
        self._sizes = [value.numel() for value in parameters.values()]
        self.size = sum(self._sizes)

    @property
    def is_double(self) -> bool:
        """Whether every edited parameter is float64."""
        return all(each == torch.float64 for each in self._types)

    def rounded(self, vector: Tensor) -> dict[str, Tensor]:
        """Give a vector of shape (p,) as named tensors, rounded once to what the model can store."""
        pieces = self.split(vector, cast=False).items()
        kinds = zip(pieces, self._stored, self._types, strict=True)
        return {name: piece.to(stored).to(kind) for (name, piece), stored, kind in kinds}

    def split(self, vector: Tensor, *, cast: bool = True) -> dict[str, Tensor]:
        """Give a vector (p,) as named tensors, in the types computed in unless told otherwise.

        Of several (k, p) every tensor has the rows for its first axis.
        """
        pieces = torch.split(vector, self._sizes, dim=-1)
        rows = vector.shape[:-1]
        return {
            name: piece.reshape(rows + shape).to(kind) if cast else piece.reshape(rows + shape)
            for name, piece, shape, kind in zip(self.names, pieces, self._shapes, self._types, strict=True)
        }

    def join(self, tensors: Mapping[str, Tensor]) -> Tensor:
        """Give named tensors as one float64 vector (p,), or several (k, p) as `split` takes them apart."""
        pieces = [
            tensors[name].detach().reshape(*tensors[name].shape[: tensors[name].ndim - len(shape)], -1)
            for name, shape in zip(self.names, self._shapes, strict=True)
        ]
        return torch.cat([piece.to(torch.float64) for piece in pieces], dim=-1)
