"""Price, market capitalisation and volume of a coin over all exchanges, daily, from CoinGecko.

`GET /coins/{id}/market_chart/range?vs_currency=usd&from=&to=&interval=daily` of api.coingecko.com/api/v3, keyless at some 10
calls a minute, with a free demo key (`coingecko_key`, header `x-cg-demo-api-key`) at 30; 365 days back, older days are refused
(401, code 10012). Ascending `[milliseconds, number]` pairs.

The point stamped D+1 00:00 is the close of day D, and is stored under D; the last point may be the present moment, which is no
midnight and is left out. `total_volumes` is the 24 hours before the stamp. The point appears about 00:35 UTC and caches expire
at 00:40; it is taken as known at 00:45 of D+1. Supply is market capitalisation over price; capitalisations are restated without
notice when the counting of supply changes. Attribution required.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import polars as pl

from crypto_assets.lake.tables import Field, RawTable
from crypto_assets.market.errors import NotPublishedYetError
from crypto_assets.market.time import DAY, HOUR, Window
from crypto_assets.sources import _payload as payload
from crypto_assets.sources._coingecko import PROVIDER, TERMS, ask
from crypto_assets.sources._spec import History, Source

if TYPE_CHECKING:
    from crypto_assets.sources._http import Http

PATH = "/coins/{id}/market_chart/range"
SERIES = {"prices": "price_usd", "market_caps": "market_cap_usd", "total_volumes": "volume_24h_usd"}
REACH = 365 * DAY
LAG = DAY + timedelta(minutes=45)


class RawCoingeckoMarket(RawTable):
    """One row per coin and day; values at the end of the day."""

    name = "raw/coingecko_market"

    symbol: str = Field(meaning="our symbol")
    price_usd: float = Field(gt=0, unit="USD", meaning="volume-weighted price at the end of the day")
    market_cap_usd: float | None = Field(gt=0, unit="USD", meaning="price times circulating supply; absent where not known")
    volume_24h_usd: float | None = Field(ge=0, unit="USD", meaning="traded on all exchanges in the day")
    circulating_supply: float | None = Field(gt=0, unit="coins", meaning="market capitalisation over price")


def fetch(window: Window, http: Http) -> pl.DataFrame:
    """One row per coin and day in `window`, as far as 365 days reach.

    Raises a SourceError: NotPublishedYetError if no coin has any point.
    """
    now = http.now()
    start, end = max(window.start + DAY, now - REACH + HOUR), min(window.end, now)
    if end < start:
        return RawCoingeckoMarket.empty()
    frames = [
        _days(http, coin.name_at(PROVIDER.key), start, end).with_columns(symbol=pl.lit(coin.symbol)) for coin in http.universe
    ]
    found = pl.concat(frames)
    if found.is_empty() and window.start + LAG <= now:
        raise NotPublishedYetError(PROVIDER.key, f"market_chart: expected points from {start} to {end}, found none: ask later")
    supply = pl.col("market_cap_usd") / pl.col("price_usd")
    return SOURCE.rows(found.with_columns(circulating_supply=supply), window, now)


def _days(http: Http, coin_id: str, start: datetime, end: datetime) -> pl.DataFrame:
    """The three values of every midnight in `[start, end]`; `ts` is the day that ends there."""
    path = PATH.format(id=coin_id)
    params = {"vs_currency": "usd", "from": int(start.timestamp()), "to": int(end.timestamp()), "interval": "daily"}
    answer = ask(http, path, params)
    prices, caps, volumes = (
        _points(payload.entries(answer, PROVIDER.key, path, key), f"{path} {key}", column) for key, column in SERIES.items()
    )
    frame = prices.join(caps, on="ts", how="left").join(volumes, on="ts", how="left")
    midnights = frame.filter(pl.col("ts") == pl.col("ts").dt.truncate("1d"), pl.col("price_usd").is_not_null())
    positive = pl.when(pl.col("market_cap_usd") > 0).then("market_cap_usd")
    return midnights.with_columns(pl.col("ts") - DAY, market_cap_usd=positive)


def _points(rows: list[Any], where: str, column: str) -> pl.DataFrame:
    columns = {
        "ts": payload.field(rows, 0, payload.milliseconds, PROVIDER.key, where, "time"),
        column: payload.field(rows, 1, payload.number_or_none, PROVIDER.key, where, column),
    }
    return payload.frame_of(columns).cast({column: pl.Float64}).unique("ts", keep="first", maintain_order=True)


SOURCE = Source(
    table=RawCoingeckoMarket,
    fetch=fetch,
    provider=PROVIDER.key,
    available_at=pl.col("ts") + LAG,
    pool=PROVIDER.key,
    history=History("days", 365),
    freshness=timedelta(hours=54),
    terms=TERMS,
)
