"""Charting columns against TA-Lib, plain loops and closed forms."""

from __future__ import annotations

import math
from datetime import date

import numpy as np
import polars as pl
import pytest
import talib

from crypto_assets.features import _chart_kernels as kernels
from crypto_assets.features.chart import COLUMNS, DIFFERENCE_HOURS, DIFFERENCE_ORDER, FAMILY, _fractional
from crypto_assets_tests.features.market import random_market


@pytest.fixture(scope="module")
def candles() -> pl.DataFrame:
    return random_market(("BTC", "ETH"), date(2024, 1, 1), 60, seed=3)["curated/candles"]


@pytest.fixture(scope="module")
def coin(candles):
    return candles.filter(pl.col("symbol") == "ETH").sort("ts")


@pytest.fixture(scope="module")
def rows(candles):
    return FAMILY.compute(candles.lazy()).collect().filter(pl.col("symbol") == "ETH").sort("ts")


def arrays(coin):
    return (coin[c].to_numpy() for c in ("high", "low", "close", "volume"))


def same(found, expected):
    found = found.to_numpy() if isinstance(found, pl.Series) else found
    both = np.isfinite(found) & np.isfinite(expected)
    assert both.sum() > 0.5 * len(found)
    np.testing.assert_allclose(found[both], expected[both], rtol=1e-8, atol=1e-9)


def test_every_column_has_values(rows):
    assert rows.height
    assert all(rows[name].is_not_null().mean() > 0.4 for name in COLUMNS)


def test_lines_are_talibs(coin, rows):
    high, low, close, volume = arrays(coin)
    atr = talib.ATR(high, low, close, 14)
    same(rows["parabolic_sar"], (close - talib.SAR(high, low, 0.02, 0.2)) / atr)
    same(rows["momentum_10"], talib.MOM(close, 10) / atr)
    same(rows["roc_24"], talib.ROCP(close, 24) / (atr / close * math.sqrt(24)))
    same(rows["keltner"], (close - talib.EMA(close, 20)) / (2 * talib.ATR(high, low, close, 10)))
    same(rows["chaikin_oscillator"], talib.ADOSC(high, low, close, volume, 3, 10) / talib.SMA(volume, 24))
    line = talib.AD(high, low, close, volume)
    same(rows["accumulation_24"][24:], (line[24:] - line[:-24]) / (talib.SMA(volume, 24)[24:] * 24))


def test_ichimoku_is_as_drawn_over_the_bar(coin, rows):
    high, low, close, _ = arrays(coin)
    atr = talib.ATR(high, low, close, 14)

    def middle(n, at):
        return (high[at - n + 1 : at + 1].max() + low[at - n + 1 : at + 1].min()) / 2

    for at in (300, 777, 1200):
        cloud_a = (middle(9, at - 26) + middle(26, at - 26)) / 2
        cloud_b = middle(52, at - 26)
        assert rows["ichimoku_conversion"][at] == pytest.approx((middle(9, at) - middle(26, at)) / atr[at])
        assert rows["ichimoku_base"][at] == pytest.approx((close[at] - middle(26, at)) / atr[at])
        assert rows["ichimoku_thickness"][at] == pytest.approx((cloud_a - cloud_b) / atr[at])
        assert rows["ichimoku_cloud"][at] == pytest.approx((close[at] - (cloud_a + cloud_b) / 2) / atr[at])


def test_volume_weighted_price(coin, rows):
    high, low, close, volume = arrays(coin)
    typical, at = (high + low + close) / 3, 900
    for bars in (24, 168):
        piece = slice(at - bars + 1, at + 1)
        vwap = np.average(typical[piece], weights=volume[piece])
        assert rows[f"vwap_{bars}"][at] == pytest.approx((close[at] - vwap) / talib.ATR(high, low, close, 14)[at])


def path(coin):
    """Supertrend of a coin as one path, and its arrays."""
    high, low, close, _ = arrays(coin)
    atr = talib.ATR(high, low, close, 10)
    return kernels.supertrend(high, low, close, atr, 3.0, *kernels.restarts(np.zeros(len(close), int), 168, 0)), close


