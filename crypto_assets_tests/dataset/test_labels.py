"""Labels against the plain loop over a dictionary of closes."""

from __future__ import annotations

import math
from datetime import date, timedelta
from statistics import median

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crypto_assets.dataset.labels import DERIVATION
from crypto_assets.lake import Frames, derive
from crypto_assets.market.time import HORIZONS, Window
from crypto_assets_tests.features.market import random_market

FIRST = date(2024, 1, 1)
SYMBOLS = ("BTC", "ETH", "SOL", "ADA")
HOUR = timedelta(hours=1)


@pytest.fixture(scope="module")
def candles():
    return random_market(SYMBOLS, FIRST, 12, seed=2)["curated/candles"]


def labels(candles: pl.DataFrame, first: date = FIRST, last: date = date(2024, 1, 13)) -> pl.DataFrame:
    return derive(DERIVATION, Frames({"curated/candles": candles}), Window.of_days(first, last))


def closes(candles: pl.DataFrame) -> dict:
    return {(s, t): c for s, t, c in candles.select("symbol", "available_at", "close").iter_rows()}


def ahead(close: dict, symbol: str, ts, hours: int) -> float | None:
    later = close.get((symbol, ts + hours * HOUR))
    return None if later is None else math.log(later / close[symbol, ts])


def test_returns_and_variance_equal_the_loop(candles):
    close = closes(candles)
    rows = labels(candles)
    assert rows.height == candles.height
    unknown = 0
    for row in rows.iter_rows(named=True):
        symbol, ts = row["symbol"], row["ts"]
        assert row["available_at"] == ts + 24 * HOUR
        for name, hours in HORIZONS.items():
            wanted = ahead(close, symbol, ts, hours)
            assert row[f"ret_{name}"] == (None if wanted is None else pytest.approx(wanted, abs=1e-14))
        steps = [ahead(close, symbol, ts + k * HOUR, 1) if (symbol, ts + k * HOUR) in close else None for k in range(24)]
        unknown += None in steps
        wanted = None if None in steps else pytest.approx(sum(s * s for s in steps), rel=1e-9)
        assert row["rv_24h"] == wanted
    assert 100 < unknown < rows.height / 2


def test_above_the_median_is_strict_and_equality_is_left_out(candles):
    close = closes(candles)
    rows = labels(candles)
    for ts in rows["ts"].unique().sort().gather_every(7):
        here = rows.filter(pl.col("ts") == ts)
        returns = {s: ahead(close, s, ts, 24) for s in here["symbol"]}
        known = [r for r in returns.values() if r is not None]
        for symbol, found in here.select("symbol", "above_median_24h").iter_rows():
            r = returns[symbol]
            middle = median(known) if known else None
            wanted = None if r is None or r == middle else float(r > middle)
            assert found == wanted


@settings(max_examples=25, deadline=None)
@given(st.lists(st.sampled_from([0.9, 1.0, 1.1, 1.2]), min_size=1, max_size=7))
def test_ties_with_the_median_are_null(moves):
    start = random_market(("BTC",), FIRST, 3)["curated/candles"].with_columns(close=1.0)
    coins = [f"C{i}" for i in range(len(moves))]
    both = start.filter(pl.col("ts").is_in([start["ts"][3], start["ts"][3] + 24 * HOUR]))
    frames = [both.with_columns(symbol=pl.lit(c), close=pl.Series([1.0, m])) for c, m in zip(coins, moves, strict=True)]
    rows = labels(pl.concat(frames)).filter(pl.col("ret_24h").is_not_null())
    for coin, move in zip(coins, moves, strict=True):
        found = rows.filter(pl.col("symbol") == coin)["above_median_24h"].item()
        assert found == (None if move == median(moves) else float(move > median(moves)))


def test_a_day_by_itself_equals_that_day_of_everything(candles):
    """The lookahead is enough: read with it alone, a day's labels are the same."""
    whole = labels(candles)
    for day in (date(2024, 1, 4), date(2024, 1, 9)):
        alone = labels(candles, day, day)
        assert alone.height > 80
        same = whole.filter(pl.col("ts").dt.date() == day)
        assert alone.equals(same)


def test_labels_look_ahead_and_say_so(candles):
    assert DERIVATION.lookahead == 25 * HOUR
    cut = labels(candles)["ts"].median()
    known = labels(candles.filter(pl.col("available_at") <= cut))
    assert known.filter(pl.col("ts") == known["ts"].max())["ret_1h"].null_count() > 0


def test_no_candles_give_no_labels(candles):
    assert labels(candles.clear()).is_empty()
