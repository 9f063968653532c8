"""Criteria by class or group: the mean loss on each part of a data set, by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Subset

from puma_fast import sweep
from puma_fast.batches import as_tensor
from puma_fast.data import Samples
from puma_fast.numeric.arrays import as_array
from puma_fast.score.conventions import default_targets

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import ArrayLike, NDArray


def per_class(data: Any, *, targets: Callable[[Any], Any] | None = None) -> dict[str, Any]:
    """Divide data into its classes, to be given as one criterion for each.

    Parameters
    ----------
    data : tuple or mapping of tensors, Dataset or DataLoader
        As for `Puma`; m samples.
    targets : callable, optional
        ``targets(batch)``: one integer for each sample. By default the last item of a batch, or its key
        labels, label or y.

    Returns
    -------
    dict of str to data
        ``"class 0"``, ``"class 1"`` …, in the order of the labels: the samples of each class, in the kind
        of `data`.

    Raises
    ------
    ValueError
        Where the targets are not one integer per sample.

    Examples
    --------
    >>> import torch, puma_fast as pf
    >>> _ = torch.manual_seed(0)
    >>> X, y = torch.randn(60, 3), torch.arange(60) % 3
    >>> puma = pf.Puma(torch.nn.Linear(3, 3), (X[:40], y[:40]))
    >>> classes = pf.per_class((X[40:], y[40:]))
    >>> list(classes)
    ['class 0', 'class 1', 'class 2']
    >>> puma.influence(criterion=classes).shape
    (40, 3)
    """
    if targets is not None and not callable(targets):
        msg = f"targets must be a function of a batch, got {type(targets).__name__}; or leave it out"
        raise TypeError(msg)
    samples = Samples(data)
    labels = classes(samples, targets or default_targets)
    if labels is None:
        msg = (
            "per_class needs targets that are one integer per sample; name the groups: "
            "per_group(data, groups)"
        )
        raise ValueError(msg)
    return _divided(data, labels, "class")


def per_group(data: Any, groups: ArrayLike) -> dict[str, Any]:
    """Divide data into groups, to be given as one criterion for each.

    Parameters
    ----------
    data : tuple or mapping of tensors, Dataset or DataLoader
        As for `Puma`; m samples.
    groups : array_like of shape (m,)
        Each sample's group: numbers or words.

    Returns
    -------
    dict of str to data
        ``"group a"``, ``"group b"`` … in sorted order: the samples of each group, in the kind of `data`.

    Raises
    ------
    ValueError
        Where `groups` is not one name per sample.

    Examples
    --------
    >>> import torch, puma_fast as pf
    >>> X, y = torch.randn(4, 3), torch.tensor([0, 1, 0, 1])
    >>> for name, (features, labels) in pf.per_group((X, y), ["men", "women", "women", "women"]).items():
    ...     print(name, len(labels))
    group men 1
    group women 3
    """
    samples = Samples(data)
    names = as_array("groups", groups)
    if names.shape != (samples.n,):
        msg = f"groups must name the group of each of the {samples.n} samples, got shape {names.shape}"
        raise ValueError(msg)
    return _divided(data, names, "group")


def classes(samples: Samples, targets: Callable[[Any], Any]) -> NDArray[np.int64] | None:
    """Read every sample's class; None where the targets are not one integer per sample."""

    def read(places: NDArray[np.int64], batch: Any) -> torch.Tensor:
        labels: torch.Tensor = targets(batch)
        one_each = isinstance(labels, torch.Tensor) and labels.shape == (len(places),)
        if not one_each or labels.is_floating_point():
            return torch.full((len(places),), torch.nan, device="cpu")
        return labels

    labels = sweep.each(samples, read, description="labels")
    return None if np.isnan(labels).any() else labels.astype(np.int64)


def _divided(data: Any, names: NDArray[Any], kind: str) -> dict[str, Any]:
    """Give the samples of every name, in sorted order."""
    try:
        distinct, of = np.unique(names, return_inverse=True)
    except TypeError:
        msg = f"{kind}s are of types that have no common order, or some are None; give them names of one type"
        raise TypeError(msg) from None
    return {f"{kind} {name}": _part(data, np.flatnonzero(of == at)) for at, name in enumerate(distinct)}


def _part(data: Any, positions: NDArray[np.int64]) -> Any:
    if isinstance(data, DataLoader):
        return DataLoader(
            Subset(data.dataset, positions.tolist()),
            batch_size=data.batch_size,
            num_workers=data.num_workers,
            collate_fn=data.collate_fn,
            worker_init_fn=data.worker_init_fn,
            multiprocessing_context=data.multiprocessing_context,
        )
    if isinstance(data, Mapping):
        return {key: as_tensor(value)[positions] for key, value in data.items()}
    if isinstance(data, tuple) and all(hasattr(item, "__array__") for item in data):
        return tuple(as_tensor(item)[positions] for item in data)
    return Subset(data, positions.tolist())
