"""Forecasts, labels and oracle on one grid of hours and coins, so that every model is scored on exactly the same rows.

A grid is flat: position = hour * coins + coin. Nothing is computed here but where things lie.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl

from crypto_assets.dataset.folds import PURGE, Fold
from crypto_assets.dataset.panel import TARGETS, Panel
from crypto_assets.market.errors import SchemaError
from crypto_assets.market.time import HORIZONS, Window

Array = np.ndarray
Labels = pl.DataFrame | Panel

LABELS = (*(f"ret_{h}" for h in HORIZONS), "above_median_24h", "rv_24h")
OUTPUT_OF = {"24h_relative": "p_beats_median", "volatility": "realised_var"}
"""Forecast column of each target that is not a direction (those are `p_up`)."""
_HOUR = 3_600_000_000


@dataclass(frozen=True)
class Board:
    """`labels`, `forecasts` (target -> model) and `oracle` are flat float64 on the grid, NaN = unknown.

    `ts`: datetime64[us] of each grid hour; `tested`: flat, inside a test window of some fold.
    """

    ts: Array
    symbols: tuple[str, ...]
    tested: Array
    labels: dict[str, Array]
    forecasts: dict[str, dict[str, Array]]
    oracle: dict[str, Array]

    @property
    def hour(self) -> Array:
        """Grid hour of each position."""
        return np.repeat(np.arange(len(self.ts)), len(self.symbols))

    def truth(self, target: str) -> Array:
        """1 or 0 for a direction target, realised variance for `volatility`; NaN = unknown, or neither (a tie)."""
        if target == "volatility":
            return np.where(self.labels["rv_24h"] > 0, self.labels["rv_24h"], np.nan)
        if target == "24h_relative":
            return self.labels["above_median_24h"]
        ret = self.labels[f"ret_{target}"]
        return np.where(np.isnan(ret) | (ret == 0), np.nan, (ret > 0).astype(np.float64))

    def returns(self, target: str) -> Array:
        """The log return that the target is about."""
        return self.labels[f"ret_{horizon_of(target)}"]


def horizon_of(target: str) -> str:
    """`1h`, `4h` or `24h`: how far ahead the target looks."""
    return target if target in HORIZONS else "24h"


def align(
    forecasts: Mapping[str, pl.DataFrame], labels: Labels, folds: Sequence[Fold], oracle: pl.DataFrame | None = None
) -> Board:
    """Lay everything out on the grid of the labels, within the test windows of `folds`.

    `forecasts`: model -> table of the `forecasts/<model>` schema; symbols and times without a label are left aside.
    `labels`: `labels/targets`, or a panel. `oracle`: symbol, ts, p_up, p_up_latent, rv_24h_forecast.
    Raises SchemaError for times off the hour, repeated keys, and a forecast that was trained on labels of its own window.
    """
    span = Window(min(f.test.start for f in folds), max(f.test.end for f in folds))
    ts = np.arange(_naive(span.start), _naive(span.end), np.timedelta64(1, "h"))
    symbols = labels.symbols if isinstance(labels, Panel) else tuple(sorted(labels["symbol"].unique().to_list()))
    hours = np.zeros(len(ts), dtype=bool)
    for fold in folds:
        hours |= (ts >= _naive(fold.test.start)) & (ts < _naive(fold.test.end))
    tested = np.repeat(hours, len(symbols))
    known = _panel_labels(labels, ts) if isinstance(labels, Panel) else _lay(labels, LABELS, ts, symbols, "labels/targets")
    board = Board(ts, symbols, tested, known, {t: {} for t in (*TARGETS, "volatility")}, {})
    for model, table in forecasts.items():
        for target, values in _model(model, table, ts, symbols, span).items():
            if np.any(tested & ~np.isnan(values)):
                board.forecasts[target][model] = values
    if oracle is not None:
        columns = [c for c in ("p_up", "p_up_latent", "rv_24h_forecast") if c in oracle.columns]
        board.oracle.update(_lay(oracle, columns, ts, symbols, "oracle"))
    return board


def _model(model: str, table: pl.DataFrame, ts: Array, symbols: tuple[str, ...], span: Window) -> dict[str, Array]:
    rows = table.filter(pl.col("ts").is_between(span.start, span.end, closed="left"))
    early = rows.filter(pl.col("trained_until") + PURGE > pl.col("ts"))
    if early.height:
        worst = early.row(0, named=True)
        raise SchemaError(
            f"{model}: the forecast of {worst['symbol']} at {worst['ts']} comes from a fit that used labels until "
            f"{worst['trained_until']}, expected at least {PURGE} before it: refit on the fold's own training window"
        )
    found: dict[str, Array] = {}
    for horizon in HORIZONS:
        targets = [horizon] if horizon != "24h" else ["24h", "24h_relative", "volatility"]
        columns = {t: OUTPUT_OF.get(t, "p_up") for t in targets}
        part = rows.filter(pl.col("horizon") == horizon)
        laid = _lay(part, sorted(set(columns.values())), ts, symbols, f"forecasts of {model} at {horizon}")
        found |= {target: laid[column] for target, column in columns.items()}
    return found


def _lay(rows: pl.DataFrame, columns: Sequence[str], ts: Array, symbols: tuple[str, ...], what: str) -> dict[str, Array]:
    """Each column on the flat grid, NaN elsewhere; rows outside the grid are left aside."""
    out = {c: np.full(len(ts) * len(symbols), np.nan) for c in columns}
    start, end = _aware(ts[0]), _aware(ts[-1])
    rows = rows.filter(pl.col("symbol").is_in(symbols) & pl.col("ts").is_between(start, end))
    if rows.is_empty():
        return out
    coin = rows["symbol"].replace_strict(list(symbols), list(range(len(symbols))), return_dtype=pl.Int64).to_numpy()
    since = rows["ts"].cast(pl.Datetime("us", "UTC")).to_physical().to_numpy() - ts[0].astype(np.int64)
    if np.any(since % _HOUR):
        bad = rows.row(int(np.argmax(since % _HOUR != 0)), named=True)
        raise SchemaError(f"{what}: {bad['symbol']} at {bad['ts']} is off the hour, expected hourly decision times")
    at = since // _HOUR * len(symbols) + coin
    if len(at) > 1 and np.bincount(at).max() > 1:
        bad = rows.row(int(np.flatnonzero(np.bincount(at)[at] > 1)[0]), named=True)
        raise SchemaError(f"{what}: {bad['symbol']} at {bad['ts']} is there twice, expected one row: drop the repeated one")
    for column in columns:
        out[column][at] = rows[column].cast(pl.Float64).fill_null(float("nan")).to_numpy()
    return out


def _panel_labels(panel: Panel, ts: Array) -> dict[str, Array]:
    """The panel's labels on the grid; hours the panel does not have, and coins not listed, are NaN."""
    hours = ((panel.ts.astype("datetime64[us]") - ts[0]).astype(np.int64)) // _HOUR
    inside = (hours >= 0) & (hours < len(ts))
    out = {}
    for name in LABELS:
        grid = np.full((len(ts), len(panel.symbols)), np.nan)
        grid[hours[inside]] = np.where(panel.listed_TN, panel.labels[name], np.nan)[inside]
        out[name] = grid.ravel()
    return out


def _naive(moment: datetime) -> np.datetime64:
    return np.datetime64(moment.replace(tzinfo=None), "us")


def _aware(moment: np.datetime64) -> datetime:
    return datetime.fromtimestamp(0, UTC) + timedelta(microseconds=int(moment.astype(np.int64)))
