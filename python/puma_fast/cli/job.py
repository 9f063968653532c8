"""The ranks that ``torchrun`` starts: the same command in every process, one of which speaks."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def job(device: str) -> Iterator[tuple[str, bool]]:
    """Join the other ranks where there are any.

    Parameters
    ----------
    device : str
        As asked for; ``"cuda"`` is each rank's own device.

    Yields
    ------
    device : str
    speaks : bool
        Whether this process writes and prints.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield device, True
        return

    import torch
    import torch.distributed as dist

    if device == "cuda":
        device = f"cuda:{os.environ.get('LOCAL_RANK', '0')}"
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if device.startswith("cuda") else "gloo")
    try:
        yield device, dist.get_rank() == 0
        # Whoever leaves first closes connections on which another may not have finished writing.
        dist.barrier()
    finally:
        dist.destroy_process_group()
