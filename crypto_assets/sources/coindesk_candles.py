"""Hourly values of CoinDesk's index CADLI, in US dollars: one price over many exchanges.

`GET /index/cc/v1/historical/hours?market=cadli&instrument=BTC-USD&limit=&to_ts=` of data-api.coindesk.com, keyed
(`coindesk_key`, header `Authorization: Apikey`), at most 2000 hours a call, the newest `limit` up to `to_ts` inclusive,
ascending, upper-case keys, seconds. `fill=false` leaves hours out in which nothing was traded, which would otherwise repeat the
hour before. Full history. Trades are not counted. An hour is taken as known when it ends; the open hour is left out. Paid since
2026-05-21.

From the clients of others: path, parameters and keys; from memory: the greatest `limit`, that `to_ts` is inclusive.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import polars as pl

from crypto_assets.market.coins import Coin
from crypto_assets.market.errors import BadPayloadError, NotPublishedYetError
from crypto_assets.market.time import HOUR, Window
from crypto_assets.sources import _payload as payload
from crypto_assets.sources._coindesk import KEYS, PAID, PROVIDER, TERMS, ask
from crypto_assets.sources._spec import Source
from crypto_assets.sources._usd_candles import UsdCandleTable, every_coin

if TYPE_CHECKING:
    from crypto_assets.sources._http import Http

PATH = "/index/cc/v1/historical/hours"
MARKET = "cadli"
MOST_HOURS = 2000
_FIELDS = {
    "open": "OPEN",
    "high": "HIGH",
    "low": "LOW",
    "close": "CLOSE",
    "volume": "VOLUME",
    "quote_volume_usd": "QUOTE_VOLUME",
}


class RawCoindeskCandles(UsdCandleTable):
    """One row per coin and hour with index updates."""

    name = "raw/coindesk_candles"


def fetch(window: Window, http: Http) -> pl.DataFrame:
    """Closed hours of every coin the index has whose begin lies in `window`.

    Raises a SourceError: NotPublishedYetError if there is no hour of any listed coin.
    """
    return SOURCE.rows(every_coin(http, window, PROVIDER.key, lambda coin, part: _bars(http, coin, part)), window, http.now())


def _bars(http: Http, coin: Coin, window: Window) -> pl.DataFrame:
    rows = _rows(http, f"{coin.symbol}-USD", window)
    columns = {name: payload.field(rows, key, payload.number, PROVIDER.key, PATH) for name, key in _FIELDS.items()}
    times = payload.field(rows, "TIMESTAMP", payload.seconds, PROVIDER.key, PATH)
    frame = payload.frame_of({"ts": times, **columns}).cast(dict.fromkeys(_FIELDS, pl.Float64))
    return frame.filter(pl.col("ts") >= window.start, pl.col("ts") < window.end).unique("ts", keep="first", maintain_order=True)


def _rows(http: Http, instrument: str, window: Window) -> list[Any]:
    """Rows of every page, from the window's end backwards; none for an instrument the index does not have."""
    start, last = int(window.start.timestamp()), int((window.end - HOUR).timestamp())
    found: list[Any] = []
    while last >= start:
        limit = min(MOST_HOURS, (last - start) // 3600 + 1)
        params = {"market": MARKET, "instrument": instrument, "limit": limit, "to_ts": last, "fill": "false"}
        try:
            page = ask(http, PATH, params)
        except NotPublishedYetError as error:
            if error.status == 404:
                return found
            raise
        found += page
        if not page:
            return found
        first = min(payload.field(page, "TIMESTAMP", payload.integer, PROVIDER.key, PATH))
        if first > last:
            raise BadPayloadError(PROVIDER.key, f"{PATH} {instrument}: expected rows up to {last}, found the first at {first}")
        last = first - 3600
    return found


SOURCE = Source(
    table=RawCoindeskCandles,
    fetch=fetch,
    provider=PROVIDER.key,
    available_at=pl.col("ts") + HOUR,
    pool=PROVIDER.key,
    keys=KEYS,
    freshness=timedelta(hours=26),
    terms=TERMS,
    substitute=f"{PAID}; raw/binance_candles, raw/coinbase_candles and raw/kraken_candles carry prices without a key",
)
