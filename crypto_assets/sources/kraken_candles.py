"""Hourly candles of Kraken, in US dollars: a cross-check of Binance's.

`GET /0/public/OHLC?pair=XBTUSD&interval=60&since=` of api.kraken.com, keyless, about a call a second and address. Only the
newest 720 bars exist (30 days, the last of them still open), whatever `since` says; `since` itself is left out. Rows `[time,
open, high, low, close, vwap, volume, count]`, seconds, prices in text; the answer is named by Kraken's own name of the pair
(`XXBTZUSD`). Errors come with HTTP 200 in `error`. An hour without trades has no bar. Coins that Kraken does not list have no
rows. A bar is final when it closes, which is when it is available. Exchange terms: own use.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import polars as pl

from crypto_assets.market.coins import Coin
from crypto_assets.market.errors import BadPayloadError
from crypto_assets.market.time import HOUR, Window
from crypto_assets.sources import _payload as payload
from crypto_assets.sources._providers import Provider, provide
from crypto_assets.sources._spec import History, Source
from crypto_assets.sources._usd_candles import UsdCandleTable, every_coin

if TYPE_CHECKING:
    from crypto_assets.sources._http import Http

PROVIDER = provide(Provider("kraken", "https://api.kraken.com", rate=40, per=60))
METHOD = "publicGetOHLC"
OWN_NAMES = {"BTC": "XBT", "DOGE": "XDG"}
"""Coins that Kraken calls otherwise."""
UNKNOWN_PAIR = "EQuery:Unknown asset pair"
_FIELDS = ("ts", "open", "high", "low", "close", "vwap", "volume", "trades")


class RawKrakenCandles(UsdCandleTable):
    """One row per coin and hour with trades."""

    name = "raw/kraken_candles"


def fetch(window: Window, http: Http) -> pl.DataFrame:
    """Closed bars of every coin that Kraken lists whose open lies in `window`, as far as they are among its newest 720.

    Raises a SourceError: NotPublishedYetError if there is no bar of any listed coin.
    """
    return SOURCE.rows(every_coin(http, window, PROVIDER.key, lambda coin, part: _bars(http, coin, part)), window, http.now())


def _bars(http: Http, coin: Coin, window: Window) -> pl.DataFrame:
    pair = f"{OWN_NAMES.get(coin.symbol, coin.symbol)}USD"
    rows = _rows(http, pair, window)
    read = (payload.seconds, *[payload.number] * 6, payload.integer)
    where = f"OHLC {pair}"
    columns = {n: payload.field(rows, k, read[k], PROVIDER.key, where, n) for k, n in enumerate(_FIELDS)}
    frame = payload.frame_of(columns).cast({**{n: pl.Float64 for n in _FIELDS[1:7]}, "trades": pl.Int64})
    frame = frame.filter(pl.col("ts") >= window.start, pl.col("ts") < window.end)
    return frame.with_columns(quote_volume_usd=pl.col("vwap") * pl.col("volume")).drop("vwap")


def _rows(http: Http, pair: str, window: Window) -> list[Any]:
    """The rows from the window's start on; none for a pair that Kraken does not have."""
    since = int(window.start.timestamp()) - 3600
    where = f"OHLC {pair}"
    try:
        answer = http.call(PROVIDER.key, METHOD, {"pair": pair, "interval": 60, "since": since})
    except BadPayloadError as error:
        if UNKNOWN_PAIR in str(error):
            return []
        raise
    result = answer.get("result") if isinstance(answer, dict) else None
    if not isinstance(result, dict):
        raise BadPayloadError(PROVIDER.key, f"{where}: expected an object with 'result', found {str(answer)[:80]!r}")
    names = [name for name in result if name != "last"]
    return payload.entries(result, PROVIDER.key, where, names[0]) if names else []


SOURCE = Source(
    table=RawKrakenCandles,
    fetch=fetch,
    provider=PROVIDER.key,
    available_at=pl.col("ts") + HOUR,
    pool=PROVIDER.key,
    history=History("days", 30),
    freshness=timedelta(hours=26),
    terms="Kraken terms of service; own use, no redistribution",
)
