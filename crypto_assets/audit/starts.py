"""Warm-up: how many bars until two different starts agree. Reported beside the leaks, never among them.

A recursive average remembers its start; that is no look into the future, but a value read with too short a lookback is another
value than the one that was trained on.
"""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import polars as pl

from crypto_assets.audit.auditable import Auditable
from crypto_assets.audit.comparison import numbers
from crypto_assets.audit.findings import Warmup
from crypto_assets.lake import Frames
from crypto_assets.market.time import HOUR, Window

AGREE = 1e-6
"""Of the column's own size, and of its spread."""
LATE = 0.25
"""Share of the sample after which the second start begins."""
SETTLED = 0.9
"""Agreement that begins later than this share of what is left is taken for chance."""


def warmups(what: Auditable, frames: dict[str, pl.DataFrame], base: pl.DataFrame, window: Window) -> list[Warmup]:
    """The columns that remember their start or need more bars than their lookback; `base` is recomputed from all of `frames`.

    `bars` counts a coin's rows from the second start to the last one where the two differ by more than 1e-6 of the value's size
    or of the column's spread. A column whose values only begin later (a full window) and agree from then on is not listed,
    unless its lookback is shorter than that.
    """
    if what.lookback is None:
        return []
    hours = int(window.hours * LATE)
    start = window.start + hours * HOUR
    later = {name: frame.filter(pl.col("ts") >= start) for name, frame in frames.items()}
    other = what.recompute(Frames(later), Window(start, window.end))
    keys = list(what.keys)
    mine = base.filter(pl.col("ts") >= start)
    both = mine.join(other, on=keys, how="inner", suffix="_late", maintain_order="left")
    columns = [c for c in base.columns if c not in (*keys, what.claim, "available_at")]
    A, B = numbers(both, columns), numbers(both, [f"{c}_late" for c in columns])
    age = both.select((pl.int_range(pl.len()) + 1).over("symbol")).to_series().to_numpy()
    found = []
    for c, column in enumerate(columns):
        warmup = _warmup(A[:, c], B[:, c], age, what, column, window.hours - hours)
        if warmup is not None:
            found.append(warmup)
    return found


def _warmup(a: np.ndarray, b: np.ndarray, age: np.ndarray, what: Auditable, column: str, length: int) -> Warmup | None:
    known = a[np.isfinite(a)]
    spread = float(known.std()) if known.size else 0.0
    with np.errstate(invalid="ignore"):
        differ = (np.isfinite(a) != np.isfinite(b)) | (np.abs(a - b) > AGREE * (np.abs(a) + spread))
        remembers = bool((np.isfinite(a) & np.isfinite(b) & differ).any())
    if not differ.any():
        return None
    lookback = int((what.lookbacks.get(column) or what.lookback or timedelta(0)) / HOUR)
    last = int(age[differ].max()) + 1
    bars = last if last < SETTLED * length else None
    is_enough = lookback >= length if bars is None else bars <= lookback + 2
    return Warmup(f"{what.prefix}{column}", bars, lookback, is_enough) if remembers or not is_enough else None
