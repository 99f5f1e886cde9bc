"""What every net answers, what it is asked, and the loss between the two.

Shapes: B chunks, L bars, 4 direction targets (1h, 4h, 24h, 24h_relative), 3 horizons. Returns are in units of the volatility
expected by the baseline, realised variance as the log over that baseline: so every target has a scale of about one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn

from crypto_assets.models._calibration import base_rate, logit

if TYPE_CHECKING:
    from crypto_assets.models.training.device import Batch

LOG_VAR_BOUND = 6.0


class Heads(NamedTuple):
    """Answers at every bar."""

    logits_BL4: Tensor
    mean_BL3: Tensor
    log_var_BL3: Tensor
    log_rv_BL: Tensor
    linear_BL4: Tensor
    """The logits without depth."""


OUT = 11
"""Width of the last layer."""


class Targets(NamedTuple):
    """Truth at every bar, NaN where unknown or not asked."""

    direction_BL4: Tensor
    returns_BL3: Tensor
    log_rv_BL: Tensor


@dataclass(frozen=True)
class Weights:
    """Weight of each task in the loss. A 24 h label overlaps its 23 neighbours, so it counts for less."""

    direction: tuple[float, float, float, float] = (1.0, 0.5, 0.1, 0.2)
    returns: tuple[float, float, float] = (0.05, 0.025, 0.0125)
    log_rv: float = 0.3


def cross_entropy(logits: Tensor, up: Tensor) -> Tensor:
    """Binary cross-entropy of each logit."""
    return nn.functional.binary_cross_entropy_with_logits(logits, up, reduction="none")


def losses(
    heads: Heads, targets: Targets, direction_loss: Callable[[Tensor, Tensor], Tensor] = cross_entropy
) -> tuple[Tensor, Tensor]:
    """Sum and count of each of the eight task losses, over the bars where the truth is known.

    Direction: by `direction_loss` of logits and outcomes. Returns: Gaussian negative log-likelihood, without its constant.
    Realised variance: squared error of the log (robust to the heavy tail; the bias of the mean is corrected on validation).
    """
    direction = direction_loss(heads.logits_BL4, targets.direction_BL4.nan_to_num())
    error = targets.returns_BL3.nan_to_num() - heads.mean_BL3
    returns = 0.5 * (heads.log_var_BL3 + error.square() * torch.exp(-heads.log_var_BL3))
    log_rv = (targets.log_rv_BL.nan_to_num() - heads.log_rv_BL).square()
    values = torch.cat([direction, returns, log_rv[..., None]], dim=-1).flatten(0, -2)
    known = torch.cat([targets.direction_BL4, targets.returns_BL3, targets.log_rv_BL[..., None]], dim=-1).flatten(0, -2)
    known = torch.isfinite(known)
    return torch.where(known, values, 0.0).sum(dim=0), known.sum(dim=0)


def counts(targets: Targets) -> Tensor:
    """How many bars each of the eight tasks has."""
    known = torch.cat([targets.direction_BL4, targets.returns_BL3, targets.log_rv_BL[..., None]], dim=-1)
    return torch.isfinite(known).flatten(0, -2).sum(dim=0)


def total(sums_8: Tensor, counts_8: Tensor, weights: Weights) -> Tensor:
    """The weighted sum of the task means; a task without a single label adds nothing."""
    w = torch.tensor([*weights.direction, *weights.returns, weights.log_rv], device=sums_8.device)
    return (w * sums_8 / counts_8.clamp(min=1)).sum()


class Readout(nn.Module):
    """The last layer of every net: linear in the hidden state, plus linear in inputs and coin, around the training base rates.

    The direct path (wide and deep, Cheng et al. 2016) makes a regression the floor from which depth must earn its keep; it is
    solved, not trained (`linear`). Both start at zero: a fresh net answers the base rate and the volatility baseline.
    """

    base_4: Tensor
    coin: Tensor

    def __init__(self, width: int, inputs: int, coins: int) -> None:
        super().__init__()
        self.deep = nn.Linear(width, OUT)
        self.wide = nn.Linear(inputs, OUT, bias=False)
        self.register_buffer("coin", torch.zeros(coins + 1, OUT))
        self.register_buffer("base_4", torch.zeros(4))
        for parameter in self.parameters():
            nn.init.zeros_(parameter)
        self.wide.requires_grad_(False)

    def forward(self, h_BLD: Tensor, x_BLF: Tensor, coin_B: Tensor) -> Heads:
        """Answers at every bar; a coin of no name (0) has no constant."""
        wide = self.wide(x_BLF).float() + self.coin[coin_B][..., None, :]
        out = self.deep(h_BLD).float() + wide
        log_var = LOG_VAR_BOUND * torch.tanh(out[..., 7:10] / LOG_VAR_BOUND)
        return Heads(out[..., :4] + self.base_4, out[..., 4:7], log_var, out[..., 10], wide[..., :4] + self.base_4)


class Net(nn.Module):
    """What the engine needs of a module: how it is fed, how far back it looks, and the readout its forward pass ends with.

    `forward(batch: Batch) -> Heads` answers at every bar from the `lead`-th on, each from that bar and those before it alone.

    Who asks about one last bar again and again, as a server does, lets it `keep` what the bars before leave behind, once, and
    asks for the `last` bar alone: the same answer for a hundredth of the work.
    """

    context: int
    """Bars before an answered one that may change it."""
    lead: int = 0
    """Bars at the beginning of what it reads that it does not answer: its window less one, for a net of windows."""
    together: bool = False
    """Whether it reads all coins at the same times, `[B, N, L, F]`, and the graph between them."""
    grid: int = 0
    """Hours of the calendar between fresh starts, for a net whose memory has no sharp end (recurrent ones): the hours of one
    stretch are read from `context` bars before its first, whichever of them is asked. 0 where `context` is all it sees.
    """
    readout: Readout

    def keep(self, batch: Batch) -> tuple[Tensor, ...]:
        """What the bars before the last one leave behind for it: `[B, ...]` each, or `[1, N, ...]` of all coins together."""
        raise NotImplementedError(f"{type(self).__name__} cannot be asked about its last bar alone")

    def last(self, x_BF: Tensor, coin_B: Tensor, listed_B: Tensor, *kept: Tensor) -> Heads:
        """`forward` at the last bar, `[B, 1, ...]`, from what was kept of those before it."""
        raise NotImplementedError(f"{type(self).__name__} cannot be asked about its last bar alone")


def base_logits(direction_NT4: Tensor) -> Tensor:
    """Logit of the share of ups of each direction target, `[4]`."""
    return torch.from_numpy(logit(base_rate(direction_NT4.flatten(0, 1).cpu().numpy()))).float()
