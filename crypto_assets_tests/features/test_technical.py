"""Technical columns against TA-Lib's own functions and against numpy, one coin at a time."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest
import talib

from crypto_assets.features.technical import FAMILY
from crypto_assets.lake import Frames, derive
from crypto_assets.market.time import Window
from crypto_assets_tests.features.market import random_market

DAYS = 40
WINDOW = Window.of_days(date(2024, 1, 1), date(2024, 1, 1) + timedelta(days=DAYS))


@pytest.fixture(scope="module")
def candles():
    return random_market(("BTC", "ETH"), date(2024, 1, 1), DAYS, seed=5)["curated/candles"]


@pytest.fixture(scope="module")
def features(candles):
    return derive(FAMILY.derivation(), Frames({"curated/candles": candles}), WINDOW)


ORACLES = {
    "rsi_14": lambda o, h, lo, c, v: talib.RSI(c, 14) / 50 - 1,
    "macd_hist": lambda o, h, lo, c, v: talib.MACD(c, 12, 26, 9)[2] / talib.ATR(h, lo, c, 14),
    "adx_14": lambda o, h, lo, c, v: talib.ADX(h, lo, c, 14) / 100,
    "cci_20": lambda o, h, lo, c, v: talib.CCI(h, lo, c, 20) / 100,
    "stoch_k_14": lambda o, h, lo, c, v: talib.STOCH(h, lo, c, 14, 3, 0, 3, 0)[0] / 50 - 1,
    "williams_r_14": lambda o, h, lo, c, v: talib.WILLR(h, lo, c, 14) / 50 + 1,
    "ema_72": lambda o, h, lo, c, v: (c - talib.EMA(c, 72)) / talib.ATR(h, lo, c, 14),
    "sma_168": lambda o, h, lo, c, v: (c - talib.SMA(c, 168)) / talib.ATR(h, lo, c, 14),
    "mfi_14": lambda o, h, lo, c, v: talib.MFI(h, lo, c, v, 14) / 50 - 1,
    "aroon_25": lambda o, h, lo, c, v: talib.AROONOSC(h, lo, 25) / 100,
    "atr_14": lambda o, h, lo, c, v: np.log(talib.ATR(h, lo, c, 14) / c),
}


@pytest.mark.parametrize("symbol", ["BTC", "ETH"])
@pytest.mark.parametrize("column", ORACLES)
def test_equals_talib_over_the_bars_there_are(column, symbol, candles, features):
    bars = candles.filter(pl.col("symbol") == symbol)
    wanted = ORACLES[column](*(bars[c].to_numpy() for c in ("open", "high", "low", "close", "volume")))
    found = features.filter(pl.col("symbol") == symbol)[column].to_numpy()
    assert found.shape == wanted.shape
    np.testing.assert_allclose(found, wanted, rtol=1e-8, atol=1e-10)
    assert np.isfinite(found).mean() > 0.8


def _grid(candles: pl.DataFrame, symbol: str) -> tuple[np.ndarray, np.ndarray]:
    """Close on the complete hourly grid, NaN where missing, and which hours have a bar."""
    bars = candles.filter(pl.col("symbol") == symbol)
    at = ((bars["ts"] - bars["ts"].min()).dt.total_hours()).to_numpy()
    close = np.full(at.max() + 1, np.nan)
    close[at] = bars["close"].to_numpy()
    return close, at


def test_returns_are_over_their_hours_and_null_where_a_bar_is_missing(candles, features):
    close, at = _grid(candles, "ETH")
    log = np.log(close)
    r = np.append(np.nan, np.diff(log))
    known = np.lib.stride_tricks.sliding_window_view(np.append(np.full(167, np.nan), r), 168)
    count = np.isfinite(known).sum(1)
    sd = np.where(count >= 135, np.sqrt(np.nansum(known**2, axis=1) / np.maximum(count, 1) + 1e-10), np.nan)
    rows = features.filter(pl.col("symbol") == "ETH")
    for hours in (2, 24):
        wanted = np.full_like(log, np.nan)
        wanted[hours:] = (log[hours:] - log[:-hours]) / (sd[hours:] * np.sqrt(hours))
        np.testing.assert_allclose(rows[f"return_{hours}h"].to_numpy(), wanted[at], rtol=1e-8)
    lag = np.full_like(log, np.nan)
    lag[5:] = r[:-5] / sd[5:]
    np.testing.assert_allclose(rows["return_lag_5h"].to_numpy(), lag[at], rtol=1e-8)
    assert np.isnan(lag[at][200:]).any()


def test_realised_variance_is_the_log_of_the_mean_square(candles, features):
    close, at = _grid(candles, "BTC")
    r = np.append(np.nan, np.diff(np.log(close)))
    wanted = np.full(len(r), np.nan)
    for t in range(len(r)):
        window = r[max(0, t - 23) : t + 1]
        if np.isfinite(window).sum() >= 20:
            wanted[t] = np.log(np.nanmean(window**2) + 1e-10)
    np.testing.assert_allclose(features.filter(pl.col("symbol") == "BTC")["log_rv_24h"].to_numpy(), wanted[at], rtol=1e-9)


def test_prices_times_a_constant_change_nothing(candles, features):
    """Stationary forms only: no column carries the price level."""
    prices = ["open", "high", "low", "close", "spot_close"]
    scaled = candles.with_columns(pl.col(prices) * 1024)
    again = derive(FAMILY.derivation(), Frames({"curated/candles": scaled}), WINDOW)
    for column in FAMILY.columns:
        np.testing.assert_allclose(again[column].to_numpy(), features[column].to_numpy(), rtol=1e-7, atol=1e-7, err_msg=column)


def test_a_flat_market_gives_nulls_and_no_infinities():
    n = 400
    flat = random_market(("BTC",), date(2024, 1, 1), 20)["curated/candles"].head(n)
    flat = flat.with_columns(open=5.0, high=5.0, low=5.0, close=5.0, volume=0.0, taker_buy_volume=0.0)
    rows = derive(FAMILY.derivation(), Frames({"curated/candles": flat}), WINDOW)
    assert rows.height == n
    assert rows.select(pl.col(pl.Float64).is_finite().all()).row(0, named=True) == dict.fromkeys(FAMILY.columns, True)
