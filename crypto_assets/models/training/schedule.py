"""Learning rate over the run: linear warm-up, then half a cosine to a hundredth (Loshchilov & Hutter, SGDR, ICLR 2017)."""

from __future__ import annotations

import math


def warmup_cosine(step: int, steps: int, warmup: float = 0.1, last: float = 0.01) -> float:
    """Factor on the peak rate at `step` of `steps`, counted from 0; `warmup` is a share of the run."""
    rise = max(1, round(warmup * steps))
    if step < rise:
        return (step + 1) / rise
    done = min(1.0, (step - rise) / max(1, steps - rise))
    return last + (1 - last) * 0.5 * (1 + math.cos(math.pi * done))
