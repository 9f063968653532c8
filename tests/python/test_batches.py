"""Batches of any make are walked, moved and compared, and what cannot be compared is said to be so."""

from __future__ import annotations

import threading
from collections import OrderedDict, UserDict, namedtuple
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from puma_fast.batches import IncomparableError, equal, map_tensors, moved

Pair = namedtuple("Pair", "x y")


@dataclass(frozen=True)
class Frozen:
    x: torch.Tensor
    name: str = "n"


class Own:
    def __init__(self, x):
        self.x = x


class Slotted:
    __slots__ = ("x",)

    def __init__(self, x):
        self.x = x


class Movable:
    """Knows how to move, as the batches of graph libraries do."""

    def __init__(self, x, device="here"):
        self.x, self.device = x, device

    def to(self, device):
        return Movable(self.x, device)


class Ring:
    def __init__(self, x):
        self.x, self.itself = x, self


CONTAINERS = {
    "tuple": lambda x: (x, 1),
    "list": lambda x: [x, "a"],
    "dict": lambda x: {"a": x},
    "named tuple": lambda x: Pair(x, None),
    "ordered": lambda x: OrderedDict(a=x),
    "user dict": lambda x: UserDict(a=x),
    "dataclass": Frozen,
    "object": Own,
    "namespace": lambda x: SimpleNamespace(x=x),
    "nested": lambda x: {"a": [Frozen(x)]},
    "ring": Ring,
}


@pytest.mark.parametrize("kind", CONTAINERS)
def test_containers_keep_their_types_and_are_not_written(kind):
    x = torch.arange(3.0)
    batch = CONTAINERS[kind](x)
    doubled = map_tensors(lambda tensor: 2 * tensor, batch)
    assert type(doubled) is type(batch)
    assert torch.equal(x, torch.arange(3.0))
    if kind != "ring":
        assert equal(doubled, CONTAINERS[kind](2 * x))
    assert not equal(doubled, batch)
    assert equal(moved(batch, torch.device("cpu")), batch)


def test_what_knows_how_to_move_is_asked_to():
    device = torch.device("cpu")
    assert moved([Movable(1)], device)[0].device == device


@pytest.mark.parametrize("make", [*CONTAINERS.values(), Slotted, Movable])
@pytest.mark.parametrize(
    ("one", "other"),
    [
        (torch.tensor([1.0, torch.nan]), torch.tensor([1.0, 0.0])),
        (torch.tensor([1.0]), torch.tensor([1.0], dtype=torch.float64)),
        (np.array([1.0, np.nan]), np.array([1.0, 0.0])),
        (np.array(["a", "b"]), np.array(["a", "c"])),
        (np.array([{"a": 1}]), np.array([{"a": 2}])),
        (np.float32(1), np.float32(2)),
        ({1, 2}, {1, 3}),
        (b"a", b"b"),
        (float("nan"), 1.0),
    ],
    ids=str,
)
def test_differences_are_seen_wherever_they_stand(make, one, other):
    import copy

    assert equal(make(one), make(copy.deepcopy(one)))
    assert not equal(make(one), make(other))


def test_what_cannot_be_seen_is_refused():
    with pytest.raises(IncomparableError, match="lock"):
        equal([threading.Lock()], [threading.Lock()])
