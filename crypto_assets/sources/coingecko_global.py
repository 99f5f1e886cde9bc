"""The whole crypto market at this moment, from CoinGecko: capitalisation, volume, dominance of BTC and ETH.

`GET /global` of api.coingecko.com/api/v3, keyless (limits: see coingecko_market). No history: the daily chart of it is a paid
endpoint, so it is captured as it is seen. Refreshed about every ten minutes. Attribution required.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import polars as pl

from crypto_assets.lake.tables import Field, RawTable
from crypto_assets.market.errors import BadPayloadError
from crypto_assets.market.time import Window
from crypto_assets.sources import _payload as payload
from crypto_assets.sources._coingecko import PROVIDER, TERMS, ask
from crypto_assets.sources._spec import History, Source

if TYPE_CHECKING:
    from crypto_assets.sources._http import Http

PATH = "/global"
FIELDS = {
    "total_market_cap_usd": ("total_market_cap", "usd"),
    "volume_24h_usd": ("total_volume", "usd"),
    "btc_dominance_pct": ("market_cap_percentage", "btc"),
    "eth_dominance_pct": ("market_cap_percentage", "eth"),
}


class RawCoingeckoGlobal(RawTable):
    """One row per capture; `ts` is its minute."""

    name = "raw/coingecko_global"
    key = ("ts", "source")

    total_market_cap_usd: float = Field(gt=0, unit="USD", meaning="market capitalisation of all coins")
    volume_24h_usd: float = Field(ge=0, unit="USD", meaning="traded in the last 24 hours")
    btc_dominance_pct: float = Field(ge=0, le=100, unit="%", meaning="share of BTC in the capitalisation")
    eth_dominance_pct: float = Field(ge=0, le=100, unit="%", meaning="share of ETH in the capitalisation")


def fetch(window: Window, http: Http) -> pl.DataFrame:
    """The present state as one row; none for a window that does not hold the present. Raises a SourceError."""
    now = http.now()
    if not window.start <= now < window.end:
        return RawCoingeckoGlobal.empty()
    answer = ask(http, PATH)
    data = answer.get("data") if isinstance(answer, dict) else None
    if not isinstance(data, dict):
        raise BadPayloadError(PROVIDER.key, f"{PATH}: expected an object with 'data', found {str(answer)[:80]!r}")
    columns = {"ts": [now.replace(second=0, microsecond=0)]}
    for column, (outer, inner) in FIELDS.items():
        nested = payload.field([data], outer, dict, PROVIDER.key, PATH)
        columns[column] = payload.field(nested, inner, payload.number, PROVIDER.key, PATH, f"{outer}.{inner}")
    return SOURCE.rows(payload.frame_of(columns), window, now)


SOURCE = Source(
    table=RawCoingeckoGlobal,
    fetch=fetch,
    provider=PROVIDER.key,
    available_at=pl.col("ts"),
    pool=PROVIDER.key,
    history=History("none"),
    freshness=timedelta(hours=26),
    terms=TERMS,
)
