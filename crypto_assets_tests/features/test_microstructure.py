"""Order flow, depth, positions and premium against plain numpy on the rows known at an hour."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from crypto_assets.features.microstructure import FAMILY, RATIOS
from crypto_assets.lake import Frames, derive
from crypto_assets.market.time import HOUR, Window
from crypto_assets_tests.features.further import trades
from crypto_assets_tests.features.market import random_market

SYMBOLS = ("BTC", "ETH")
FIRST = date(2024, 1, 1)
WINDOW = Window.of_days(date(2024, 1, 14), date(2024, 1, 16))


@pytest.fixture(scope="module")
def tables():
    found = random_market(SYMBOLS, FIRST, 17, seed=4)
    start = datetime(2024, 1, 1, tzinfo=UTC)
    return {**found, "raw/binance_trades": trades(np.random.default_rng(4), SYMBOLS, start, 17, share=0.9)}


@pytest.fixture(scope="module")
def rows(tables):
    return derive(FAMILY.derivation(), Frames(tables), WINDOW)


def bars_of(rows: pl.DataFrame, n: int = 12) -> list[dict]:
    rng = np.random.default_rng(1)
    return rows[sorted(rng.choice(rows.height, n, replace=False))].to_dicts()


def minutes(tables, symbol: str, at: datetime, hours: int) -> pl.DataFrame:
    """First versions of the minutes of `hours` hours, each known at its hour's end."""
    frame = tables["raw/binance_trades"].filter(
        pl.col("symbol") == symbol, pl.col("ts") >= at - hours * HOUR, pl.col("ts") < at
    )
    known = frame.filter(pl.col("available_at") <= pl.col("ts").dt.truncate("1h") + HOUR).sort("ts", "available_at")
    return known.unique("ts", keep="first", maintain_order=True)


def regression(frame: pl.DataFrame) -> tuple[float, float]:
    """Slope and correlation of minute returns on flow; a return needs a minute before it in the hour."""
    hour = frame["ts"].dt.truncate("1h").to_numpy()
    inside = hour[1:] == hour[:-1]
    flow = ((2 * frame["taker_buy_volume"] - frame["volume"]) * frame["vwap"]).to_numpy()[1:][inside]
    r = np.diff(np.log(frame["close"].to_numpy()))[inside]
    return np.polyfit(flow, r, 1)[0], np.corrcoef(flow, r)[0, 1]


@pytest.mark.parametrize("hours", [1, 4, 24])
def test_flow(tables, rows, hours):
    for bar in bars_of(rows):
        frame = minutes(tables, bar["symbol"], bar["ts"], hours)
        bought, volume = frame["taker_buy_volume"].to_numpy(), frame["volume"].to_numpy()
        assert bar[f"trade_imbalance_{hours}h"] == pytest.approx(
            (2 * bought - volume).sum() / volume.sum(), rel=1e-9, abs=1e-12
        )
        assert bar[f"buy_minutes_{hours}h"] == pytest.approx((2 * bought > volume).mean() - 0.5)
        hour = frame["ts"].dt.truncate("1h").to_numpy()
        sign = np.sign(2 * bought - volume)
        pairs = (sign[1:] * sign[:-1])[hour[1:] == hour[:-1]]
        assert bar[f"buy_persistence_{hours}h"] == pytest.approx(pairs.mean(), rel=1e-9, abs=1e-12)
        vwap = frame["quote_volume_usd"].sum() / volume.sum()
        assert bar[f"vwap_deviation_{hours}h"] == pytest.approx(math.log(frame["close"][-1] / vwap), rel=1e-7, abs=1e-12)
        slope, correlation = regression(frame)
        day = minutes(tables, bar["symbol"], bar["ts"], 24)
        wanted = slope * day["quote_volume_usd"].sum() / day.height * 1e4
        assert bar[f"impact_{hours}h"] == pytest.approx(wanted, rel=1e-6, abs=1e-9)
        if hours == 24:
            assert bar["flow_correlation_24h"] == pytest.approx(correlation, rel=1e-6, abs=1e-9)


