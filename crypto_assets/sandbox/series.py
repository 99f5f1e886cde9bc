"""Named side series: numbers that depend on (seed, market, name, day) alone, for tables that carry no planted signal.

A provider's endpoint draws what it serves from here, so any day can be made without making those before it.
"""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np

from crypto_assets.sandbox.randomness import Randomness

ORIGIN = date(2010, 1, 1)
"""Day 0. No series is asked for before it."""
BLOCK = 64
"""Days drawn at once."""


def noise(randomness: Randomness, name: str, first: date, last: date, width: int = 1) -> np.ndarray:
    """Standard normals `[day, width]` of the days `first` to `last` inclusive; each day's are its own."""
    a, b = (first - ORIGIN).days, (last - ORIGIN).days + 1
    if b <= a:
        return np.empty((0, width))
    blocks = range(a // BLOCK, (b - 1) // BLOCK + 1)
    drawn = [randomness.generator("series", block, name).standard_normal((BLOCK, width)) for block in blocks]
    return np.concatenate(drawn)[a - blocks.start * BLOCK : b - blocks.start * BLOCK]


def level(
    randomness: Randomness, name: str, first: date, last: date, half_life_days: float = 30.0, width: int = 1
) -> np.ndarray:
    """A slow series `[day, width]` of unit variance: an exponentially weighted sum of the last ten half-lives of `noise`."""
    rho = 0.5 ** (1 / half_life_days)
    reach = round(10 * half_life_days)
    weights = rho ** np.arange(reach)
    weights /= np.sqrt(np.sum(weights**2))
    drawn = noise(randomness, name, first - timedelta(days=reach - 1), last, width)
    return np.stack([np.convolve(drawn[:, k], weights, "valid") for k in range(width)], axis=1)


def days(first: date, last: date) -> list[date]:
    """The days `first` to `last` inclusive."""
    return [first + timedelta(days=n) for n in range((last - first).days + 1)]
