"""Anomalies of candles: each kind by its definition, what is planted in the sandbox, false alarms, the past alone."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from crypto_assets.curation import candle_anomalies, candles
from crypto_assets.curation.candle_anomalies import DERIVATION, KINDS, LEAST, SPIKE, CandleAnomalies, verdict
from crypto_assets.lake import Frames, derive
from crypto_assets.lake.quarantine import split
from crypto_assets.lake.tables import TABLES
from crypto_assets.market.time import DAY, HOUR, Window
from crypto_assets.sandbox import endpoints, venues
from crypto_assets_tests.features import invariance
from crypto_assets_tests.sources.loopback import market

START = datetime(2024, 1, 1, tzinfo=UTC)
WINDOW = Window.of_days(date(2024, 1, 1), date(2024, 1, 20))
RAW = {
    "perpetual": "raw/binance_perp_candles",
    "spot": "raw/binance_candles",
    "coinbase": "raw/coinbase_candles",
    "kraken": "raw/kraken_candles",
}
FALSE_ALARMS = 2e-4
"""Bound on the share of bars that are odd in a clean market with fat tails: 8e-5 of Student's t with 4 degrees of freedom lie
beyond 15 / 0.6745 times the median of its absolute value."""


def bars(returns: np.ndarray, symbol: str = "BTC", noise: np.ndarray | float = 0.0) -> pl.DataFrame:
    """A raw candle table from hourly log returns, from START on."""
    n = len(returns)
    close = 100 * np.exp(np.cumsum(returns) + noise)
    opened = np.concatenate([close[:1], close[:-1]])
    frame = {
        "symbol": [symbol] * n,
        "ts": [START + k * HOUR for k in range(n)],
        "open": opened,
        "high": np.maximum(opened, close) * 1.001,
        "low": np.minimum(opened, close) * 0.999,
        "close": close,
        "volume": 5.0 + np.arange(n) % 97,
    }
    return shaped(pl.DataFrame(frame))


def shaped(frame: pl.DataFrame, venue: str = "perpetual") -> pl.DataFrame:
    return TABLES[RAW[venue]].shape(frame.with_columns(source=pl.lit(venue), available_at=pl.col("ts") + HOUR))


def walk(hours: int = 480, seed: int = 0, sd: float = 0.005) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, sd, hours)


def found(window: Window = WINDOW, **tables: pl.DataFrame) -> pl.DataFrame:
    """What is odd in the venues' raw tables."""
    return made({RAW[venue]: frame for venue, frame in tables.items()}, window)


def made(tables, window: Window) -> pl.DataFrame:
    frames = Frames({**{name: TABLES[name].empty() for name in RAW.values()}, **tables})
    wide = window.widen(before=DERIVATION.lookback)
    frames.frames[candles.DERIVATION.name] = derive(candles.DERIVATION, frames, wide)
    return derive(DERIVATION, frames, window)


def changed(frame: pl.DataFrame, hours: slice, **columns) -> pl.DataFrame:
    inside = pl.int_range(pl.len()).is_between(hours.start, hours.stop - 1)
    return frame.with_columns(
        pl.when(inside).then(value).otherwise(pl.col(name)).alias(name) for name, value in columns.items()
    )


