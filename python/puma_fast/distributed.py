"""The only user of torch.distributed: which samples a rank reads, and sums over the ranks.

Every rank of a job (``torchrun``) makes the same calls with the same model and the same whole data set,
and reads its own consecutive block of positions. What is added up over samples is added up over ranks;
every rank gets the same bits of a sum, so that all take the same decisions.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.distributed as dist

from puma_fast.numeric.arrays import as_number
from puma_fast.numeric.shard import Shard

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray
    from torch import Tensor

PATIENCE = 600.0
"""Seconds that a rank waits for the others by default: longer than a pass over the data takes them."""

_LONGEST = 1e9
"""Seconds, 31 years: the clock of a process group ends somewhere beyond."""


class LostRankError(RuntimeError):
    """Another rank of the job ended, or did not come to the common work in time."""


class Ranks:
    """A process among the ranks that share the work; alone unless it is told otherwise.

    Parameters
    ----------
    index, count : int
        This rank's number, from 0, and how many there are.
    group : ProcessGroup, optional
        What connects them, where there are several.
    patience : float
        Seconds to wait for the others, as the group was told.
    """

    def __init__(
        self,
        index: int = 0,
        count: int = 1,
        group: Any = None,
        patience: float = PATIENCE,
    ) -> None:
        self.index = index
        self.count = count
        self.patience = as_number("patience", patience, above=0, below=_LONGEST, hint=" of seconds")
        self._group = group
        # NCCL reads the memory of the device alone, Gloo that of the host.
        on_device = group is not None and dist.get_backend(group) == "nccl"
        self._device = torch.device("cuda", torch.cuda.current_device()) if on_device else torch.device("cpu")

    @classmethod
    def of_this_job(cls, patience: float = PATIENCE) -> Ranks:
        """Join the other ranks of the process group that the user started; alone where there is none.

        Every rank must call this; the group made here has time limits of its own.

        Raises
        ------
        LostRankError
            Not all ranks came within `patience` seconds.
        """
        alone = cls(patience=patience)
        if not (dist.is_available() and dist.is_initialized()) or dist.get_world_size() == 1:
            return alone
        count = dist.get_world_size()
        group = dist.new_group(timeout=timedelta(seconds=alone.patience))
        joined = cls(dist.get_rank(), count, group, patience)
        # Whoever is missing is missed here, before long work.
        joined.total_of(0.0)
        return joined

    def block(self, n: int) -> tuple[int, int]:
        """Give the positions start … stop − 1 of n samples that this rank reads."""
        return self.index * n // self.count, (self.index + 1) * n // self.count

    def total(self, part: Tensor) -> Tensor:
        """Add `part` over the ranks: the same bits for all, rounded like any sum of so many parts.

        Raises
        ------
        LostRankError
            A rank ended or did not come in time.
        """
        if self.count == 1:
            return part
        # Two steps, since the parts of an all_reduce may be added in another order on every rank.
        whole = part.detach().to(self._device, copy=True).contiguous()
        self._together(lambda: dist.reduce(whole, dst=0, group=self._group))
        self._together(lambda: dist.broadcast(whole, src=0, group=self._group))
        return whole.to(part.device)

    def total_of(self, part: float) -> float:
        """Add a number over the ranks, see `total`."""
        return float(self.total(torch.tensor(part, dtype=torch.float64, device="cpu")))

    def assembled(self, part: NDArray[np.float64]) -> NDArray[np.float64]:
        """Put together an array of which every rank filled its own places and left nought elsewhere."""
        return part if self.count == 1 else self.total(torch.from_numpy(part)).numpy()

    def first(self, work: Callable[[], object]) -> None:
        """Let rank 0 work once every rank has come here, while the others wait.

        What rank 0 raises ends the others too.

        Raises
        ------
        LostRankError
            On the other ranks, where rank 0 raised something.
        """
        # The work may take away what a slower rank is still reading.
        self.wait()
        error: Exception | None = None
        if self.index == 0:
            try:
                work()
            except Exception as raised:
                error = raised
        failed = self.total_of(float(error is not None))
        if error is not None:
            raise error
        if failed:
            msg = f"rank {self.index} of {self.count} gives up because rank 0 did; see the message of rank 0"
            raise LostRankError(msg)

    def wait(self) -> None:
        """Go on only when every rank has come here."""
        self.total_of(0.0)

    def require_equal(self, name: str, value: int, way_out: str) -> None:
        """Refuse to go on where the ranks were given different things.

        Raises
        ------
        ValueError
            `value` is not the same on every rank.
        """
        if self.count == 1:
            return
        values = np.zeros(self.count, np.int64)
        values[self.index] = value
        values = self._sum(values)
        if (values != values[0]).any():
            other = int(np.flatnonzero(values != values[0])[0])
            msg = f"{name} is {values[0]} on rank 0 and {values[other]} on rank {other}; {way_out}"
            raise ValueError(msg)

    @property
    def shard(self) -> Shard | None:
        """The rank for the numeric functions; None where it is alone."""
        return None if self.count == 1 else Shard(self.index, self.count, self._sum)

    def _sum(self, values: NDArray[np.int64]) -> NDArray[np.int64]:
        # A sum of integers is the same in every order, so one step does.
        whole = torch.from_numpy(values.copy()).to(self._device)
        self._together(lambda: dist.all_reduce(whole, group=self._group))
        return whole.cpu().numpy()

    def _together(self, collective: Callable[[], object]) -> None:
        try:
            collective()
        except RuntimeError as error:
            msg = (
                f"rank {self.index} of {self.count} lost another rank, which ended or did not come to the "
                f"common work within {self.patience:g} seconds; look at its own output for why, and start "
                "the job again (scores that were streamed to a file are kept and continued)"
            )
            raise LostRankError(msg) from error
