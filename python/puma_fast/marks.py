"""Whether a tensor was written: a mark of its place, its version and its bits.

torch counts what is written to a tensor, but not what is written to `tensor.data` or to the NumPy array
whose memory it shares; their bits tell.
"""

from __future__ import annotations

import torch
from torch import Tensor

_INTEGERS = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


def mark(tensor: Tensor) -> tuple[int, int, int]:
    """Give a mark that differs after `tensor` was written by whatever road, as surely as a checksum does.

    The bits are added up as integers, row sums weighted by their row and column sums by their column:
    exact, so the same for any number of threads, and at the cost of reading the tensor twice.
    """
    version = 0 if tensor.is_inference() else tensor._version
    return tensor.data_ptr(), version, _digest(tensor.detach())


def _digest(tensor: Tensor) -> int:
    if tensor.layout != torch.strided or tensor.is_meta or tensor.is_quantized or tensor.numel() == 0:
        return 0
    real = torch.view_as_real(tensor) if tensor.is_complex() else tensor
    flat = real.contiguous().view(_INTEGERS[real.element_size()]).reshape(-1)
    # Near square, so that both sums are short.
    width = 1 << (flat.numel().bit_length() // 2)
    whole = flat[: flat.numel() // width * width].view(-1, width)
    total = flat[whole.numel() :].sum(dtype=torch.int64)
    for axis in (0, 1):
        sums = whole.sum(axis, dtype=torch.int64)
        # An odd multiplier moves high bits down, so that no column's changes end beyond the 64th bit.
        places = torch.arange(1, 2 * len(sums), 2, device=sums.device) * 0x9E3779B97F4A7C1
        total = total + (sums * places).sum()
    return int(total)
