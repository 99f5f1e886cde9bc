"""A small market for the tests of this room: labels whose optimum is known, and forecasts made from arrays."""

from __future__ import annotations

from datetime import UTC, date, datetime

import numpy as np
import polars as pl

from crypto_assets.dataset.folds import Fold, walk_forward
from crypto_assets.dataset.panel import Panel
from crypto_assets.evaluation.ledger import Study
from crypto_assets.models._base import Forecast

SYMBOLS = ("BTC", "ETH", "SOL", "XRP")
FIRST, LAST = date(2024, 3, 1), date(2024, 5, 9)


def folds(first: date = FIRST, last: date = LAST) -> list[Fold]:
    return walk_forward(date(2024, 1, 1), first, last, "2w")


def make(seed: int = 0, edge: float = 0.0) -> tuple[Panel, np.ndarray]:
    """(panel of hourly returns with N(edge * signal, 1) / 200 shocks, `p_TN` = the exact P(up) of the next hour)."""
    from scipy.special import ndtr

    rng = np.random.default_rng(seed)
    ts = np.arange(np.datetime64("2024-01-01T00", "us"), np.datetime64("2024-05-12T00", "us"), np.timedelta64(1, "h"))
    shape = (len(ts), len(SYMBOLS))
    signal = edge * rng.normal(size=shape)
    shock = np.sqrt(0.5) * (rng.normal(size=(len(ts), 1)) + rng.normal(size=shape))
    r = np.full(shape, np.nan)
    r[1:] = (signal[:-1] + shock[1:]) / 200
    ahead = {f"ret_{h}h": _ahead(np.nan_to_num(r), h) for h in (1, 4, 24)}
    day = ahead["ret_24h"]
    above = np.where(np.isnan(day), np.nan, (day > np.median(day, axis=1, keepdims=True)).astype(float))
    labels = {**ahead, "above_median_24h": above, "rv_24h": _ahead(np.nan_to_num(r) ** 2, 24)}
    x = signal[:, :, None].astype(np.float32)
    return Panel(ts, SYMBOLS, ("test.signal",), x, r, np.ones(shape, dtype=bool), labels), ndtr(signal)


def _ahead(x: np.ndarray, hours: int) -> np.ndarray:
    total = np.concatenate([np.zeros((1, x.shape[1])), np.cumsum(x, axis=0)])
    out = np.full(x.shape, np.nan)
    out[:-hours] = total[1 + hours :] - total[1:-hours]
    return out


def table(panel: Panel, name: str = "a", *, p=None, relative=None, rv=None) -> pl.DataFrame:
    """Forecasts of the whole panel from arrays `[T, N]` (or constants); outputs not given are null."""
    forecast = Forecast.empty(panel)
    if p is not None:
        forecast.p_up_HTN[:] = p
    if relative is not None:
        forecast.p_beats_median_TN[:] = relative
    if rv is not None:
        forecast.realised_var_TN[:] = rv
    return forecast.table(name, "0" * 16, datetime(2023, 12, 31, tzinfo=UTC), panel.listed_TN)


def labels_table(panel: Panel) -> pl.DataFrame:
    """The panel's labels as `labels/targets`."""
    T, N = panel.r_TN.shape
    base = pl.DataFrame({"symbol": np.tile(SYMBOLS, T), "ts": np.repeat(panel.ts, N)})
    return base.with_columns(
        pl.col("ts").dt.replace_time_zone("UTC"),
        **{name: pl.Series(v.ravel()).fill_nan(None) for name, v in panel.labels.items()},
    )


def oracle(panel: Panel, p: np.ndarray) -> pl.DataFrame:
    """The optimum as a table; the latent one is further from 1/2."""
    base = labels_table(panel).select("symbol", "ts")
    return base.with_columns(
        p_up=pl.Series(p.ravel()),
        p_up_latent=pl.Series(np.clip(0.5 + 1.5 * (p - 0.5), 0, 1).ravel()),
        rv_24h_forecast=pl.lit(24 / 200**2),
    )


def study(names, chosen=None, *, world: str = "sandbox", **config) -> Study:
    return Study(world, SYMBOLS, ("test.signal",), tuple(chosen or folds()), {n: {"width": 1, **config} for n in names})
