"""What training wraps around a model is looked through."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import puma_fast as pf
from puma_fast.score.unwrapped import unwrapped
from score.inputs import CLASSES, X, linear


class Opaque(nn.Module):
    """Looks like what torch.compile gives, which takes seconds to run."""

    def __init__(self, inner):
        super().__init__()
        self._orig_mod = inner

    def forward(self, *arguments):
        msg = "a compiled graph cannot take other parameters"
        raise AssertionError(msg)


@pytest.mark.parametrize(
    "wrap", [nn.DataParallel, torch.compile, Opaque, lambda model: torch.compile(nn.DataParallel(model))]
)
def test_wrappers_are_looked_through(wrap):
    model = linear()
    settings = {"holdout": (X, CLASSES), "damping": 0.1}
    wrapped = wrap(model)
    assert unwrapped(wrapped) is model
    puma = pf.Puma(wrapped, (X, CLASSES), params="0.*", **settings)
    np.testing.assert_array_equal(puma.influence(), pf.Puma(model, (X, CLASSES), **settings).influence())
    assert type(puma.remove([0]).model) is nn.Sequential


def test_a_submodule_of_the_wrappers_name_is_no_wrapper():
    model = nn.Module()
    model.module = linear()
    assert unwrapped(model) is model
