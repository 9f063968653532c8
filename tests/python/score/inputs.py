"""Twelve samples of every kind, and small models of them."""

from __future__ import annotations

import torch
from torch import nn

N = 12
generator = torch.Generator().manual_seed(0)
X = torch.randn(N, 4, generator=generator)
CLASSES = torch.randint(0, 3, (N,), generator=generator)
REAL = torch.randn(N, 3, generator=generator)
POSITIVE = torch.rand(N, 3, generator=generator)
BINARY = (POSITIVE > 0.5).float()
TOKENS = torch.randint(0, 3, (N, 5), generator=generator)
TOKENS[0, 1:] = TOKENS[3, 2] = -100
SEQUENCES = torch.randn(N, 5, 4, generator=generator)


def linear(out=3, *after):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, out), *after)


class Tied(nn.Module):
    """The output weights are the input's."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(3, 4)
        self.mix = nn.Linear(4, 4)
        self.head = nn.Linear(4, 3, bias=False)
        self.head.weight = self.embed.weight

    def forward(self, tokens):
        return self.head(self.mix(self.embed(tokens)).tanh().mean(1))