def test_trades_against_their_past(tables, rows):
    for bar in bars_of(rows, 4):
        hours = [minutes(tables, bar["symbol"], bar["ts"] - k * HOUR, 1) for k in range(168)]
        count = np.log1p([h["trades"].sum() for h in hours])
        size = np.log([h["quote_volume_usd"].sum() / h["trades"].sum() for h in hours])
        for name, x in (("trade_count_z_168h", count), ("trade_size_z_168h", size)):
            assert bar[name] == pytest.approx((x[0] - x.mean()) / x.std(ddof=1), rel=1e-7)
        square = [(np.diff(np.log(h["close"].to_numpy())) ** 2).sum() for h in hours[:24]]
        assert bar["minute_log_rv_1h"] == pytest.approx(math.log(square[0] + 1e-10), rel=1e-9)
        assert bar["minute_log_rv_24h"] == pytest.approx(math.log(np.mean(square) + 1e-10), rel=1e-9)


def test_impact_is_found_again():
    """Prices that move by a known amount for each USDT bought give that amount back."""
    start = datetime(2024, 1, 1, tzinfo=UTC)
    made = trades(np.random.default_rng(0), ("BTC",), start, 3, share=1.0).unique(["symbol", "ts"], keep="first").sort("ts")
    flow = (2 * made["taker_buy_volume"] - made["volume"]) * 100
    made = made.with_columns(vwap=100.0, quote_volume_usd=pl.col("volume") * 100, close=(flow * 1e-7).cum_sum().exp() * 100)
    tables = {**random_market(("BTC",), FIRST, 3), "raw/binance_trades": made}
    rows = derive(FAMILY.derivation(), Frames(tables), Window.of_days(date(2024, 1, 2), date(2024, 1, 3)))
    mean = made["quote_volume_usd"].mean()
    assert rows["impact_4h"].drop_nulls().len() > 30
    assert rows["impact_4h"].mean() == pytest.approx(1e-7 * mean * 1e4, rel=0.05)
    assert rows["flow_correlation_24h"].drop_nulls().min() == pytest.approx(1.0)


def snapshots(tables, symbol: str, at: datetime) -> list[tuple[datetime, dict[float, float]]]:
    """(hour, band -> USD) of the snapshots known at a moment, as first published, with all four bands; oldest first."""
    frame = tables["raw/binance_depth"].filter(pl.col("symbol") == symbol, pl.col("available_at") <= at).sort("available_at")
    found: dict[datetime, dict[float, float]] = {}
    for row in frame.iter_rows(named=True):
        found.setdefault(row["ts"], {}).setdefault(row["band_pct"], row["notional_usd"])
    return sorted((ts, bands) for ts, bands in found.items() if {-5.0, -1.0, 1.0, 5.0} <= set(bands))


def test_depth(tables, rows):
    imbalance = lambda bands, k: (bands[-k] - bands[k]) / (bands[-k] + bands[k])  # noqa: E731
    known = 0
    for bar in bars_of(rows, 20):
        seen = snapshots(tables, bar["symbol"], bar["ts"])
        ts, now = seen[-1]
        if bar["ts"] - ts > timedelta(hours=40):
            assert bar["imbalance_1pct"] is None
            continue
        assert bar["depth_age"] == (bar["ts"] - ts) / HOUR
        assert bar["imbalance_1pct"] == pytest.approx(imbalance(now, 1.0))
        assert bar["imbalance_5pct"] == pytest.approx(imbalance(now, 5.0))
        assert bar["bid_slope"] == pytest.approx(math.log(now[-5.0] / now[-1.0]) / math.log(5))
        assert bar["ask_slope"] == pytest.approx(math.log(now[5.0] / now[1.0]) / math.log(5))
        total = {t: math.log(b[-1.0] + b[1.0]) for t, b in seen}
        day = [imbalance(b, 1.0) for t, b in seen if t > ts - 24 * HOUR]
        assert bar["imbalance_1pct_24h"] == (pytest.approx(np.mean(day)) if len(day) >= 18 else None)
        week = np.array([v for t, v in total.items() if t > ts - 168 * HOUR])
        assert bar["depth_z_168h"] == pytest.approx((total[ts] - week.mean()) / week.std(ddof=1), rel=1e-7)
        before = total.get(ts - 24 * HOUR)
        assert bar["depth_change_24h"] == (None if before is None else pytest.approx(total[ts] - before, abs=1e-12))
        known += 1
    assert known > 15


