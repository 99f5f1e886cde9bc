"""Hourly candles of Coinbase Exchange, in US dollars: a cross-check of Binance's.

`GET /products/{BTC-USD}/candles?granularity=3600&start=&end=` of api.exchange.coinbase.com, keyless, 10 calls a second and
address. At most 300 bars a call, both ends inclusive: a longer span is refused. Newest first, rows `[time, low, high, open,
close, volume]` of numbers, seconds. Full history. An hour without trades has no bar, the open bar is left out. Coins that
Coinbase does not list have no rows; a renamed coin is asked under every name it had, since Coinbase changes names on its own
days. A bar is final when it closes, which is when it is available. Market data terms: own use.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import polars as pl

from crypto_assets.market.coins import Coin
from crypto_assets.market.errors import NotPublishedYetError
from crypto_assets.market.time import HOUR, Window
from crypto_assets.sources import _payload as payload
from crypto_assets.sources._providers import Provider, provide
from crypto_assets.sources._spec import Source
from crypto_assets.sources._usd_candles import UsdCandleTable, every_coin

if TYPE_CHECKING:
    from crypto_assets.sources._http import Http

PROVIDER = provide(Provider("coinbase", "https://api.exchange.coinbase.com", rate=300, per=60))
METHOD = "publicGetProductsIdCandles"
MOST_BARS = 300
_FIELDS = ("ts", "low", "high", "open", "close", "volume")


class RawCoinbaseCandles(UsdCandleTable):
    """One row per coin and hour with trades."""

    name = "raw/coinbase_candles"


def fetch(window: Window, http: Http) -> pl.DataFrame:
    """Closed bars of every coin that Coinbase lists whose open lies in `window`.

    Raises a SourceError: NotPublishedYetError if there is no bar of any listed coin.
    """
    return SOURCE.rows(every_coin(http, window, PROVIDER.key, lambda coin, part: _bars(http, coin, part)), window, http.now())


def _bars(http: Http, coin: Coin, window: Window) -> pl.DataFrame:
    """Bars under the present name, then under former ones where that name has none."""
    names = [coin.symbol, *(old for old, _ in coin.former)]
    frames = [_frame(_rows(http, f"{name}-USD", window), f"{name}-USD") for name in names]
    return pl.concat(frames).unique("ts", keep="first", maintain_order=True)


def _rows(http: Http, product: str, window: Window) -> list[Any]:
    """Rows of every page; none for a product that Coinbase does not have."""
    rows: list[Any] = []
    start = window.start
    while start < window.end:
        last = min(start + (MOST_BARS - 1) * HOUR, window.end)
        params = {"id": product, "granularity": 3600, "start": start.isoformat(), "end": last.isoformat()}
        try:
            answer = http.call(PROVIDER.key, METHOD, params)
        except NotPublishedYetError as error:
            if error.status == 404:
                return []
            raise
        rows += payload.entries(answer, PROVIDER.key, f"candles {product}")
        start = last + HOUR
    return rows


def _frame(rows: list[Any], product: str) -> pl.DataFrame:
    read = (payload.seconds, *[payload.number] * 5)
    where = f"candles {product}"
    columns = {n: payload.field(rows, k, read[k], PROVIDER.key, where, n) for k, n in enumerate(_FIELDS)}
    frame = payload.frame_of(columns).cast({n: pl.Float64 for n in _FIELDS[1:]})
    return frame.select("ts", "open", "high", "low", "close", "volume")


SOURCE = Source(
    table=RawCoinbaseCandles,
    fetch=fetch,
    provider=PROVIDER.key,
    available_at=pl.col("ts") + HOUR,
    pool=PROVIDER.key,
    freshness=timedelta(hours=26),
    terms="Coinbase market data terms; own use, no redistribution",
)
