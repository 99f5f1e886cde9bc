"""The seed's training techniques, each a switch, each off unless an ablation says otherwise.

docs/decisions/training-switches.md has the ablation. Pure functions of numbers and tensors; the attack on the
inputs is in `adversarial`, the curriculum in `curriculum`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from crypto_assets.market.errors import SettingsError

RAMP = 10.0
"""Curriculum dropout: within 1 % of the full rate after half of the run."""


@dataclass(frozen=True)
class Switches:
    """What is switched on. Raises SettingsError for a value outside its range."""

    schedule: Literal["cosine", "one_cycle"] = "cosine"
    label_smoothing: float = 0.0
    """Share of every direction label that is moved to one half."""
    focal_gamma: float = 0.0
    """0 is cross-entropy. Any other loss is not proper: it is calibrated afterwards, like everything else."""
    dropout_ramp: bool = False
    """Dropout rises from nothing to the configured rate."""
    curriculum: bool = False
    """Calm bars first, by the volatility of the training slice."""
    attack: Literal["none", "fgsm", "pgd"] = "none"
    """Half of the loss is of inputs moved against the net."""
    epsilon: float = 0.05
    """Bound of that move in scaled inputs, whose standard deviation is about one."""

    def __post_init__(self) -> None:
        bounds = {"label_smoothing": (0.0, 1.0), "focal_gamma": (0.0, 10.0), "epsilon": (0.0, 10.0)}
        for name, (low, high) in bounds.items():
            value = getattr(self, name)
            if not low <= value <= high:
                raise SettingsError(f"{name} is {value}: choose a number from {low} to {high}")
        allowed = {"schedule": ("cosine", "one_cycle"), "attack": ("none", "fgsm", "pgd")}
        for name, values in allowed.items():
            if getattr(self, name) not in values:
                raise SettingsError(f"{name} is {getattr(self, name)!r}: choose one of {', '.join(values)}")


def direction_loss(logits: Tensor, up: Tensor, smoothing: float = 0.0, gamma: float = 0.0) -> Tensor:
    """Cross-entropy of the smoothed label, times (1 - p_t)^gamma, where p_t is what was given to what happened.

    Szegedy et al. (2016) for the smoothing, Lin et al., Focal Loss (2017) for the factor; no class weight: ups are a half.
    """
    loss = nn.functional.binary_cross_entropy_with_logits(logits, up * (1 - smoothing) + 0.5 * smoothing, reduction="none")
    if not gamma:
        return loss
    # 1 - p_t = sigmoid(-z) for an up and sigmoid(z) for a down; by its logarithm, which stays finite where p_t reaches 1.
    return loss * torch.exp(gamma * nn.functional.logsigmoid(logits * (1 - 2 * up)))


def dropout_share(step: int, steps: int) -> float:
    """How much of the configured dropout is on: 1 - exp(-10 step / steps). Morerio et al., Curriculum Dropout (2017)."""
    return 1 - math.exp(-RAMP * step / max(1, steps))


def dropout_rates(module: nn.Module) -> dict[str, float]:
    """The configured rate of every dropout layer by name."""
    return {name: m.p for name, m in module.named_modules() if isinstance(m, nn.Dropout)}


def set_dropout(module: nn.Module, rates: dict[str, float], share: float) -> None:
    """Set every dropout layer to `share` of its rate."""
    for name, rate in rates.items():
        layer = module.get_submodule(name)
        assert isinstance(layer, nn.Dropout)
        layer.p = rate * share
