"""What the simulated exchange says, without a socket, and what it means: the truth that the stream is compared with."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl

from crypto_assets.sandbox import microstructure as micro
from crypto_assets.sandbox.endpoints import World
from crypto_assets.sandbox.endpoints._binance_streams import parse
from crypto_assets.sources.stream.stats import Stats
from crypto_assets_tests.sources.loopback import market

START = datetime(2024, 10, 20, 12, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
VENUES = {"binance_spot": "spot", "binance_futures": "perp"}


def ms(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)


def said(stream: str, start: datetime, end: datetime, venue: str = "spot", step: timedelta = MINUTE) -> list[dict[str, Any]]:
    """The messages of a stream in (start, end], as a client that keeps up hears them when it is told every `step`."""
    source = parse(World(market(), lambda: end), venue, stream)
    assert source is not None
    found, at = [], start
    while at < end:
        found += [json.loads(text) for _, text in source.messages(ms(at), ms(min(at + step, end)))]
        at += step
    return found


def rest_trades(symbol: str, start: datetime, end: datetime, venue: str = "spot") -> list[dict[str, Any]]:
    """The rows REST would give, as the stream reads them."""
    return [{k: m[k] for k in "aflpqTm"} for m in said(f"{symbol.lower()}usdt@aggTrade", start, end, venue)]


def true_minutes(symbol: str, venue: str, start: datetime, end: datetime) -> pl.DataFrame:
    """Minutes of trades, from the simulator's own table."""
    value = pl.col("price") * pl.col("quantity")
    count = pl.col("last_trade") - pl.col("first_trade") + 1
    rows = micro.trades(market(), symbol, venue, start, end)
    return (
        rows.group_by(pl.col("ts").dt.truncate("1m"))
        .agg(
            first_id=pl.col("id").min(),
            last_id=pl.col("id").max(),
            aggregates=pl.len().cast(pl.Int64),
            trades=count.sum(),
            volume=pl.col("quantity").sum(),
            quote_volume_usd=value.sum(),
            taker_buy_volume=pl.col("quantity").filter(~pl.col("is_buyer_maker")).sum(),
            largest_usd=value.max(),
            is_complete=pl.lit(True),
        )
        .sort("ts")
    )


class Kept:
    """Takes what is emitted, and notes what was emitted more than once with different values."""

    def __init__(self) -> None:
        self.rows: dict[tuple[str, str, int], Mapping[str, Any]] = {}
        self.times: dict[tuple[str, str, int], int] = {}
        self.stats = Stats()

    def __call__(self, table: str, symbol: str, ts: int, values: Mapping[str, Any], received: float) -> None:
        self.rows[table, symbol, ts] = dict(values)
        self.times[table, symbol, ts] = self.times.get((table, symbol, ts), 0) + 1

    def frame(self, table: str, symbol: str) -> pl.DataFrame:
        found = [
            {"ts": datetime.fromtimestamp(ts / 1000, UTC), **values}
            for (name, coin, ts), values in sorted(self.rows.items())
            if (name, coin) == (table, symbol)
        ]
        return pl.DataFrame(found).with_columns(pl.col("ts").cast(pl.Datetime("us", "UTC"))) if found else pl.DataFrame()


def without(messages: Iterable[Any], dropped: Iterable[int]) -> list[Any]:
    gone = set(dropped)
    return [m for n, m in enumerate(messages) if n not in gone]
