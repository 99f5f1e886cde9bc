"""Tickers of Binance spot, in USDT: the 24 hours up to now, as they are seen.

`GET /api/v3/ticker/24hr` of data-api.binance.vision, keyless, up to 100 symbols a call at weight 40, 6000 weight a minute. The
24 hours roll; they are not the UTC day. No history: a snapshot's `ts` is the minute in which it was taken, and it is known
then. Exchange terms: own use.
"""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING

import polars as pl

from crypto_assets.lake.tables import Field, RawTable
from crypto_assets.market.time import Window
from crypto_assets.sources import _payload as payload
from crypto_assets.sources._binance import minute_of, present
from crypto_assets.sources._spec import History, Source

if TYPE_CHECKING:
    from crypto_assets.sources._http import Http

PROVIDER, METHOD = "binance_spot", "publicGetTicker24hr"
_FIELDS = {
    "last": ("lastPrice", payload.number),
    "bid": ("bidPrice", payload.number),
    "ask": ("askPrice", payload.number),
    "open": ("openPrice", payload.number),
    "high": ("highPrice", payload.number),
    "low": ("lowPrice", payload.number),
    "vwap": ("weightedAvgPrice", payload.number),
    "change_pct": ("priceChangePercent", payload.number),
    "volume": ("volume", payload.number),
    "quote_volume_usd": ("quoteVolume", payload.number),
    "trades": ("count", payload.integer),
}


class RawBinanceTicker(RawTable):
    """One row per coin and snapshot."""

    name = "raw/binance_ticker"

    symbol: str = Field(meaning="our symbol")
    last: float = Field(gt=0, unit="USDT", meaning="last price")
    bid: float = Field(gt=0, unit="USDT", meaning="best bid")
    ask: float = Field(gt=0, unit="USDT", meaning="best ask")
    open: float = Field(gt=0, unit="USDT", meaning="price 24 hours ago")
    high: float = Field(gt=0, unit="USDT", meaning="highest price of 24 hours")
    low: float = Field(gt=0, unit="USDT", meaning="lowest price of 24 hours")
    vwap: float = Field(gt=0, unit="USDT", meaning="mean price of 24 hours weighted by quantity")
    change_pct: float = Field(ge=-100, unit="%", meaning="change of the last price in 24 hours")
    volume: float = Field(ge=0, unit="coins", meaning="base volume of 24 hours")
    quote_volume_usd: float = Field(ge=0, unit="USDT", meaning="quote volume of 24 hours")
    trades: int = Field(ge=0, meaning="number of trades in 24 hours")


def fetch(window: Window, http: Http) -> pl.DataFrame:
    """One row a listed coin, if the present lies in `window`. Raises a SourceError for anything but the documented answer."""
    now = http.now()
    coin_of = present(http, PROVIDER, now.date())
    answer = http.call(PROVIDER, METHOD, {"symbols": json.dumps(list(coin_of), separators=(",", ":"))})
    rows = payload.history(answer, PROVIDER, METHOD)
    columns = {name: payload.field(rows, key, read, PROVIDER, METHOD) for name, (key, read) in _FIELDS.items()}
    names = payload.field(rows, "symbol", lambda name: coin_of[name], PROVIDER, METHOD)
    frame = payload.frame_of({"symbol": names, **columns}).with_columns(ts=pl.lit(minute_of(now)))
    return SOURCE.rows(frame, window, now)


SOURCE = Source(
    table=RawBinanceTicker,
    fetch=fetch,
    provider=PROVIDER,
    available_at=pl.col("ts"),
    pool=PROVIDER,
    history=History("none"),
    freshness=timedelta(hours=2),
    terms="Binance terms of use; own use, no redistribution",
)
