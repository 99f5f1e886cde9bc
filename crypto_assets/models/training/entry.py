"""The first layer of every net: the inputs of a bar and the name of its coin, to the hidden width.

Shapes: B chunks (or `[B, N]`), L bars, F inputs, D width.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from crypto_assets.models.training.device import Batch


class Entry(nn.Module):
    """In training a share of the inputs goes missing for a whole chunk, and now and then the coin's name, so that a coin of
    no name can be read too.
    """

    def __init__(self, inputs: int, coins: int, width: int, *, feature_dropout: float, coin_dropout: float) -> None:
        super().__init__()
        self.embed = nn.Linear(inputs, width)
        self.coin = nn.Embedding(coins + 1, width)
        self.feature_dropout, self.coin_dropout = feature_dropout, coin_dropout
        nn.init.normal_(self.coin.weight, std=0.02)

    def forward(self, batch: Batch) -> Tensor:
        """`[B, L, D]`, whatever is not listed included."""
        x_BLF, coin_B = self.forget(batch)
        return self.embed(x_BLF) + self.coin(coin_B)[..., None, :]

    def forget(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """What is left of inputs and names."""
        if not self.training:
            return batch.x_BLF, batch.coin_B
        keep = functional.dropout(torch.ones_like(batch.x_BLF[..., :1, :]), self.feature_dropout)
        known = torch.rand(batch.coin_B.shape, device=batch.coin_B.device) >= self.coin_dropout
        return batch.x_BLF * keep, batch.coin_B * known
