"""Other exchanges than Binance: hourly candles in US dollars around the simulated prices, with planted faults.

A venue's close is the perpetual's times `exp(NOISE_SD * n)`, n normal by hour, coin and venue; its open is its own last close.
In every block of `series.BLOCK` days each coin has on each venue, one after the other: a bad print (a close off by 3 to 12 %),
a frozen feed (`STALE_HOURS` bars that repeat the close before), and a gap (`GAP_HOURS` bars missing).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from crypto_assets.lake.tables import UTC_US
from crypto_assets.market.time import DAY, HOUR
from crypto_assets.sandbox.series import BLOCK, ORIGIN, noise

if TYPE_CHECKING:
    from crypto_assets.sandbox.randomness import Randomness
    from crypto_assets.sandbox.simulator import SimulatedMarket

NOISE_SD = 0.0005
"""Kraken's close in dollars was 0.067 % from Binance's in USDT at the median of 54,907 hours (2020 to 2023)."""
SHARES = {"coinbase": 0.30, "kraken": 0.08}
"""Turnover relative to Binance's spot market."""
BAD_PRINT = (0.03, 0.12)
STALE_HOURS = 5
GAP_HOURS = 2
REACH = 24 * HOUR
"""How far back a frozen close may come from: the frozen hours, an outage of three, and room."""
_SPOT_SHARE = 0.35
_DIGITS = 10


@dataclass(frozen=True)
class Faults:
    """What is planted on one venue for one coin: hours of bad prints with their relative errors, frozen and missing hours."""

    bad_prints: dict[datetime, float]
    stale: set[datetime]
    missing: set[datetime]


def faults(randomness: Randomness, venue: str, symbol: str, start: datetime, end: datetime) -> Faults:
    """Everything planted in the blocks of days that `[start, end)` touches."""
    first, last = ((moment.date() - ORIGIN).days // BLOCK for moment in (start, end))
    bad: dict[datetime, float] = {}
    stale: set[datetime] = set()
    missing: set[datetime] = set()
    third = 24 * BLOCK // 3
    for block in range(first, last + 1):
        rng = randomness.generator("series", block, f"{venue} faults {symbol}")
        begin = datetime(ORIGIN.year, ORIGIN.month, ORIGIN.day, tzinfo=UTC) + block * BLOCK * DAY
        wrong, still, silent = (begin + int(h + n * third) * HOUR for n, h in enumerate(rng.integers(24, third - 24, 3)))
        bad[wrong] = float(rng.choice((-1.0, 1.0)) * rng.uniform(*BAD_PRINT))
        stale |= {still + k * HOUR for k in range(STALE_HOURS)}
        missing |= {silent + k * HOUR for k in range(GAP_HOURS)}
    return Faults(bad, stale, missing)


def bars(market: SimulatedMarket, venue: str, symbol: str, start: datetime, end: datetime) -> pl.DataFrame:
    """Bars whose open lies in `[start, end)`: ts, open, high, low, close, vwap, volume, trades."""
    base = market.candles(symbol, "perp", start - REACH, end)
    if base.is_empty():
        return base.select("ts", "open", "high", "low", "close", pl.col("close").alias("vwap"), "volume", "trades")
    planted = faults(market.randomness, venue, symbol, start - REACH, end)
    away = pl.Series("away", np.exp(NOISE_SD * _noise(market.randomness, f"{venue} {symbol}", base["ts"])))
    is_stale = pl.col("ts").is_in(pl.Series(sorted(planted.stale), dtype=UTC_US))
    wrong = {moment: 1 + size for moment, size in planted.bad_prints.items()}
    off = pl.col("ts").replace_strict(pl.Series(list(wrong), dtype=UTC_US), list(wrong.values()), default=1.0)
    frame = base.with_columns(away).with_columns(
        true=pl.when(~is_stale).then(pl.col("close") * pl.col("away")).forward_fill(), is_stale=is_stale
    )
    frame = frame.with_columns(
        before=pl.col("true").shift(1).fill_null(pl.col("open") * pl.col("away")), shown=pl.col("true") * off
    )
    high = pl.when("is_stale").then("true").otherwise(pl.max_horizontal(pl.col("high") * pl.col("away"), "before", "shown"))
    low = pl.when("is_stale").then("true").otherwise(pl.min_horizontal(pl.col("low") * pl.col("away"), "before", "shown"))
    share = SHARES[venue] * _SPOT_SHARE
    prices = frame.select(
        "ts",
        *(e.round_sig_figs(_DIGITS) for e in (pl.col("before").alias("open"), high.alias("high"), low.alias("low"))),
        pl.col("shown").round_sig_figs(_DIGITS).alias("close"),
        ((high + low + pl.col("shown")) / 3).round_sig_figs(_DIGITS).alias("vwap"),
        (pl.col("volume") * share).round(8).alias("volume"),
        (pl.col("trades") * share).floor().cast(pl.Int64).alias("trades") + 1,
    )
    gone = pl.Series(sorted(planted.missing), dtype=UTC_US)
    return prices.filter(pl.col("ts") >= start, ~pl.col("ts").is_in(gone))


def rows(market: SimulatedMarket, venue: str, start: datetime, end: datetime, symbols: tuple[str, ...]) -> pl.DataFrame:
    """`bars` of every coin with `symbol` and `available_at`, the close."""
    frames = [bars(market, venue, s, start, end).with_columns(symbol=pl.lit(s)) for s in symbols]
    return pl.concat(frames).with_columns(available_at=pl.col("ts") + timedelta(hours=1))


def _noise(randomness: Randomness, name: str, ts: pl.Series) -> np.ndarray:
    """A standard normal for each hour."""
    first, last = ts[0].date(), ts[-1].date()
    drawn = noise(randomness, name, first, last, width=24).ravel()
    origin = datetime(first.year, first.month, first.day, tzinfo=UTC)
    return drawn[((ts - origin).dt.total_hours()).to_numpy()]