def test_supertrend_turns_only_when_its_band_is_crossed(coin):
    (line, side), close = path(coin)
    known = np.flatnonzero(np.isfinite(line))
    assert {-1.0, 1.0} == set(side[known])
    for i in known[1:]:
        assert (close[i] >= line[i]) == (side[i] > 0)
        if side[i] == side[i - 1]:
            forward = line[i] - line[i - 1]
            assert forward * side[i] >= -1e-12, "a band only tightens while the side holds"


def test_the_paths_of_the_weeks_are_that_of_the_whole_once_both_have_turned(coin, rows):
    (line, _), close = path(coin)
    high, low, _, _ = arrays(coin)
    atr = talib.ATR(high, low, close, 14)
    same(rows["supertrend"], (close - line) / atr)


def test_a_path_begins_where_its_week_says_and_not_where_the_bars_do():
    hour = np.arange(1000, 3000)
    begins, starts = kernels.restarts(hour, 168, 300)
    later, from_later = kernels.restarts(hour[700:], 168, 300)
    at = [begins.tolist().index(b + 700) for b in later[3:]]
    assert (hour[begins][1:] % 168 == 0).all()
    assert (starts[at] == from_later[3:] + 700).all()
    assert (hour[begins[at]] - hour[starts[at]] == 300).all()


def test_volume_profile_of_a_known_market():
    high = np.full(200, 110.0)
    low = np.full(200, 100.0)
    close, volume = np.full(200, 105.0), np.ones(200)
    high[50:], low[50:] = 102.5, 102.5
    control, above, entropy = kernels.volume_profile(high, low, close, volume, 100, 10)
    assert np.isnan(control[:99]).all()
    assert control[120] == pytest.approx(102.5), "most volume lies where most bars were"
    assert above[99] == pytest.approx((50 * 0.5) / 100), "half of the bars spread over the range, half of that above"
    assert np.isnan(control[199]), "no range, no profile"
    assert 0 < entropy[120] < entropy[99] < 1


def test_fractional_differences_of_a_random_walk():
    close = np.exp(np.cumsum(0.01 * np.random.default_rng(0).standard_normal(5000)))
    weights = np.ones(DIFFERENCE_HOURS)
    for k in range(1, DIFFERENCE_HOURS):
        weights[k] = weights[k - 1] * (k - 1 - DIFFERENCE_ORDER) / k
    plain = np.convolve(np.log(close) - np.log(close[0]), weights, "valid")
    returns = np.diff(np.log(close))
    cumulated = np.cumsum(weights)[:-1]
    level = (np.log(close) - np.log(close[0]))[: len(plain)] * weights.sum()
    found = _fractional(close)[DIFFERENCE_HOURS - 1 :] * np.sqrt(np.sum(cumulated**2))
    np.testing.assert_allclose(found, plain - level, atol=1e-9)
    assert np.nanstd(_fractional(close)) == pytest.approx(returns.std(), rel=0.1)


def test_seasonality_is_of_the_hour_that_opens():
    hours = 24 * 40
    first = pl.datetime(2024, 1, 1, time_zone="UTC")
    ts = pl.datetime_range(first, first + pl.duration(hours=hours - 1), "1h", eager=True).cast(pl.Datetime("us", "UTC"))
    opens_at = ts.dt.hour().to_numpy()
    size = np.where(opens_at == 14, 0.03, 0.01) * np.where(np.arange(hours) % 2, 1, -1)
    close = 100 * np.exp(np.cumsum(size))
    frame = pl.DataFrame({"symbol": ["BTC"] * hours, "ts": ts, "close": close})
    frame = frame.with_columns(
        open=pl.col("close"), high=pl.col("close") * 1.01, low=pl.col("close") * 0.99, volume=pl.lit(1.0)
    )
    rows = FAMILY.compute(frame.lazy()).collect().drop_nulls("seasonal_variance")
    by_hour = rows.group_by(pl.col("ts").dt.hour().alias("hour")).agg(pl.col("seasonal_variance").mean())
    assert by_hour.sort("seasonal_variance")["hour"][-1] == 14, "known at 14:00, of the bar that opens at 14:00"
    mean = (23 * 1e-4 + 9e-4) / 24
    assert by_hour.filter(pl.col("hour") == 14)["seasonal_variance"][0] == pytest.approx(math.log(9e-4 / mean), abs=0.02)
