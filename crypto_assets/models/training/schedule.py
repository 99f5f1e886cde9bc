"""Learning rate over the run: one warm-up, then down; each a factor on the peak rate."""

from __future__ import annotations

import math


def warmup_cosine(step: int, steps: int, warmup: float = 0.1, last: float = 0.01) -> float:
    """Linear warm-up, then half a cosine to a hundredth (Loshchilov & Hutter, SGDR, ICLR 2017).

    `step` of `steps`, counted from 0; `warmup` is a share of the run.
    """
    rise = max(1, round(warmup * steps))
    if step < rise:
        return (step + 1) / rise
    done = min(1.0, (step - rise) / max(1, steps - rise))
    return last + (1 - last) * 0.5 * (1 + math.cos(math.pi * done))


def one_cycle(step: int, steps: int, warmup: float = 0.1) -> tuple[float, float]:
    """Factor and first Adam moment of the one-cycle policy (Smith & Topin 2018), as torch's OneCycleLR counts them.

    From 1/25 to 1 over the warm-up, then to 1/250,000, half a cosine each; the moment from 0.95 to 0.85 and back.
    """
    top = max(warmup * steps - 1, 1e-9)
    if step <= top:
        return _between(1 / 25, 1.0, step / top), _between(0.95, 0.85, step / top)
    done = min(1.0, (step - top) / max(1e-9, steps - 1 - top))
    return _between(1.0, 1 / 250_000, done), _between(0.85, 0.95, done)


def _between(start: float, end: float, share: float) -> float:
    return end + (start - end) * 0.5 * (1 + math.cos(math.pi * share))
