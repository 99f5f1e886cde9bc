"""Hourly candles in US dollars of venues that list only some coins: the table, and the loop over the coins."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import polars as pl

from crypto_assets.lake.tables import Field
from crypto_assets.market.coins import Coin
from crypto_assets.market.errors import NotPublishedYetError
from crypto_assets.market.time import DAY, Window, midnight
from crypto_assets.sources._binance import CandleTable

if TYPE_CHECKING:
    from crypto_assets.sources._http import Http


class UsdCandleTable(CandleTable):
    """Columns of a table of hourly candles in US dollars; `ts` is the bar's open.

    Not every coin is listed, and an hour without trades has no bar: missing hours do not block here, they are counted in
    `curated/candle_anomalies`.
    """

    cadence = None  # type: ignore[assignment]

    open: float = Field(gt=0, unit="USD", meaning="first price")
    high: float = Field(gt=0, unit="USD", meaning="highest price")
    low: float = Field(gt=0, unit="USD", meaning="lowest price")
    close: float = Field(gt=0, unit="USD", meaning="last price")
    quote_volume_usd: float | None = Field(ge=0, unit="USD", meaning="quote volume")


def every_coin(http: Http, window: Window, provider: str, bars: Callable[[Coin, Window], pl.DataFrame]) -> pl.DataFrame:
    """`bars(coin, part)` of every coin and the listed, past part of `window`, with `symbol`.

    Raises NotPublishedYetError if a window of a day or more has no bar of any listed coin.
    """
    now = http.now()
    if window.start >= now:
        return UsdCandleTable.empty().drop("source", "available_at")
    past = Window(window.start, min(window.end, now))
    frames = []
    for coin in http.universe:
        end = past.end if coin.delisted is None else min(past.end, midnight(coin.delisted))
        if end > past.start:
            frames.append(bars(coin, Window(past.start, end)).with_columns(symbol=pl.lit(coin.symbol)))
    found = [frame for frame in frames if frame.height]
    due = [c.symbol for c in http.universe if all(c.is_listed(day) for day in past.days)]
    if due and not found and past.end - past.start >= DAY:
        span = f"from {past.start} to {past.end}"
        raise NotPublishedYetError(provider, f"candles: expected rows of {', '.join(due)} {span}, found none: ask again later")
    return pl.concat(found, how="vertical_relaxed") if found else UsdCandleTable.empty().drop("source", "available_at")
