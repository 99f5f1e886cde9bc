"""The fusion in a walk-forward run: which forecasts are out of fold, what is fitted on them, what comes out for a fold.

Out of fold are the members' forecasts of the test windows of earlier folds: nobody trained, stopped or calibrated on them. A
fold without any gets the pool. Forecasts of a validation window are not used: members stopped and calibrated on it, so the
best there is the one that fitted it best.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import polars as pl

from crypto_assets.dataset.panel import HOUR_US, Panel
from crypto_assets.fusion.checkpoint import NAME, FusionCheckpoint
from crypto_assets.fusion.decision import with_price_targets
from crypto_assets.fusion.fitting import LABELS, fit
from crypto_assets.fusion.fused import Fused, apply
from crypto_assets.fusion.tables import fused_rows, weight_rows
from crypto_assets.lake import Lake
from crypto_assets.market.time import HOUR, Window, midnight
from crypto_assets.models._base import Forecast
from crypto_assets.models.registry import TRAINED, load
from crypto_assets.trading.costs import Costs

FUSED = "fused"
"""The name of the combination whose weights are fitted."""


@dataclass(frozen=True)
class Rows:
    """What the fusion says about a window: rows of `fusion/fused` and of `fusion/weights`."""

    fused: pl.DataFrame
    weights: pl.DataFrame


def members_among(names: Sequence[str]) -> tuple[str, ...]:
    """The members of the fusion, in the registry's order."""
    return tuple(name for name in TRAINED if name in names)


def outputs_of(names: Sequence[str]) -> dict[str, frozenset[str]]:
    """What each model declares to forecast."""
    return {name: frozenset(load(name).outputs) for name in names}


def fit_fusion(
    panel: Panel, start: datetime, versions: Mapping[str, str], earlier: Mapping[str, Sequence[Forecast]], *, seed: int
) -> FusionCheckpoint:
    """What to make of the members `versions` from `start` on; `earlier`: their forecasts of earlier test windows."""
    history, labels = out_of_fold(panel, earlier, start)
    return fit(history, labels, start=start, outputs=outputs_of(list(versions)), versions=versions, seed=seed)


def out_of_fold(
    panel: Panel, earlier: Mapping[str, Sequence[Forecast]], start: datetime
) -> tuple[dict[str, Forecast], dict[str, np.ndarray]]:
    """The earlier forecasts laid out on the panel's hours before `start`, from the first of them on, and the labels there."""
    firsts = [piece.ts[0] for pieces in earlier.values() for piece in pieces]
    if not firsts:
        return {}, {}
    end = int(np.searchsorted(panel.ts, np.datetime64(start.replace(tzinfo=None), "us")))
    s = slice(int(np.searchsorted(panel.ts, min(firsts))), end)
    ts, labels = panel.ts[s], {name: values[s] for name, values in panel.labels.items()}
    return {name: laid_out(pieces, ts, panel.symbols) for name, pieces in earlier.items() if pieces}, labels


def fuse_window(
    checkpoint: FusionCheckpoint,
    panel: Panel,
    members: Mapping[str, Forecast],
    versions: Mapping[str, str],
    trained_until: datetime,
    candles: pl.DataFrame | None = None,
    since: datetime | None = None,
) -> Rows:
    """Combine the members' forecasts of hours from the checkpoint's start on; costs are those of a round trip in the backtest.

    `candles` (symbol, ts, close) give the price targets; null without.
    """
    first = next(iter(members.values()))
    at = int(np.searchsorted(panel.ts, first.ts[0]))
    labels = {name: values[at : at + len(first.ts)] for name, values in panel.labels.items()}
    made = apply(checkpoint, members, labels, versions=versions, cost=Costs().round_trip, since=since)
    return as_rows(made, checkpoint.version, trained_until, panel, candles)


def as_rows(made: Fused, version: str, trained_until: datetime, panel: Panel, candles: pl.DataFrame | None) -> Rows:
    """As tables, for the coins that are listed."""
    at = int(np.searchsorted(panel.ts, made.forecast.ts[0]))
    rows = fused_rows(made, version, trained_until, panel.listed_TN[at : at + len(made.forecast.ts)])
    return Rows(rows if candles is None else with_price_targets(rows, candles), weight_rows(made, version))


