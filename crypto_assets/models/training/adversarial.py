"""Inputs moved against the net within a small cube: training on them asks for answers that do not hang on the last digit.

FGSM: Goodfellow, Shlens, Szegedy, Explaining and Harnessing Adversarial Examples (2015). PGD: Madry et al., Towards Deep
Learning Models Resistant to Adversarial Attacks (2018), from the centre, so that it draws nothing at random.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from crypto_assets.models.training.device import Batch

PGD_STEPS = 3
PGD_STRIDE = 0.5
"""Length of a step in units of epsilon: three steps of a half reach the wall and can still turn."""


def fgsm(loss: Callable[[Batch], Tensor], batch: Batch, epsilon: float) -> Batch:
    """Every input of a listed bar moved by `epsilon` in the direction in which the loss grows."""
    return _moved(batch, batch, epsilon * _uphill(loss, batch), epsilon)


def pgd(loss: Callable[[Batch], Tensor], batch: Batch, epsilon: float, steps: int = PGD_STEPS) -> Batch:
    """The same in several smaller steps, each kept within `epsilon` of where it began."""
    found = batch
    for _ in range(steps):
        found = _moved(batch, found, PGD_STRIDE * epsilon * _uphill(loss, found), epsilon)
    return found


ATTACKS: dict[str, Callable[[Callable[[Batch], Tensor], Batch, float], Batch]] = {"fgsm": fgsm, "pgd": pgd}


def _uphill(loss: Callable[[Batch], Tensor], batch: Batch) -> Tensor:
    """Sign of the gradient of the loss by the inputs; the parameters' gradients are left alone."""
    x = batch.x_BLF.detach().requires_grad_()
    (gradient,) = torch.autograd.grad(loss(batch._replace(x_BLF=x)), x)
    return gradient.sign()


def _moved(origin: Batch, at: Batch, by: Tensor, epsilon: float) -> Batch:
    moved = origin.x_BLF + (at.x_BLF + by - origin.x_BLF).clamp(-epsilon, epsilon)
    return origin._replace(x_BLF=torch.where(origin.listed_BL[..., None], moved, origin.x_BLF).detach())
