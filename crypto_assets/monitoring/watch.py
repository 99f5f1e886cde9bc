"""What is compared with what: the features a champion reads now with those it learnt from, its forecasts with its earlier ones.

The reference of the features is the last half year of the champion's own history, so a fit on newer data starts with a clean
slate; the reference of the forecasts is what the same champion forecast before the window.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

import numpy as np
import polars as pl

from crypto_assets.dataset.panel import Panel
from crypto_assets.evaluation.champion import Bundle
from crypto_assets.market.time import DAY, HOUR, Window
from crypto_assets.models._base import OUTPUTS
from crypto_assets.monitoring.drift import Comparison, Drift, drift

DAYS = 14
"""Length of the window that is compared: two weeks, so that a day of the week is there twice."""
REFERENCE = 180 * DAY
NOTHING = Drift((), 0)


def features(champion: Bundle, panel: Panel, now: datetime, days: int = DAYS, how: Comparison | None = None) -> Drift:
    """Drift of every feature the champion reads, over the `days` before `now`; nothing where its history is too short."""
    until = max(c.trained_until for c in champion.members.values())
    first = min(c.trained_from for c in champion.members.values())
    window, reference = _windows(max(first, until - REFERENCE), until, now, days)
    if reference is None or not _enough(panel, reference, window):
        return NOTHING
    places = {c: panel.columns.index(c) for c in champion.columns if c in panel.columns}
    ref, cur = (np.where(panel.listed_TN[s, :, None], panel.x_TNF[s], np.nan) for s in map(panel.slice, (reference, window)))
    return drift({c: ref[:, :, k] for c, k in places.items()}, {c: cur[:, :, k] for c, k in places.items()}, how)


def forecasts(rows: pl.DataFrame, now: datetime, days: int = DAYS, how: Comparison | None = None) -> Drift:
    """Drift of every output of one model (schema `forecasts/<model>`) by horizon, against what it said before the window.

    Names are `<output>_<horizon>`. Nothing where less than twice the window lies before it.
    """
    if rows.is_empty():
        return NOTHING
    first: datetime = rows.select(pl.col("ts").min()).item()
    window, reference = _windows(max(first, now - REFERENCE), now - days * DAY, now, days)
    if reference is None or reference.hours < 2 * window.hours:
        return NOTHING
    laid = _laid(rows.filter(pl.col("ts") >= reference.start, pl.col("ts") < now), reference.start, now)
    split = reference.hours
    return drift({k: v[:split] for k, v in laid.items()}, {k: v[split:] for k, v in laid.items()}, how)


def _windows(first: datetime, until: datetime, now: datetime, days: int) -> tuple[Window, Window | None]:
    window = Window(now - timedelta(days=days), now)
    end = min(until, window.start)
    return window, Window(first, end) if first < end else None


def _enough(panel: Panel, reference: Window, window: Window) -> bool:
    ref, cur = (s.stop - s.start for s in map(panel.slice, (reference, window)))
    return cur >= window.hours // 2 and ref >= 2 * cur


def _laid(rows: pl.DataFrame, start: datetime, end: datetime) -> Mapping[str, np.ndarray]:
    """Arrays `[hour, coin]` by output and horizon, NaN where nothing was said; outputs that are never said are left out."""
    symbols = sorted(rows["symbol"].unique())
    hours = int((end - start) / HOUR)
    found = {}
    for (horizon,), part in rows.group_by("horizon", maintain_order=True):
        at = part.select((pl.col("ts") - start).dt.total_hours()).to_series().to_numpy()
        coin = part["symbol"].replace_strict(symbols, list(range(len(symbols))), return_dtype=pl.Int64).to_numpy()
        for output in OUTPUTS:
            values = part[output].cast(pl.Float64).fill_null(float("nan")).to_numpy()
            if np.isfinite(values).any():
                grid = np.full((hours, len(symbols)), np.nan)
                grid[at, coin] = values
                found[f"{output}_{horizon}"] = grid
    return found
