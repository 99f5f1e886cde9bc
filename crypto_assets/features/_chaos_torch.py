"""The measures of `_chaos` that pay on a GPU, for a batch of windows at once: rescaled range and the pass over pairs.

Numbers agree with the compiled ones to rounding (tests). Imports torch: load inside functions.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from crypto_assets.features import _chaos


def standardised(x_BN: Tensor) -> Tensor:
    """Each window less its mean over its standard deviation (ddof 1); NaN where it does not move."""
    sd = x_BN.std(dim=1, keepdim=True)
    return (x_BN - x_BN.mean(dim=1, keepdim=True)) / torch.where(sd > 0, sd, torch.nan)


def hurst(x_BN: Tensor) -> Tensor:
    """Hurst exponent `[B]` of windows of increments, as in `_chaos.measures`."""
    z_BN = standardised(x_BN)
    sizes, expected = _chaos.hurst_sizes(x_BN.shape[1])
    values = []
    for size, mean in zip(sizes.tolist(), expected.tolist(), strict=True):
        pieces = z_BN[:, : z_BN.shape[1] // size * size].unflatten(1, (-1, size))
        d = pieces - pieces.mean(dim=2, keepdim=True)
        y = d.cumsum(dim=2)
        ratio = (y.amax(dim=2) - y.amin(dim=2)) / (d.square().sum(dim=2) / (size - 1)).sqrt()
        values.append(ratio.nanmean(dim=1).log() - math.log(mean))
    logs = torch.log(torch.as_tensor(sizes, dtype=x_BN.dtype, device=x_BN.device))
    return 0.5 + _slope(logs, torch.stack(values, dim=1)) / _chaos.RESPONSE


def recurrence(x_BN: Tensor, radii: Tensor | None = None) -> dict[str, Tensor]:
    """`correlation_dimension`, `sample_entropy`, `recurrence_rate` `[B]` of windows of increments, as `_chaos.measures`."""
    z_BN = standardised(x_BN)
    chosen = torch.as_tensor(_chaos.RADII) if radii is None else radii
    chosen = chosen.to(z_BN)
    gap = (z_BN[:, :, None] - z_BN[:, None, :]).abs()
    v = z_BN.shape[1] - 2
    rows, columns = torch.triu_indices(v, v, offset=1, device=z_BN.device)
    a, b, c = (gap[:, rows + k, columns + k] for k in range(3))
    ab = torch.maximum(a, b)
    two = ab <= _chaos.TOLERANCE
    three = two & (c <= _chaos.TOLERANCE)
    squares = a.square() + b.square() + c.square()
    within = torch.stack([(squares <= r * r).sum(dim=1) for r in chosen], dim=1).to(z_BN.dtype)
    near = (torch.maximum(ab, c) <= _chaos.RECURRENCE).sum(dim=1)
    matched = three.sum(dim=1).to(z_BN.dtype)
    return {
        "correlation_dimension": _slope(chosen.log(), torch.where(within > 0, within.log(), torch.nan)),
        "sample_entropy": torch.where(matched > 0, -(matched / two.sum(dim=1)).log(), torch.nan),
        "recurrence_rate": near.to(z_BN.dtype) / rows.shape[0],
    }


def _slope(x_K: Tensor, y_BK: Tensor) -> Tensor:
    """Least squares slope `[B]` over the finite values."""
    known = y_BK.isfinite()
    n = known.sum(dim=1)
    x = torch.where(known, x_K, 0.0)
    y = torch.where(known, y_BK, 0.0)
    spread = n * x.square().sum(dim=1) - x.sum(dim=1).square()
    slope = (n * (x * y).sum(dim=1) - x.sum(dim=1) * y.sum(dim=1)) / spread
    return torch.where((n > 1) & (spread > 1e-12), slope, torch.nan)
