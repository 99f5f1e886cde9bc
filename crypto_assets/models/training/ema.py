"""Exponential moving average of the weights, without its early bias (Polyak averaging; the correction is Adam's)."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Ema:
    """Averages what is trained; `weights` divides by the mass seen so far, so that it is right from the first step on."""

    def __init__(self, module: nn.Module, halflife: float) -> None:
        self.module = module
        self.decay = 0.5 ** (1.0 / max(halflife, 1e-9))
        self.mass = 0.0
        self.sums = {k: torch.zeros_like(p) for k, p in module.named_parameters() if p.requires_grad}

    @torch.no_grad()
    def update(self) -> None:
        """Take in the weights after a step."""
        self.mass = self.decay * self.mass + (1 - self.decay)
        now = dict(self.module.named_parameters())
        torch._foreach_lerp_(list(self.sums.values()), [now[k] for k in self.sums], 1 - self.decay)

    @torch.no_grad()
    def weights(self) -> dict[str, Tensor]:
        """The module's state with the averages in place of what is trained; the state as it is before the first step."""
        state = {k: v.clone() for k, v in self.module.state_dict().items()}
        return state | ({k: v / self.mass for k, v in self.sums.items()} if self.mass else {})
