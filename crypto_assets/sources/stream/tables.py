"""The tables of the stream: minutes and hours as they closed, one file a UTC day under `<lake>/live/`.

They are what was heard, kept for what no provider can be asked for again (books, seconds of trading); the raw tables of closed
days are fetched anew and do not depend on them. `available_at` is the end of the bar.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

import polars as pl

from crypto_assets.lake import Field, RawTable
from crypto_assets.lake.hot import HotStore
from crypto_assets.market.time import HOUR
from crypto_assets.sources._binance import CandleTable

MINUTE = timedelta(minutes=1)


class LiveCandles1m(CandleTable):
    """One bar a coin, venue and minute."""

    name = "live/candles_1m"
    cadence = MINUTE


class LiveCandles1h(CandleTable):
    """One bar a coin, venue and hour."""

    name = "live/candles_1h"
    cadence = HOUR


class LiveTrades1m(RawTable):
    """Trades of a minute, added up; a minute without a trade has no row."""

    name = "live/trades_1m"
    cadence = MINUTE

    symbol: str = Field(meaning="our symbol")
    first_id: int = Field(ge=0, meaning="number of the first aggregate trade")
    last_id: int = Field(ge=0, meaning="number of the last aggregate trade")
    aggregates: int = Field(ge=1, meaning="aggregate trades: one order at one price")
    trades: int = Field(ge=1, meaning="trades in them")
    volume: float = Field(ge=0, unit="coins", meaning="traded amount")
    quote_volume_usd: float = Field(ge=0, unit="USDT", meaning="traded value")
    taker_buy_volume: float = Field(ge=0, unit="coins", meaning="amount bought by takers")
    largest_usd: float = Field(ge=0, unit="USDT", meaning="value of the largest aggregate trade")
    is_complete: bool = Field(meaning="no number between the first and the last is missing")


class LiveDepth1m(RawTable):
    """The order book over a minute, looked at once a second."""

    name = "live/depth_1m"
    cadence = MINUTE

    symbol: str = Field(meaning="our symbol")
    bid: float = Field(gt=0, unit="USDT", meaning="best bid at the last look")
    ask: float = Field(gt=0, unit="USDT", meaning="best ask at the last look")
    spread_bps: float = Field(unit="bps", meaning="mean of (ask - bid) / mid")
    imbalance_1: float = Field(ge=-1, le=1, meaning="mean of (bid - ask) / (bid + ask) amounts at the best price")
    imbalance_20: float = Field(ge=-1, le=1, meaning="the same over the best 20 prices")
    bid_usd_20: float = Field(ge=0, unit="USDT", meaning="mean value bid at the best 20 prices")
    ask_usd_20: float = Field(ge=0, unit="USDT", meaning="mean value offered at the best 20 prices")
    samples: int = Field(ge=1, le=60, meaning="seconds of the minute in which the book was known")


LIVE: tuple[type[RawTable], ...] = (LiveCandles1m, LiveCandles1h, LiveTrades1m, LiveDepth1m)


def kind(provider: str, table: type[RawTable] | str) -> str:
    """The hot store's name for a live table of one provider: `binance_spot.candles_1m`."""
    name = table if isinstance(table, str) else table.name.removeprefix("live/")
    return f"{provider}.{name}"


def frame(hot: HotStore, table: type[RawTable], providers: Sequence[str], start: datetime, end: datetime) -> pl.DataFrame:
    """Rows of a live table in the hot store with `start <= ts < end`, in table shape, sorted by key."""
    step = table.cadence or MINUTE
    rows = []
    for provider in providers:
        name = kind(provider, table)
        for symbol in hot.symbols(name):
            for row in hot.range(name, symbol, start, end):
                own = {"symbol": symbol, "ts": row.ts, "source": provider, "available_at": row.ts + step}
                rows.append({**row.value, **own})
    if not rows:
        return table.empty()
    return table.shape(pl.DataFrame(rows, schema=table.schema())).sort([*table.key, "available_at"])
