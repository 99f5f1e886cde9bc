"""Exponential moving average of the weights, without its early bias (Polyak averaging; the correction is Adam's)."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Ema:
    """Keeps the average; `weights()` divides by the mass seen so far, so that it is right from the first step on."""

    def __init__(self, module: nn.Module, halflife: float) -> None:
        self.decay = 0.5 ** (1.0 / max(halflife, 1e-9))
        self.mass = 0.0
        self.sums = {k: torch.zeros_like(v) for k, v in module.state_dict().items()}

    @torch.no_grad()
    def update(self, module: nn.Module) -> None:
        """Take in the weights after a step."""
        self.mass = self.decay * self.mass + (1 - self.decay)
        state = module.state_dict()
        names = list(self.sums)
        torch._foreach_lerp_([self.sums[n] for n in names], [state[n] for n in names], 1 - self.decay)

    @torch.no_grad()
    def weights(self) -> dict[str, Tensor]:
        """The averaged state."""
        return {k: v / (self.mass or 1.0) for k, v in self.sums.items()}