def of(anomalies: pl.DataFrame, kind: str) -> list[tuple]:
    rows = anomalies.filter(pl.col("kind") == kind).sort("ts")
    return [
        ((ts - START) // HOUR, value, severity) for ts, value, severity in rows.select("ts", "value", "severity").iter_rows()
    ]


def test_a_spike_is_a_robust_score_of_the_past_alone():
    returns = walk()
    usual = np.median(np.abs(returns[300 - 168 : 300]))
    returns[300] = -1.5 * SPIKE * usual / 0.6745
    rows = of(found(perpetual=bars(returns)), "spike")
    assert [(hour, severity) for hour, _, severity in rows] == [(300, "warn")]
    assert rows[0][1] == pytest.approx(1.5 * SPIKE)


def test_a_spike_no_other_venue_saw_is_an_error_and_one_all_saw_is_a_warning():
    returns = walk()
    alone = returns.copy()
    alone[300], alone[301] = 0.2, -0.2 + alone[301]
    quiet = shaped(bars(returns), "coinbase")
    rows = of(found(perpetual=bars(alone), coinbase=quiet), "spike")
    assert rows[0][0] == 300
    assert rows[0][2] == "error"
    shared = found(perpetual=bars(alone), coinbase=shaped(bars(alone), "coinbase"))
    assert set(shared["severity"]) == {"warn"}


def test_too_few_returns_judge_no_spike():
    returns = walk(200)
    returns[LEAST - 1] = 0.5
    assert of(found(perpetual=bars(returns)), "spike") == []
    returns[LEAST + 1] = 0.5
    assert [hour for hour, _, _ in of(found(perpetual=bars(returns)), "spike")] == [LEAST + 1]


def test_a_feed_that_stands_still():
    returns = walk()
    returns[301:309] = 0
    rows = of(found(perpetual=bars(returns)), "stale")
    assert rows == [(300 + k, float(k), "error" if k >= 6 else "warn") for k in range(3, 9)]
    assert of(found(spot=bars(returns), perpetual=bars(walk(seed=1, sd=1e-9))), "stale")[0][2] == "warn"


def test_bars_without_trades_and_repeated_bars():
    frame = changed(bars(walk()), slice(300, 302), volume=0.0)
    assert of(found(perpetual=frame), "zero_volume") == [(300, 0.0, "warn"), (301, 0.0, "warn")]
    frame = bars(walk())
    before = frame.row(299, named=True)
    frame = changed(frame, slice(300, 301), **{c: before[c] for c in ("open", "high", "low", "close", "volume")})
    assert of(found(perpetual=frame), "duplicated") == [(300, before["volume"], "error")]


@pytest.mark.parametrize(("hours", "severity"), [(1, "warn"), (6, "warn"), (7, "error")])
def test_a_gap_is_seen_at_the_bar_after_it(hours, severity):
    frame = bars(walk()).filter(~pl.int_range(pl.len()).is_between(300, 299 + hours))
    anomalies = found(perpetual=frame)
    assert of(anomalies, "gap") == [(300 + hours, float(hours), severity)]
    assert anomalies.height == 1


def test_a_first_bar_and_a_return_after_a_week_are_no_gaps():
    frame = bars(walk()).filter(~pl.int_range(pl.len()).is_between(200, 200 + 168))
    assert found(perpetual=frame).is_empty()


def test_disputed_by_one_of_two_is_a_warning_by_both_an_error():
    base = walk()
    off = shaped(changed(bars(base), slice(300, 301), close=pl.col("close") * 1.05, high=pl.col("high") * 1.06), "coinbase")
    kraken = shaped(bars(base), "kraken")
    rows = of(found(perpetual=bars(base), coinbase=off, kraken=kraken), "disputed")
    assert [(hour, severity) for hour, _, severity in rows] == [(300, "warn")]
    assert rows[0][1] == pytest.approx(1 - 1 / 1.05)
    both = found(perpetual=bars(base), coinbase=off, kraken=shaped(off, "kraken"))
    assert [severity for _, _, severity in of(both, "disputed")] == ["error"]


def test_clean_series_are_quiet():
    """Normal returns of constant spread raise nothing, and fat tails (Student's t, 4 degrees) no more than stated."""
    hours, coins = 24 * 400, 5
    window = Window(START, START + hours * HOUR)
    normal = pl.concat(bars(walk(hours, k), f"N{k}") for k in range(coins))
    assert found(window, perpetual=normal, kraken=shaped(normal, "kraken")).is_empty()
    tails = np.random.default_rng(1).standard_t(4, (coins, hours)) * 0.004
    heavy = found(window, perpetual=pl.concat(bars(r, f"T{k}") for k, r in enumerate(tails)))
    assert set(heavy["kind"]) <= {"spike"}
    assert heavy.height / (hours * coins) < FALSE_ALARMS


@pytest.fixture(scope="module")
def sandbox():
    """Raw candles of two months at all four venues, and what is odd in them."""
    window = Window.of_days(date(2024, 8, 1), date(2024, 9, 29))
    symbols = ("BTC", "ETH", "SOL", "DOT")
    made_by = market().tables(window.start, window.end, symbols)
    tables = {RAW[v]: TABLES[RAW[v]].shape(made_by[RAW[v]]) for v in ("perpetual", "spot")}
    for venue in ("coinbase", "kraken"):
        rows = endpoints.tables()[f"{venue}_candles"](market(), window.start, window.end, symbols)
        tables[RAW[venue]] = TABLES[RAW[venue]].shape(rows.with_columns(source=pl.lit(venue)))
    return window, symbols, tables, made(tables, window)


@pytest.mark.parametrize("venue", ["coinbase", "kraken"])
def test_what_is_planted_in_the_sandbox_is_found_and_nothing_else(sandbox, venue):
    window, symbols, tables, anomalies = sandbox
    disputed = anomalies.filter(pl.col("kind") == "disputed").select("symbol", "ts").rows()
    for symbol in symbols:
        planted = venues.faults(market().randomness, venue, symbol, window.start, window.end)
        own = anomalies.filter(pl.col("venue") == venue, pl.col("symbol") == symbol)
        there = tables[RAW[venue]].filter(pl.col("symbol") == symbol)["ts"].to_list()
        bad = [ts for ts in planted.bad_prints if ts in there]
        assert all((symbol, ts) in disputed for ts in bad)
        stale = sorted(ts for ts in planted.stale if ts in there)
        assert own.filter(pl.col("kind") == "stale")["ts"].to_list() == stale[2:]
        gaps = own.filter(pl.col("kind") == "gap")["ts"].to_list()
        assert gaps == sorted({ts for ts in there if ts - HOUR not in there and ts > there[0]})
        assert {ts + venues.GAP_HOURS * HOUR for ts in planted.missing if ts + HOUR in planted.missing} & set(there) <= set(
            gaps
        )
        spikes = set(own.filter(pl.col("kind") == "spike")["ts"])
        assert spikes <= {ts + k * HOUR for ts in planted.bad_prints for k in (0, 1)}
        assert set(own["kind"]) <= {"stale", "gap", "spike"}


def test_rows_keep_their_schema_and_days_add_up(sandbox):
    window, _, tables, anomalies = sandbox
    assert split(CandleAnomalies, anomalies).bad.is_empty()
    days = [made(tables, Window.of_days(day, day)) for day in window.days[20:30]]
    part = anomalies.filter(pl.col("ts").dt.date().is_in(window.days[20:30]))
    assert pl.concat(days).sort("symbol", "ts", "venue", "kind").equals(part)


def test_the_future_changes_nothing(sandbox):
    window, _, tables, _ = sandbox
    short = Window(window.start + 40 * DAY, window.start + 55 * DAY)
    whole = made(tables, short)
    for cut in (short.start + 5 * DAY + 7 * HOUR, short.start + 11 * DAY):
        before = whole.filter(pl.col("available_at") <= cut)
        assert before.height
        for other in (invariance.truncated(tables, cut), invariance.perturbed(tables, cut)):
            assert made(other, short).filter(pl.col("available_at") <= cut).equals(before)


def test_the_verdict_counts_every_kind_by_day(sandbox):
    window, symbols, tables, anomalies = sandbox
    frames = Frames({**tables})
    rows = verdict(derive(candles.DERIVATION, frames, window), anomalies)
    assert rows["day"].to_list() == window.days
    assert rows["bars"].max() == 24 * len(symbols)
    assert rows.select(KINDS).sum().sum_horizontal().item() == anomalies.height
    assert rows["errors"].sum() == anomalies.filter(pl.col("severity") == "error").height
    assert verdict(TABLES["curated/candles"].empty(), CandleAnomalies.empty()).is_empty()


def test_the_lookback_covers_the_window():
    assert candle_anomalies.DERIVATION.lookback > candle_anomalies.WINDOW + HOUR
    assert timedelta(0) == candle_anomalies.DERIVATION.lookahead
