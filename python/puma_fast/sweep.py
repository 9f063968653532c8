"""One sweep over samples, whoever reads them: a sum, or numbers for each sample.

Passes over a data set go through here, so that each is cut over the ranks of a job, and each backs off
where a batch does not fit into the device's memory.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray
    from torch import Tensor

    from puma_fast.data import Samples

    Work = Callable[[NDArray[np.int64], Any], Tensor]
    """``work(places, batch) -> Tensor``; `places` (B,): where the batch's samples stand in what is read."""

_NAMED = 8
"""Positions told of a batch on which something went wrong."""


def total(
    samples: Samples,
    work: Work,
    start: Tensor,
    positions: NDArray[np.int64] | None = None,
    **reading: Any,
) -> Tensor:
    """Add to `start` what `work` gives for each batch of all ranks.

    Parameters
    ----------
    samples : Samples
        What is read.
    work : callable
        ``work(places, batch) -> Tensor`` of the shape of `start`.
    start : Tensor, float64
        Changed in place.
    positions : ndarray of shape (m,), int64, optional
        By default all samples.
    **reading
        Passed on to `Samples.batches`.

    Returns
    -------
    Tensor
        The same bits on every rank.
    """
    for _, part in results(samples, work, positions, **reading):
        start += part
    return samples.ranks.total(start)


def each(
    samples: Samples,
    work: Work,
    positions: NDArray[np.int64] | None = None,
    *,
    columns: int | None = None,
    **reading: Any,
) -> NDArray[np.float64]:
    """Collect what `work` gives for each sample, from all ranks.

    Parameters
    ----------
    samples, positions, **reading
        As in `total`.
    work : callable
        ``work(places, batch) -> Tensor`` of shape (B,), or (B, columns).
    columns : int, optional
        Numbers for each sample, where there are several.

    Returns
    -------
    ndarray of shape (m,) or (m, columns), float64
    """
    count = samples.n if positions is None else len(positions)
    values = np.zeros(count if columns is None else (count, columns))
    for places, part in results(samples, work, positions, **reading):
        values[places] = part.detach().double().cpu().numpy()
    return samples.ranks.assembled(values)


def results(
    samples: Samples, work: Work, positions: NDArray[np.int64] | None = None, **reading: Any
) -> Iterator[tuple[NDArray[np.int64], Tensor]]:
    """Do the work on every batch of this rank; go on with smaller ones where memory is short.

    Yields
    ------
    places : ndarray of shape (B,), int64
        Where the batch's samples stand in `positions`.
    result : Tensor
    """
    low, high = samples.ranks.block(samples.n)
    where = np.arange(samples.n) if positions is None else positions
    left = np.flatnonzero((where >= low) & (where < high))
    while len(left):
        for read, batch in samples.batches(where[left], **reading):
            places = left[: len(read)]
            try:
                result = work(places, batch)
            except torch.OutOfMemoryError as error:
                if not samples.back_off(len(read)):
                    error.add_note(
                        f"A batch of {len(read)} samples of {samples.name} does not fit into the memory of "
                        f"{samples.device}; pass a smaller batch_size, or batch_size='auto'"
                    )
                    raise
                break
            except Exception as error:
                where_it_was = ", ".join(map(str, read[:_NAMED])) + (", …" if len(read) > _NAMED else "")
                error.add_note(f"Raised on the samples of {samples.name} at positions {where_it_was}")
                raise
            yield places, result
            left = left[len(read) :]
