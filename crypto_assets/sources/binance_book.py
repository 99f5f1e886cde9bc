"""Order books of Binance spot, in USDT: spread and depth near the price, as they are seen.

`GET /api/v3/depth` of data-api.binance.vision, keyless, up to 5000 levels a side at weight 250, 6000 weight a minute. No
history: a snapshot's `ts` is the minute in which it was taken, and it is known then. Exchange terms: own use.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from crypto_assets.lake.tables import Field, RawTable
from crypto_assets.market.errors import BadPayloadError, NotPublishedYetError
from crypto_assets.market.time import Window
from crypto_assets.sources import _payload as payload
from crypto_assets.sources._binance import minute_of, present
from crypto_assets.sources._spec import History, Source

if TYPE_CHECKING:
    from crypto_assets.sources._http import Http

PROVIDER, METHOD = "binance_spot", "publicGetDepth"
LEVELS = 5000
BANDS_BPS = (10, 50, 100)


class RawBinanceBook(RawTable):
    """One row per coin and snapshot. Depth counts from the middle of bid and ask, and is null where the answer ends before."""

    name = "raw/binance_book"

    symbol: str = Field(meaning="our symbol")
    bid: float = Field(gt=0, unit="USDT", meaning="best bid")
    ask: float = Field(gt=0, unit="USDT", meaning="best ask")
    spread_bps: float = Field(ge=0, unit="bps", meaning="ask less bid, of the middle")
    bid_10bps_usd: float | None = Field(ge=0, unit="USDT", meaning="bids within 10 bps")
    bid_50bps_usd: float | None = Field(ge=0, unit="USDT", meaning="bids within 50 bps")
    bid_100bps_usd: float | None = Field(ge=0, unit="USDT", meaning="bids within 100 bps")
    ask_10bps_usd: float | None = Field(ge=0, unit="USDT", meaning="asks within 10 bps")
    ask_50bps_usd: float | None = Field(ge=0, unit="USDT", meaning="asks within 50 bps")
    ask_100bps_usd: float | None = Field(ge=0, unit="USDT", meaning="asks within 100 bps")
    imbalance: float | None = Field(ge=-1, le=1, meaning="bids less asks within 10 bps, of both; null where there are none")


def fetch(window: Window, http: Http) -> pl.DataFrame:
    """One row a listed coin, if the present lies in `window`. Raises a SourceError for anything but the documented answer."""
    now = http.now()
    rows = []
    for name, symbol in present(http, PROVIDER, now.date()).items():
        answer = http.call(PROVIDER, METHOD, {"symbol": name, "limit": LEVELS})
        bids, asks = (_side(answer, side, f"{METHOD} {name}") for side in ("bids", "asks"))
        rows.append({"symbol": symbol, "ts": minute_of(now), **summary(bids, asks)})
    return SOURCE.rows(pl.DataFrame(rows, infer_schema_length=None), window, now) if rows else RawBinanceBook.empty()


def summary(bids: np.ndarray, asks: np.ndarray) -> dict[str, float | None]:
    """Spread, depth and imbalance of a book; `bids` and `asks` are `[level, (price, quantity)]`, best first."""
    bid, ask = float(bids[0, 0]), float(asks[0, 0])
    middle = (bid + ask) / 2
    found: dict[str, float | None] = {"bid": bid, "ask": ask, "spread_bps": (ask - bid) / middle * 1e4}
    for name, side in (("bid", bids), ("ask", asks)):
        distance = np.abs(side[:, 0] / middle - 1) * 1e4
        worth = side[:, 0] * side[:, 1]
        found |= {f"{name}_{b}bps_usd": float(worth[distance <= b].sum()) if distance[-1] >= b else None for b in BANDS_BPS}
    near_bid, near_ask = found["bid_10bps_usd"], found["ask_10bps_usd"]
    imbalance = None
    if near_bid is not None and near_ask is not None and near_bid + near_ask > 0:
        imbalance = (near_bid - near_ask) / (near_bid + near_ask)
    return {**found, "imbalance": imbalance}


def _side(answer: Any, name: str, where: str) -> np.ndarray:
    levels = payload.entries(answer, PROVIDER, where, name) if answer else []
    if not levels:
        raise NotPublishedYetError(PROVIDER, f"{where}: expected {name}, found an empty list: ask again later")
    columns = [
        payload.field(levels, k, payload.number, PROVIDER, where, label) for k, label in enumerate(("price", "quantity"))
    ]
    side = np.array(columns).T
    if (np.diff(side[:, 0]) * (1 if name == "asks" else -1) <= 0).any():
        raise BadPayloadError(PROVIDER, f"{where}: expected {name} from the best on, found prices out of order")
    return side


SOURCE = Source(
    table=RawBinanceBook,
    fetch=fetch,
    provider=PROVIDER,
    available_at=pl.col("ts"),
    pool=PROVIDER,
    history=History("none"),
    freshness=timedelta(hours=2),
    terms="Binance terms of use; own use, no redistribution",
)
