"""What data may come as: columns of tensors, a map-style set, a stream with ids, or a loader of one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    Dataset,
    DistributedSampler,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
    default_collate,
)

from puma_fast.batches import as_tensor, map_leaves

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True, eq=False)
class Source:
    """A user's data in a form that is read by position, and how the loader that it came in reads it."""

    data: Any
    columns: list[Tensor] | None
    """The tensors of data that comes as columns; None where it is read item by item."""
    collate: Callable[[list[Any]], Any]
    workers: dict[str, Any]
    batch_size: int | None
    """The loader's."""

    @classmethod
    def of(cls, name: str, given: Any, *, has_ids: bool) -> Source:
        """Bring the data to one of three forms (columns, map-style, stream), or refuse its kind."""
        collate, workers, batch_size = default_collate, {}, None
        if isinstance(given, DataLoader):
            batch_size = _refuse_partial(name, given)
            collate = given.collate_fn
            if given.num_workers:
                workers = {
                    "num_workers": given.num_workers,
                    "worker_init_fn": given.worker_init_fn,
                    "multiprocessing_context": given.multiprocessing_context,
                }
            given = given.dataset
        data = _accepted(name, given, has_ids=has_ids)
        return cls(data, _columns(data), collate, workers, batch_size)

    @property
    def is_stream(self) -> bool:
        """Whether it can only be read from its start."""
        return isinstance(self.data, IterableDataset)

    def length(self, name: str) -> int:
        """Count the samples; a stream is as long as its ids, and is not asked."""
        if self.columns is None:
            return len(self.data)
        lengths = [len(item) if item.ndim else 0 for item in self.columns]
        if len(set(lengths)) > 1:
            msg = f"{name} holds tensors of different lengths {lengths}; each needs one row per sample"
            raise ValueError(msg)
        return lengths[0]

    def tensors(self) -> list[Tensor]:
        """Give the tensors of which it is seen when they are written."""
        held = getattr(self.data, "tensors", ()) if self.columns is None else self.columns
        return [each for each in held if isinstance(each, Tensor)]


def _accepted(name: str, data: Any, *, has_ids: bool) -> Any:
    if _columns(data) is not None:
        # A named tuple stays one, any mapping becomes a dict.
        plain = dict(data) if isinstance(data, Mapping) else data
        return map_leaves(as_tensor, plain, is_leaf=_is_array)
    if isinstance(data, tuple) and any(map(_is_array, data)):
        odd = next(item for item in data if not _is_array(item))
        msg = (
            f"{name} is a tuple of arrays and a {type(odd).__name__}, which may be columns or single "
            f"samples: make every item a tensor or array, or pass list({name})"
        )
        raise TypeError(msg)
    if isinstance(data, list) and data and all(map(_is_array, data)):
        msg = (
            f"{name} is a list of tensors, which may be inputs and targets or one sample each: pass "
            f"tuple({name}) for the one, a Dataset for the other"
        )
        raise TypeError(msg)
    if isinstance(data, IterableDataset):
        if has_ids:
            return data
        named = "pass ids= with one name per sample, in its order, or " if name == "data" else "pass "
        msg = f"{name} is an IterableDataset, whose samples have no positions: {named}a map-style Dataset"
        raise TypeError(msg)
    if hasattr(data, "__next__"):
        msg = f"{name} is an iterator that can be read only once; pass the Dataset, a DataLoader or tensors"
        raise TypeError(msg)
    if isinstance(data, Dataset) or (
        hasattr(data, "__getitem__")
        and hasattr(data, "__len__")
        and not isinstance(data, (str, bytes, Tensor, np.ndarray, Mapping))
    ):
        return data
    msg = (
        f"{name} must be a tuple or mapping of tensors, a map-style Dataset or a DataLoader, "
        f"got {type(data).__name__}"
    )
    raise TypeError(msg)


def _columns(data: Any) -> list[Any] | None:
    """Give the arrays of data that comes as columns, nested or not; None where it does not.

    A tuple of mappings or of tuples alone may be one sample each, so it is no columns.
    """
    if isinstance(data, tuple) and not any(map(_is_array, data)):
        return None
    leaves: list[Any] = []
    if isinstance(data, (tuple, Mapping)):
        map_leaves(leaves.append, data, is_leaf=_is_array)
    return leaves if leaves and all(map(_is_array, leaves)) else None


def _is_array(item: Any) -> bool:
    return hasattr(item, "__array__")


def _refuse_partial(name: str, loader: DataLoader[Any]) -> int | None:
    """Refuse a DataLoader that does not give each sample of its dataset once; give its batch size."""
    if isinstance(loader.dataset, IterableDataset):
        return loader.batch_size
    if loader.batch_sampler is None:
        msg = (
            f"{name} is a DataLoader with batch_size=None, whose items are batches already; "
            "pass a Dataset of single samples, or tensors"
        )
        raise ValueError(msg)
    batched = loader.batch_sampler
    sampler = batched.sampler if isinstance(batched, BatchSampler) else batched
    n = len(loader.dataset)  # type: ignore[arg-type]
    whole = (
        (isinstance(sampler, SequentialSampler) and len(sampler) == n)
        or (isinstance(sampler, RandomSampler) and not sampler.replacement and len(sampler) == n)
        or (isinstance(sampler, DistributedSampler) and len(sampler.dataset) == n)  # type: ignore[arg-type]
    )
    if not whole:
        msg = (
            f"{name} is a DataLoader that draws by a {type(sampler).__name__}, which need not give each "
            "sample of its dataset once; pass the dataset itself, or for a part of it "
            "torch.utils.data.Subset(dataset, indices), so that positions count what was trained on"
        )
        raise ValueError(msg)
    return batched.batch_size if isinstance(batched, BatchSampler) else None