def history_in(
    lake: Lake, names: Sequence[str], symbols: tuple[str, ...], start: datetime, end: datetime
) -> tuple[dict[str, Forecast], dict[str, np.ndarray]]:
    """What the lake has of the members' forecasts and of the labels for `start <= ts < end`, laid out on every hour between."""
    ts = hours_between(start, end)
    members = {
        name: Forecast.from_table(lake.scan(f"forecasts/{name}", start, end).collect(), ts, symbols)
        for name in names
        if lake.days(f"forecasts/{name}")
    }
    labels = {name: np.full((len(ts), len(symbols)), np.nan) for name in LABELS}
    rows = lake.scan("labels/targets", start, end).filter(pl.col("symbol").is_in(list(symbols))).collect()
    place = {symbol: n for n, symbol in enumerate(symbols)}
    t = ((rows["ts"].to_physical().to_numpy() - ts[0].astype("int64")) // HOUR_US).astype(np.int64)
    n = rows["symbol"].replace_strict(place, return_dtype=pl.Int64).to_numpy()
    for name, values in labels.items():
        values[t, n] = rows[name].fill_null(float("nan")).to_numpy()
    return members, labels


def fit_in(
    lake: Lake, symbols: tuple[str, ...], start: datetime, versions: Mapping[str, str], *, first: datetime, seed: int
) -> FusionCheckpoint:
    """`fit_fusion` from the lake's tables: the members' forecasts of `first <= ts < start`."""
    history, labels = history_in(lake, list(versions), symbols, first, start) if first < start else ({}, {})
    return fit(history, labels, start=start, outputs=outputs_of(list(versions)), versions=versions, seed=seed)


def fusion_at(lake: Lake, symbols: tuple[str, ...], at: datetime, versions: Mapping[str, str]) -> FusionCheckpoint:
    """The fusion for the members `versions` at an hour: the newest in the lake that has begun by then.

    Where that one was fitted for other members (they were trained again since), it is fitted again from the lake, from the same
    start, as the daily run will do. Where there is none it begins at midnight.
    """
    folders = sorted((lake.root / "models" / NAME).glob("fold=*"), reverse=True)
    found = next((c for c in map(FusionCheckpoint.load, folders) if c.start <= at), None)
    if found is not None and found.members == dict(versions):
        return found
    start = found.start if found is not None else midnight(at.date())
    newest = [lake.path(t, lake.days(t)[-1]) for t in (f"forecasts/{name}" for name in versions) if lake.days(t)]
    state = tuple(path.stat().st_mtime_ns for path in newest)
    return _fitted(str(lake.root), symbols, start, tuple(versions.items()), state)


@functools.lru_cache(maxsize=2)
def _fitted(
    root: str, symbols: tuple[str, ...], start: datetime, versions: tuple[tuple[str, str], ...], _state: tuple[int, ...]
) -> FusionCheckpoint:
    lake = Lake(root)
    days = [day for name, _ in versions for day in lake.days(f"forecasts/{name}")]
    first = midnight(min(days)) if days else start
    return fit_in(lake, symbols, start, dict(versions), first=first, seed=0)


def fuse_hour(
    checkpoint: FusionCheckpoint,
    lake: Lake,
    panel: Panel,
    now: Mapping[str, Forecast],
    versions: Mapping[str, str],
    trained_until: datetime,
    at: datetime,
) -> pl.DataFrame:
    """Rows of `fusion/fused` for the hour `at`, for which the members say `now`; what they said before lies in the lake."""
    made = fuse_since(checkpoint, lake, panel.symbols, now, versions, Window(at, at + HOUR))
    return as_rows(made, checkpoint.version, trained_until, panel, None).fused


def fuse_since(
    checkpoint: FusionCheckpoint,
    lake: Lake,
    symbols: tuple[str, ...],
    now: Mapping[str, Forecast],
    versions: Mapping[str, str],
    window: Window,
) -> Fused:
    """The combination over `window`, for which the members say `now`; what was said before, and came of it, the lake has."""
    members, labels = history_in(lake, list(versions), symbols, checkpoint.start, window.end)
    ts = hours_between(checkpoint.start, window.end)
    said = {name: [*([members[name]] if name in members else []), now[name]] for name in versions}
    joined = {name: laid_out(pieces, ts, symbols) for name, pieces in said.items()}
    return apply(checkpoint, joined, labels, versions=versions, cost=Costs().round_trip, since=window.start)


def hours_between(start: datetime, end: datetime) -> np.ndarray:
    """Every hour with `start <= ts < end`."""
    first, last = (np.datetime64(t.replace(tzinfo=None), "us") for t in (start, end))
    return np.arange(first, last, np.timedelta64(1, "h"))


def laid_out(pieces: Sequence[Forecast], ts: np.ndarray, symbols: tuple[str, ...]) -> Forecast:
    """Pieces of forecasts side by side on the hours `ts`, NaN between them."""
    H, T, N = pieces[0].p_up_HTN.shape[0], len(ts), len(symbols)
    cubes = [np.full((H, T, N), np.nan) for _ in range(3)]
    out = Forecast(ts, symbols, cubes[0], cubes[1], cubes[2], np.full((T, N), np.nan), np.full((T, N), np.nan))
    for piece in pieces:
        at = int(np.searchsorted(ts, piece.ts[0]))
        kept = min(len(piece.ts), T - at)
        for name in ("p_up_HTN", "mean_HTN", "log_var_HTN"):
            getattr(out, name)[:, at : at + kept] = getattr(piece, name)[:, :kept]
        for name in ("p_beats_median_TN", "realised_var_TN"):
            getattr(out, name)[at : at + kept] = getattr(piece, name)[:kept]
    return out
