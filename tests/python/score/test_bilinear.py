"""Layers that are linear in x and in w have torch's own forward derivative, without products of noughts."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch.func import jvp, vmap
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode

from puma_fast.score.bilinear import SparseTangents

DRAWS = torch.Generator().manual_seed(0)


def drawn(*shape):
    return torch.randn(*shape, generator=DRAWS, dtype=torch.float64)


CASES = {
    "linear": (functional.linear, drawn(7, 4), drawn(3, 4), drawn(3), ()),
    "linear of sequences": (functional.linear, drawn(7, 5, 4), drawn(3, 4), drawn(3), ()),
    "linear of one": (functional.linear, drawn(4), drawn(3, 4), drawn(3), ()),
    "conv1d": (torch.conv1d, drawn(7, 4, 9), drawn(6, 2, 3), drawn(6), (2, 1, 1, 2)),
    "conv2d": (torch.conv2d, drawn(7, 2, 9, 8), drawn(3, 2, 3, 2), drawn(3), (1, "same", 2)),
    "conv2d of one": (torch.conv2d, drawn(2, 9, 8), drawn(3, 2, 3, 2), drawn(3), (2, (1, 0))),
    "conv3d": (torch.conv3d, drawn(2, 2, 5, 6, 4), drawn(3, 2, 3, 2, 2), drawn(3), ()),
}
WITHOUT_BIAS = ("weight", "x", "x weight")
WITH_BIAS = (*WITHOUT_BIAS, "bias", "weight bias", "x bias", "x weight bias")
MOVED = [*((moved, False) for moved in WITHOUT_BIAS), *((moved, True) for moved in WITH_BIAS)]


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize(("moved", "with_bias"), MOVED)
def test_the_derivative_is_torchs_own(name, moved, with_bias):
    function, x, weight, bias, settings = CASES[name]
    all_at = {"x": x, "weight": weight, "bias": bias}
    at = {each: all_at[each] for each in moved.split()}
    along = {each: drawn(3, *value.shape) for each, value in at.items()}

    def layer(given):
        values = all_at | given
        return function(values["x"], values["weight"], values["bias"] if with_bias else None, *settings)

    def derivative(direction, *, sparse):
        if not sparse:
            return jvp(layer, (at,), (direction,))
        with SparseTangents():
            return jvp(layer, (at,), (direction,))

    first = {each: value[0] for each, value in along.items()}
    for ours, theirs in zip(derivative(first, sparse=True), derivative(first, sparse=False), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)
    together = vmap(partial(derivative, sparse=True))(along)
    expected = vmap(partial(derivative, sparse=False))(along)
    for ours, theirs in zip(together, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)


def test_arguments_by_name_and_other_types_pass_through():
    x, weight = drawn(7, 4), drawn(3, 4)
    with SparseTangents():
        value, moved = jvp(lambda w: functional.linear(x, weight=w, bias=None), (weight,), (weight,))
        torch.testing.assert_close(value, moved)
        assert functional.linear(x, weight).shape == (7, 3)
        with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
            functional.linear(x, weight.T, None)


def test_a_first_layer_multiplies_nothing_by_nought():
    class Counted(TorchDispatchMode):
        convolutions = 0

        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            self.convolutions += func is torch.ops.aten.convolution.default
            return func(*args, **(kwargs or {}))

    _, x, weight, bias, settings = CASES["conv2d"]
    with Counted() as counted, SparseTangents():
        jvp(lambda w: torch.conv2d(x, w, bias, *settings), (weight,), (weight,))
    assert counted.convolutions == 2
