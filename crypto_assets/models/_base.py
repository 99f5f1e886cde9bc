"""What every model is: `fit` makes a checkpoint, `predict` turns a checkpoint and a panel into a forecast.

Shapes: T decision times, N coins, H = 3 horizons (1h, 4h, 24h).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

import numpy as np
import polars as pl

from crypto_assets.dataset.folds import Fold
from crypto_assets.dataset.panel import Panel
from crypto_assets.lake.tables import Field, Table, Timestamp
from crypto_assets.market.time import HORIZONS, Window
from crypto_assets.models.checkpoint import Checkpoint
from crypto_assets.models.tracking import Recorder

OUTPUTS = ("p_up", "mean", "log_var", "p_beats_median", "realised_var")


@dataclass(frozen=True)
class Forecast:
    """Arrays are float64 with NaN where the model says nothing (not listed, or not one of its outputs).

    `p_up_HTN`, `mean_HTN`, `log_var_HTN`: direction, mean and log-variance of the log return. `p_beats_median_TN`: the next
    24 h return beats the cross-sectional median. `realised_var_TN`: next 24 h realised variance.
    """

    ts: np.ndarray
    symbols: tuple[str, ...]
    p_up_HTN: np.ndarray
    mean_HTN: np.ndarray
    log_var_HTN: np.ndarray
    p_beats_median_TN: np.ndarray
    realised_var_TN: np.ndarray

    @classmethod
    def empty(cls, panel: Panel) -> Forecast:
        """All NaN, for the panel's times and coins; fill in what the model declares."""
        T, N, H = len(panel.ts), len(panel.symbols), len(HORIZONS)
        cube = [np.full((H, T, N), np.nan) for _ in range(3)]
        return cls(panel.ts, panel.symbols, cube[0], cube[1], cube[2], np.full((T, N), np.nan), np.full((T, N), np.nan))

    @classmethod
    def from_table(cls, rows: pl.DataFrame, ts: np.ndarray, symbols: tuple[str, ...]) -> Forecast:
        """Lay rows of `forecasts/<name>` out on the hours `ts`, with NaN where there is no row or no value."""
        T, N = len(ts), len(symbols)
        cube = [np.full((len(HORIZONS), T, N), np.nan) for _ in range(3)]
        made = cls(ts, symbols, cube[0], cube[1], cube[2], np.full((T, N), np.nan), np.full((T, N), np.nan))
        place = {symbol: n for n, symbol in enumerate(symbols)}
        rows = rows.filter(pl.col("symbol").is_in(list(place)))
        for h, horizon in enumerate(HORIZONS):
            part = rows.filter(pl.col("horizon") == horizon)
            t = ((part["ts"].to_physical().to_numpy() - ts[0].astype("int64")) // 3_600_000_000).astype(np.int64)
            n = part["symbol"].replace_strict(place, return_dtype=pl.Int64).to_numpy()
            values = {c: part[c].fill_null(float("nan")).to_numpy() for c in OUTPUTS}
            made.p_up_HTN[h, t, n] = values["p_up"]
            made.mean_HTN[h, t, n] = values["mean"]
            made.log_var_HTN[h, t, n] = values["log_var"]
            if horizon == "24h":
                made.p_beats_median_TN[t, n] = values["p_beats_median"]
                made.realised_var_TN[t, n] = values["realised_var"]
        return made

    def of_coins(self, coins: Sequence[int] | np.ndarray) -> Forecast:
        """Of some coins, by their places."""
        n = np.asarray(coins, dtype=np.int64)
        parts = (self.p_up_HTN, self.mean_HTN, self.log_var_HTN, self.p_beats_median_TN, self.realised_var_TN)
        return Forecast(self.ts, tuple(self.symbols[i] for i in n), *(part[..., n] for part in parts))

    def table(self, name: str, model_version: str, trained_until: datetime, listed_TN: np.ndarray) -> pl.DataFrame:
        """The forecast as rows of `forecasts/<name>`, listed coins only, sorted by symbol, ts, horizon."""
        frames = []
        t, n = np.nonzero(listed_TN)
        nothing = np.full(len(t), np.nan)
        for h, horizon in enumerate(HORIZONS):
            day = horizon == "24h"
            frames.append(
                pl.DataFrame(
                    {
                        "symbol": np.asarray(self.symbols)[n],
                        "ts": self.ts[t].astype("datetime64[us]"),
                        "horizon": [horizon] * len(t),
                        "p_up": self.p_up_HTN[h, t, n],
                        "mean": self.mean_HTN[h, t, n],
                        "log_var": self.log_var_HTN[h, t, n],
                        "p_beats_median": self.p_beats_median_TN[t, n] if day else nothing,
                        "realised_var": self.realised_var_TN[t, n] if day else nothing,
                    }
                )
            )
        rows = pl.concat(frames).with_columns(
            pl.col("ts").dt.replace_time_zone("UTC"),
            pl.col(pl.Float64).fill_nan(None),
            model_version=pl.lit(model_version),
            trained_until=pl.lit(trained_until),
        )
        return forecast_table(name).shape(rows.with_columns(available_at=pl.col("ts"))).sort("symbol", "ts", "horizon")


class _Forecasts(Table):
    key = ("symbol", "ts", "horizon")
    symbol: str
    horizon: str = Field(isin=tuple(HORIZONS), meaning="how far ahead")
    p_up: float | None = Field(ge=0, le=1, meaning="P(the log return over the horizon is positive)")
    mean: float | None = Field(meaning="mean of the log return over the horizon")
    log_var: float | None = Field(meaning="log of the variance of that return")
    p_beats_median: float | None = Field(ge=0, le=1, meaning="P(24 h return beats the cross-sectional median); 24h rows")
    realised_var: float | None = Field(ge=0, meaning="realised variance of the next 24 hours; 24h rows")
    model_version: str
    trained_until: Timestamp


def forecast_table(name: str) -> type[Table]:
    """The table class of `forecasts/<name>` (or of `fusion/<name>` when the name says so)."""
    full = name if "/" in name else f"forecasts/{name}"
    return type(f"Forecasts_{name.replace('/', '_')}", (_Forecasts,), {"name": full})


class Model(Protocol):
    """A model is stateless: what it learned lives in the checkpoint."""

    name: str
    outputs: frozenset[str]
    """Which of OUTPUTS it fills."""
    doc: str

    def fit(self, panel: Panel, fold: Fold, *, preset: str, seed: int, recorder: Recorder) -> Checkpoint:
        """Learn from `fold.train`, stop and calibrate on `fold.valid`, never look further."""
        ...

    def predict(self, checkpoint: Checkpoint, panel: Panel, window: Window) -> Forecast:
        """Forecast every decision time in `window`; the panel may begin earlier, which gives context."""
        ...


@dataclass(frozen=True)
class Scaler:
    """Per-feature centre and scale from the training slice; missing values become 0 after scaling, clipped at +-`clip`."""

    centre_F: np.ndarray
    scale_F: np.ndarray
    clip: float = field(default=5.0)

    @classmethod
    def fit(cls, x_TNF: np.ndarray, listed_TN: np.ndarray, clip: float = 5.0) -> Scaler:
        """Median and interquartile range (normal-consistent) of the listed rows; a constant column gets scale 1."""
        rows = x_TNF[listed_TN]
        with np.errstate(all="ignore"):
            low, centre, high = np.nanpercentile(rows, [25, 50, 75], axis=0)
            spread = np.where((high - low) > 0, (high - low) / 1.349, np.nanstd(rows, axis=0))
        scale = np.where(np.isfinite(spread) & (spread > 0), spread, 1.0)
        return cls(np.nan_to_num(centre).astype(np.float32), scale.astype(np.float32), clip)

    def apply(self, x: np.ndarray) -> np.ndarray:
        """Scaled float32 copy, same shape."""
        scaled = (x - self.centre_F) / self.scale_F
        return np.nan_to_num(np.clip(scaled, -self.clip, self.clip), nan=0.0).astype(np.float32)
