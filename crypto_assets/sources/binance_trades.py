"""Trades of Binance spot, in USDT, as one row a coin and minute.

Closed days come from the daily aggTrades files of data.binance.vision, which are there at about 08:30 UTC of the next day; what
they have not yet comes by `GET /api/v3/aggTrades` of data-api.binance.vision, at most 1000 a call at weight 4 (6000 a minute),
paged by id. Keyless, full history. A busy coin has a million of them a day: a thousand calls by REST, one file from the
archive. A minute is known when it is over; trades are final. Exchange terms: own use.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import polars as pl

from crypto_assets.lake.tables import Field, RawTable
from crypto_assets.market.errors import BadPayloadError
from crypto_assets.market.time import Window
from crypto_assets.sources import _bulk as bulk
from crypto_assets.sources._binance import Part, ms, page, parts, require
from crypto_assets.sources._spec import Source

if TYPE_CHECKING:
    from crypto_assets.sources._http import Http

PROVIDER, METHOD, LIMIT = "binance_spot", "publicGetAggTrades", 1000
MINUTE = timedelta(minutes=1)
LAYOUT: bulk.Layout = {
    "agg_trade_id": ("id", bulk.whole),
    "price": ("price", bulk.number),
    "quantity": ("quantity", bulk.number),
    "first_trade_id": ("first_id", bulk.whole),
    "last_trade_id": ("last_id", bulk.whole),
    "transact_time": ("ts", bulk.instant),
    "is_buyer_maker": ("is_buyer_maker", bulk.flag),
}
FIELDS = dict(zip("apqflTm", LAYOUT.values(), strict=True))
"""The same by the names that REST has for them."""


class RawBinanceTrades(RawTable):
    """One row per coin and minute in which it traded; `ts` is the minute's begin."""

    name = "raw/binance_trades"

    symbol: str = Field(meaning="our symbol")
    trades: int = Field(ge=0, meaning="number of trades")
    volume: float = Field(ge=0, unit="coins", meaning="base volume")
    quote_volume_usd: float = Field(ge=0, unit="USDT", meaning="sum of price times quantity")
    taker_buy_volume: float = Field(ge=0, unit="coins", meaning="base volume bought by takers")
    vwap: float = Field(gt=0, unit="USDT", meaning="mean price weighted by quantity")
    high: float = Field(gt=0, unit="USDT", meaning="highest price")
    low: float = Field(gt=0, unit="USDT", meaning="lowest price")
    close: float = Field(gt=0, unit="USDT", meaning="last price")

    @classmethod
    def rules(cls) -> dict[str, pl.Expr]:
        """Takers buy at most all of it, and the last price lies in the minute's range."""
        close = pl.col("close")
        return {
            "taker_buy_volume <= volume": pl.col("taker_buy_volume") <= pl.col("volume"),
            "low <= close <= high": (close >= pl.col("low")) & (close <= pl.col("high")),
        }


def fetch(window: Window, http: Http) -> pl.DataFrame:
    """Closed minutes with trades of every coin in `window`; none before a coin's listing or after its delisting.

    A file that is missing or broken is made up for by REST. Raises a SourceError: NotPublishedYetError if no listed coin has
    any.
    """
    now = http.now()
    asked = parts(http, PROVIDER, window, now)
    files = [f for p in asked for f in bulk.days("spot", "aggTrades", p.symbol, p.window, now)]
    frames, rest = bulk.archived(asked, bulk.sound(http, files, LAYOUT), minutes)
    frames += [
        minutes(rows).with_columns(symbol=pl.lit(part.coin.symbol)) for part in rest if (rows := _paged(http, part)).height
    ]
    require(frames, asked, PROVIDER, METHOD)
    return SOURCE.rows(pl.concat(frames), window, now) if frames else RawBinanceTrades.empty()


def minutes(trades: pl.DataFrame) -> pl.DataFrame:
    """Aggregate trades (id, price, quantity, first_id, last_id, ts, is_buyer_maker) of one coin by minute.

    Sums are rounded to 1e-8 coins, the last digit the exchange has, and to 1e-6 USDT.
    """
    quantity, traded = pl.col("quantity"), pl.col("price") * pl.col("quantity")
    return (
        trades.sort("id")
        .group_by(pl.col("ts").dt.truncate(MINUTE), maintain_order=True)
        .agg(
            trades=(pl.col("last_id") - pl.col("first_id") + 1).sum(),
            volume=quantity.sum().round(8),
            quote_volume_usd=traded.sum().round(6),
            taker_buy_volume=quantity.filter(~pl.col("is_buyer_maker")).sum().round(8),
            vwap=traded.sum() / quantity.sum(),
            high=pl.col("price").max(),
            low=pl.col("price").min(),
            close=pl.col("price").last(),
        )
    )


def _paged(http: Http, part: Part) -> pl.DataFrame:
    """The aggregate trades of one part by REST: the first page by time, each further one from the id after the last."""
    frames: list[pl.DataFrame] = []
    position = {"startTime": ms(part.window.start)}
    while found := page(http, PROVIDER, METHOD, part, {**position, "limit": LIMIT}):
        frame = _frame(found, f"{METHOD} {part.symbol}")
        if frames and frame["id"][0] < position["fromId"]:
            wanted = position["fromId"]
            raise BadPayloadError(PROVIDER, f"{METHOD} {part.symbol}: expected ids from {wanted}, found {frame['id'][0]}")
        frames.append(frame)
        if len(found) < LIMIT or frame["ts"][-1] >= part.window.end:
            break
        position = {"fromId": frame["id"][-1] + 1}
    return pl.concat(frames).filter(pl.col("ts") < part.window.end) if frames else pl.DataFrame()


def _frame(rows: Sequence[Any], where: str) -> pl.DataFrame:
    try:
        text = pl.DataFrame(rows, schema=dict.fromkeys(FIELDS, pl.String), strict=False)
    except (pl.exceptions.PolarsError, TypeError, ValueError, AttributeError):
        raise BadPayloadError(PROVIDER, f"{where}: expected {list(FIELDS)} in each row, found {str(rows[0])[:80]}") from None
    return bulk.values(text, FIELDS, PROVIDER, where)


SOURCE = Source(
    table=RawBinanceTrades,
    fetch=fetch,
    provider=PROVIDER,
    available_at=pl.col("ts") + MINUTE,
    pool=PROVIDER,
    freshness=timedelta(hours=26),
    terms="Binance terms of use; own use, no redistribution",
)
