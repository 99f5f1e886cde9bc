"""Several seeds of one net as one model: answers are averaged, directions in logits.

Lakshminarayanan et al., Simple and Scalable Predictive Uncertainty Estimation using Deep Ensembles (2017).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from crypto_assets.models.training.device import Batch
from crypto_assets.models.training.heads import Heads, Net


class Ensemble(Net):
    """Nets of one class that are fed the same way. Its readout is the first one's: all have the same base rates."""

    def __init__(self, members: Sequence[Net]) -> None:
        super().__init__()
        first = members[0]
        self.members = nn.ModuleList(members)
        self.context, self.lead, self.together = first.context, first.lead, first.together
        self.grid, self.readout = first.grid, first.readout

    def forward(self, batch: Batch) -> Heads:
        """The average of the members' answers."""
        return average([member(batch) for member in self.members])

    def keep(self, batch: Batch) -> tuple[Tensor, ...]:
        """What each member keeps, one after the other."""
        return tuple(kept for member in self._nets() for kept in member.keep(batch))

    def last(self, x_BF: Tensor, coin_B: Tensor, listed_B: Tensor, *kept: Tensor) -> Heads:
        """The average of the members' answers at the last bar."""
        size = len(kept) // len(self.members)
        parts = [kept[i : i + size] for i in range(0, len(kept), size)]
        return average([net.last(x_BF, coin_B, listed_B, *part) for net, part in zip(self._nets(), parts, strict=True)])

    def _nets(self) -> list[Net]:
        return [member for member in self.members if isinstance(member, Net)]


def average(answers: Sequence[Heads]) -> Heads:
    """Logits, means and log realised variances averaged; variances by the law of total variance."""
    if len(answers) == 1:
        return answers[0]
    logits, mean, log_var, log_rv, linear = (torch.stack(h) for h in zip(*answers, strict=True))
    return Heads(logits.mean(0), mean.mean(0), total_log_variance(mean, log_var), log_rv.mean(0), linear.mean(0))


def total_log_variance(mean: Tensor, log_var: Tensor) -> Tensor:
    """Log variance of the even mixture of normals along the first dimension: mean of variances plus variance of means."""
    return torch.log(log_var.exp().mean(0) + mean.var(0, unbiased=False))
