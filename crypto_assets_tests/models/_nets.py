"""What the tests of the nets share: each net at its debug size with weights everywhere, and a batch of the shape it is fed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch

from crypto_assets.models import registry
from crypto_assets.models.training.device import Batch
from crypto_assets.models.training.heads import Heads, Net

INPUTS, COINS = 7, 3
STILL = {"dropout": 0.0, "feature_dropout": 0.0, "coin_dropout": 0.0}


def model(name: str) -> Any:
    """The net's entry in the registry."""
    return registry.load(name)


def module(name: str, **changes: Any) -> Net:
    """A net with weights in its readout too, so that nothing is zero by construction."""
    torch.manual_seed(0)
    net = model(name)
    made = net.module_class(replace(net.config_class.debug(), **changes), INPUTS, COINS).eval()
    for p in made.readout.parameters():
        torch.nn.init.normal_(p, std=0.3)
    torch.nn.init.normal_(made.readout.coin[1:], std=0.1)
    return made


def batch(net: Net, answered: int = 40, chunks: int = 4, listed: float = 0.8) -> Batch:
    """`chunks` chunks (or one for each of three coins at the same times), with `answered` bars to answer."""
    g = torch.Generator().manual_seed(5)
    shape = (chunks, COINS) if net.together else (chunks,)
    length = net.lead + answered
    coins = torch.arange(COINS).expand(shape) if net.together else torch.arange(chunks) % (COINS + 1)
    edges = None
    if net.together:
        edges = torch.randn(chunks, length, COINS, COINS, 2, generator=g) * (1 - torch.eye(COINS))[..., None]
        edges[torch.rand(edges.shape[:-1], generator=g) < 0.4] = 0.0
    x = torch.randn(*shape, length, INPUTS, generator=g)
    return Batch(x, coins, torch.rand(*shape, length, generator=g) < listed, edges)


def at(heads: Heads, bars: Any) -> Heads:
    """The answers at some of the bars; the last dimension of realised variance is time, of the others the next to last."""
    return Heads(*(h[..., bars] if i == 3 else h[..., bars, :] for i, h in enumerate(heads)))