def last(tables, table: str, symbol: str, at: datetime, column: str) -> float | None:
    """The newest row's value known at a moment, three hours old at most."""
    frame = tables[table].filter(pl.col("symbol") == symbol, pl.col("available_at") <= at).sort("ts")
    return frame[column][-1] if frame.height and at - frame["ts"][-1] <= 3 * HOUR else None


def log_of(value: float | None) -> float | None:
    return None if value is None else math.log(value)


def check_moves(bar: dict, name: str, past: list[float | None], changes: dict[str, int], z: str | None) -> None:
    """Level, changes and the distance from 168 hourly values, newest first."""
    assert bar.get(name, past[0]) == (None if past[0] is None else pytest.approx(past[0], rel=1e-9, abs=1e-12))
    for column, h in changes.items():
        wanted = None if past[0] is None or past[h] is None else past[0] - past[h]
        assert bar[column] == (None if wanted is None else pytest.approx(wanted, rel=1e-7, abs=1e-11)), column
    values = np.array([v for v in past if v is not None])
    if z and past[0] is not None and len(values) >= 135:
        assert bar[z] == pytest.approx((past[0] - values.mean()) / values.std(ddof=1), rel=1e-6, abs=1e-8)


def test_open_interest_and_ratios(tables, rows):
    for bar in bars_of(rows, 5):
        at = [bar["ts"] - k * HOUR for k in range(168)]
        past = {
            c: [log_of(last(tables, "raw/binance_open_interest", bar["symbol"], t, c)) for t in at]
            for c in ("open_interest", *RATIOS)
        }
        changes = {f"oi_change_{h}h": h for h in (1, 4, 24)}
        check_moves(bar, "open_interest", past["open_interest"], changes, "oi_z_168h")
        for name in RATIOS:
            check_moves(bar, name, past[name], {f"{name}_change_24h": 24}, f"{name}_z_168h")


def test_premium(tables, rows):
    for bar in bars_of(rows, 5):
        at = [bar["ts"] - k * HOUR for k in range(168)]
        past = [last(tables, "raw/binance_basis", bar["symbol"], t, "basis") for t in at]
        check_moves(bar, "premium", past, {"premium_change_1h": 1, "premium_change_24h": 24}, "premium_z_168h")
        high, low = (last(tables, "raw/binance_basis", bar["symbol"], bar["ts"], f"basis_{c}") for c in ("high", "low"))
        assert bar["premium_range"] == (None if high is None else pytest.approx(high - low))


def test_own_snapshots_of_the_book(tables, rows):
    for bar in bars_of(rows):
        columns = ("spread_bps", "imbalance", "bid_100bps_usd", "ask_100bps_usd")
        spread, near, bid, ask = (last(tables, "raw/binance_book", bar["symbol"], bar["ts"], c) for c in columns)
        assert bar["book_spread"] == (None if spread is None else pytest.approx(math.log(spread), abs=1e-12))
        assert bar["book_imbalance_10bps"] == near
        assert bar["book_imbalance_100bps"] == (None if bid is None else pytest.approx((bid - ask) / (bid + ask)))


def test_without_a_table_its_columns_are_null_and_the_others_are_the_same(tables, rows):
    groups = {
        "raw/binance_trades": [c for c in FAMILY.columns if c.startswith(("trade", "buy", "vwap", "impact", "flow", "minute"))],
        "raw/binance_depth": [c for c in FAMILY.columns if c.startswith(("imbalance", "bid", "ask", "depth"))],
        "raw/binance_book": [c for c in FAMILY.columns if c.startswith("book")],
        "raw/binance_open_interest": [c for c in FAMILY.columns if c.startswith("oi") or "_ratio" in c],
        "raw/binance_basis": [c for c in FAMILY.columns if c.startswith("premium")],
    }
    assert sorted(c for group in groups.values() for c in group) == sorted(FAMILY.columns)
    for table, group in groups.items():
        bare = derive(FAMILY.derivation(), Frames({**tables, table: tables[table].clear()}), WINDOW)
        assert all(bare[c].null_count() == bare.height for c in group), table
        assert bare.drop(group).equals(rows.drop(group)), table
