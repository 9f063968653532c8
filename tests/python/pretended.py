"""A GPU that is pretended, for machines without one.

Its tensors say that they lie on CUDA. Their values are on the CPU, but out of reach of everything that a
real GPU keeps them from: an operator that is given tensors of both kinds refuses, NumPy cannot look inside,
and only a copy crosses over. What runs on it has put every tensor where it belongs; kernels, streams and
memory of a real GPU are another matter.

Beneath, the tensors are of torch's "meta" device: its autograd runs in the caller's thread, while that of
CUDA wants a driver. What torch makes of Python numbers would have no values there, so the methods that are
given some are the class's own.
"""

import torch
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing
from torch.utils._pytree import tree_leaves, tree_map_only

DEVICE = torch.device("cuda:0")

_aten = torch.ops.aten
_COPIES = {_aten._to_copy.default, _aten.copy_.default}
_INDEXED = {_aten.index.Tensor, _aten.index_put.default, _aten.index_put_.default}
"""Operators that a GPU lets take tensors of the CPU beside its own."""


class PretendedGPU(TorchDispatchMode):
    """While it is entered, ``"cuda:0"`` can be asked for anywhere; it must be named with its index."""

    def __enter__(self):
        self._starts = torch.cuda._lazy_init
        torch.cuda._lazy_init = lambda: None
        return super().__enter__()

    def __exit__(self, *error):
        torch.cuda._lazy_init = self._starts
        return super().__exit__(*error)

    def __torch_dispatch__(self, operator, types, args=(), kwargs=None):
        return _run(operator, args, kwargs or {})


class _There(torch.Tensor):
    """A tensor on the pretended GPU, of a tensor `here`."""

    device = property(lambda self: DEVICE)
    is_cuda = property(lambda self: True)
    is_meta = property(lambda self: False)

    @staticmethod
    def __new__(cls, here):
        shape = {"strides": here.stride(), "storage_offset": here.storage_offset()}
        return cls._make_wrapper_subclass(cls, here.size(), **shape, dtype=here.dtype, device="meta")

    def __init__(self, here):
        self.here = here

    def __repr__(self):
        return f"{self.here!r} on {DEVICE}"

    def __getitem__(self, key):
        return super().__getitem__(torch.tensor(key) if isinstance(key, list) else key)

    def new_tensor(self, data, dtype=None):
        return torch.tensor(data, dtype=dtype or self.dtype).to(DEVICE)

    def tolist(self):
        return self.cpu().tolist()

    @classmethod
    def __torch_dispatch__(cls, operator, types, args=(), kwargs=None):  # noqa: ANN206
        return _run(operator, args, kwargs or {})


def _run(operator, args, kwargs):
    """Compute on the CPU; give the answer the place that it would have."""
    tensors = [each for each in tree_leaves((args, kwargs)) if isinstance(each, torch.Tensor)]
    there = any(isinstance(each, _There) for each in tensors)
    # A GPU takes numbers of the CPU, which are tensors without dimensions.
    here = any(each.ndim for each in tensors if not isinstance(each, _There))
    if there and here and operator not in _COPIES | _INDEXED:
        msg = f"{operator}: expected all tensors to be on the same device"
        raise RuntimeError(msg)
    if kwargs.get("device") is not None:
        stays = torch.device(kwargs["device"]).type != "cpu"
        kwargs = {**kwargs, "device": torch.device("cpu")}
    else:
        stays = isinstance(args[0], _There) if operator is _aten.copy_.default else there
    if operator is _aten._efficientzerotensor.default:
        operator = _aten.zeros.default
    given = tree_map_only(_There, lambda each: each.here, (args, kwargs))
    answer = operator(*given[0], **given[1])
    if not stays:
        return args[0] if operator is _aten.copy_.default else answer
    answer = tree_map_only(torch.Tensor, _There, answer)
    return return_and_correct_aliasing(operator, args, kwargs, answer) if there else answer
