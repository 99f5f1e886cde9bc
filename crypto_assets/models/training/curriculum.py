"""The seed's curriculum: calm bars first, then all. What counts as calm is decided by the training slice alone."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from crypto_assets.models.training.device import DevicePanel

STAGES = ((0.2, 0.3), (0.5, 0.6), (0.75, 1.0), (1.0, 1.0))
"""Basic patterns, market regimes, extreme events, fine-tuning: until this share of the run, this share of the bars."""


class Lessons:
    """The panel to learn from at each step: that of a stage has no truth at bars too volatile for it. Inputs stay whole."""

    def __init__(self, data: DevicePanel, rows: tuple[int, int], log_variance_NT: Tensor | None) -> None:
        """Without `log_variance_NT` (expected log variance of every bar) every step learns from everything."""
        self.whole, self.calm = data, {}
        if log_variance_NT is None:
            return
        for share, ceiling in thresholds(log_variance_NT, data.listed_NT, rows).items():
            if math.isfinite(ceiling):
                self.calm[share] = without_truth(data, log_variance_NT > ceiling)

    def at(self, step: int, steps: int) -> DevicePanel:
        """For `step` of `steps`, counted from 1."""
        return self.calm.get(calm_share(step, steps), self.whole)


def calm_share(step: int, steps: int) -> float:
    """Share of the bars, calmest first, that `step` of `steps` (from 1) learns from."""
    return next((share for until, share in STAGES if step <= until * steps), 1.0)


def thresholds(log_variance_NT: Tensor, listed_NT: Tensor, rows: tuple[int, int]) -> dict[float, float]:
    """The log variance below which each share of the listed bars of `rows`, the training slice, lies."""
    at = slice(*rows)
    values = log_variance_NT[:, at][listed_NT[:, at]].double().cpu().numpy()
    shares = sorted({share for _, share in STAGES})
    return {s: float(np.quantile(values, s)) if s < 1 and len(values) else math.inf for s in shares}


def without_truth(data: DevicePanel, left_out_NT: Tensor) -> DevicePanel:
    """The panel with every target of those bars unknown."""
    nan = torch.tensor(math.nan, device=left_out_NT.device)
    return replace(
        data,
        direction_NT4=torch.where(left_out_NT[..., None], nan, data.direction_NT4),
        returns_NT3=torch.where(left_out_NT[..., None], nan, data.returns_NT3),
        log_rv_NT=torch.where(left_out_NT, nan, data.log_rv_NT),
    )
