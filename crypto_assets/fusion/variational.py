"""The seed's alternative: a mean-field Bayesian network in place of the Laplace weights.

A layer's weights are independent normals; a forward pass draws its outputs, not its weights (local reparameterisation; Kingma,
Salimans and Welling 2015), which costs two products and has less noise. The network departs from the pool: logit = pool +
net(x), so with its prior it is the pool. Loss: tempered log-loss plus the divergence from the prior. Torch is imported when it
is asked for.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import torch

Array = np.ndarray

PRIOR_SD = 0.5
SOFT = -4.0
"""Start of the unconstrained scales: softplus(-4) = 0.018."""


@dataclass(frozen=True)
class Config:
    """Width of the hidden layer, optimiser steps, step size, rows a step."""

    width: int = 8
    steps: int = 1500
    lr: float = 0.01
    batch: int = 4096

    @classmethod
    def debug(cls) -> Config:
        """A fit of a second."""
        return cls(width=4, steps=300)


def make(inputs: int, outputs: int) -> Any:
    """One `BayesianLinear` layer: `mean_OI`, `raw_OI` (softplus is the standard deviation), the same for the bias."""
    import torch
    from torch import nn
    from torch.nn.functional import softplus

    class BayesianLinear(nn.Module):
        """Normal weights; `forward` draws the outputs of each row by itself."""

        def __init__(self) -> None:
            super().__init__()
            self.mean_OI = nn.Parameter(torch.randn(outputs, inputs) * 0.1)
            self.raw_OI = nn.Parameter(torch.full((outputs, inputs), SOFT))
            self.mean_O = nn.Parameter(torch.zeros(outputs))
            self.raw_O = nn.Parameter(torch.full((outputs,), SOFT))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            mean = x @ self.mean_OI.T + self.mean_O
            variance = x.square() @ softplus(self.raw_OI).square().T + softplus(self.raw_O).square()
            return mean + variance.sqrt() * torch.randn_like(mean)

        def divergence(self) -> torch.Tensor:
            """KL(q || N(0, PRIOR_SD^2)), summed, in closed form."""
            total = torch.zeros(())
            for mean, raw in ((self.mean_OI, self.raw_OI), (self.mean_O, self.raw_O)):
                ratio = (softplus(raw) / PRIOR_SD).square()
                total = total + 0.5 * (ratio + (mean / PRIOR_SD).square() - 1 - ratio.log()).sum()
            return total

        def drawn(self, count: int) -> tuple[torch.Tensor, torch.Tensor]:
            """`count` draws of the weights `[S, O, I]` and biases `[S, O]`."""
            w = self.mean_OI + softplus(self.raw_OI) * torch.randn(count, outputs, inputs)
            return w, self.mean_O + softplus(self.raw_O) * torch.randn(count, outputs)

    return BayesianLinear()


def fit(
    x_RD: Array, pool_R: Array, y_R: Array, *, temper: float, samples: int, seed: int, config: Config | None = None
) -> dict[str, Array]:
    """Draws of a network that departs from `pool_R` (logits) by the inputs `x_RD`: arrays `w1 b1 w2 b2`, S first."""
    import torch
    from torch.nn.functional import binary_cross_entropy_with_logits as log_loss

    c = config or Config()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        first, last = make(x_RD.shape[1], c.width), make(c.width, 1)
        x, pool, y = (torch.as_tensor(a, dtype=torch.float32) for a in (x_RD, pool_R, y_R))
        optimiser = torch.optim.Adam([*first.parameters(), *last.parameters()], lr=c.lr)
        worth = temper * len(y)
        for _ in range(c.steps if len(y) else 0):
            rows = torch.randint(len(y), (min(c.batch, len(y)),))
            logit = pool[rows] + last(torch.tanh(first(x[rows])))[:, 0]
            loss = worth * log_loss(logit, y[rows]) + first.divergence() + last.divergence()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        with torch.no_grad():
            (w1, b1), (w2, b2) = first.drawn(samples), last.drawn(samples)
    return {name: a.numpy().astype(np.float64) for name, a in (("w1", w1), ("b1", b1), ("w2", w2[:, 0]), ("b2", b2[:, 0]))}


def drawn(net: Mapping[str, Array], x_RD: Array, pool_R: Array) -> Array:
    """The logit of every draw, `[S, R]`."""
    hidden = np.tanh(np.einsum("shd,rd->shr", net["w1"], x_RD) + net["b1"][:, :, None])
    return pool_R + np.einsum("sh,shr->sr", net["w2"], hidden) + net["b2"][:, None]
