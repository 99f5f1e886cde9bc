"""Value locked in large DeFi protocols, and how much of it is stable money, from DefiLlama.

`GET /protocol/{slug}` of api.llama.fi, keyless, no documented limit; the whole history each time, tens of MB for the largest,
so no copy is kept between two fetches. What is lent out, staked or counted twice stands under names of its own
(`Ethereum-borrowed`, `staking`, ...) and is left out. The last point is of the present second; day D is final about 01:00 UTC
of D+1 and taken as known at 03:00. History is restated when adapters change: it is point in time only from the first own
capture on. Slugs are renamed now and then: one that is not found is left out with a warning. Free with attribution.

`stable_pct` is the liquidity-pool ratio: the share of dollar tokens in the token breakdown (`tokensInUsd`), null where a
protocol has none.
"""

from __future__ import annotations

import logging
import math
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import polars as pl

from crypto_assets.lake.tables import Field, RawTable
from crypto_assets.market.errors import BadPayloadError, NotPublishedYetError
from crypto_assets.market.time import DAY, Window
from crypto_assets.sources import _payload as payload
from crypto_assets.sources._spec import Source

if TYPE_CHECKING:
    from crypto_assets.sources._http import Http

PATH = "/protocol/{slug}"
PROTOCOLS = (
    *("lido", "aave-v3", "sky-lending", "uniswap-v3", "curve-dex", "compound-v3", "pendle", "rocket-pool"),
    *("pancakeswap-amm", "raydium", "balancer-v2"),
)
APART = frozenset(
    {"borrowed", "staking", "pool2", "vesting", "treasury", "offers", "OwnTokens", "doublecounted", "liquidstaking"}
    | {"dcAndLsOverlap", "masterchef"}
)
"""Sections that are not part of the TVL, alone or behind the name of a chain."""
DOLLARS = frozenset({"DAI", "SDAI", "FRAX", "SFRAX", "GHO", "MIM", "DOLA", "BOLD"})
"""Dollar tokens whose symbol does not say USD."""
_log = logging.getLogger(__name__)


class RawDefillamaProtocols(RawTable):
    """One row per protocol and day."""

    name = "raw/defillama_protocols"
    key = ("protocol", "ts", "source")

    protocol: str = Field(meaning="the provider's slug")
    tvl_usd: float = Field(ge=0, unit="USD", meaning="value locked")
    stable_pct: float | None = Field(ge=0, le=100, unit="%", meaning="share of dollar tokens in what is locked")


def fetch(window: Window, http: Http) -> pl.DataFrame:
    """One row per protocol and day in `window`. Raises a SourceError for anything but the documented answer.

    NotPublishedYetError where no protocol is found.
    """
    frames = [frame for slug in PROTOCOLS if (frame := _protocol(http, slug, window)) is not None]
    if not frames:
        raise NotPublishedYetError("defillama", f"{PATH}: expected {len(PROTOCOLS)} protocols, found none: ask again later")
    return SOURCE.rows(pl.concat(frames), window, http.now())


def _protocol(http: Http, slug: str, window: Window) -> pl.DataFrame | None:
    path = PATH.format(slug=slug)
    try:
        answer = http.get_json("defillama", path)
    except NotPublishedYetError:
        _log.warning("defillama: %s is not found: renamed? It is left out", path)
        return None
    if answer == []:
        return None
    tvl = _daily(payload.history(answer, "defillama", path, "tvl"), "totalLiquidityUSD", payload.number, window, path)
    stable = _stable_pct(answer, window, path)
    columns = {"ts": list(tvl), "tvl_usd": list(tvl.values()), "stable_pct": [stable.get(day) for day in tvl]}
    return payload.frame_of(columns).cast({"tvl_usd": pl.Float64, "stable_pct": pl.Float64}).with_columns(protocol=pl.lit(slug))


def _stable_pct(answer: dict[str, Any], window: Window, path: str) -> dict[datetime, float]:
    """Day -> share of dollar tokens, over all chains."""
    sections = answer.get("chainTvls")
    if not isinstance(sections, dict):
        raise BadPayloadError("defillama", f"{path}: field 'chainTvls' must be an object, found {type(sections).__name__}")
    usd: dict[datetime, list[tuple[bool, float]]] = {}
    for name, section in sections.items():
        if name.rpartition("-")[2] in APART or not isinstance(section, dict) or section.get("tokensInUsd") is None:
            continue
        rows = payload.entries(section, "defillama", f"{path} {name}", "tokensInUsd")
        for day, amounts in _daily(rows, "tokens", _amounts, window, path).items():
            usd.setdefault(day, []).extend((is_dollar(token), value) for token, value in amounts.items())
    shares = {}
    for day, found in usd.items():
        whole = math.fsum(value for _, value in found)
        if whole > 0:
            shares[day] = 100 * math.fsum(value for stable, value in found if stable) / whole
    return shares


def _daily(rows: list[Any], key: str, read: Any, window: Window, path: str) -> dict[datetime, Any]:
    """Day -> the last value of the days in `window`."""
    moments = payload.field(rows, "date", payload.seconds, "defillama", path)
    inside = [n for n, ts in enumerate(moments) if window.start - DAY <= ts < window.end + DAY]
    values = payload.field([rows[n] for n in inside], key, read, "defillama", path)
    midnights = [moments[n].replace(hour=0, minute=0, second=0) for n in inside]
    return {ts: value for ts, value in zip(midnights, values, strict=True) if window.start <= ts < window.end}


def _amounts(value: Any) -> dict[str, float]:
    """An object of tokens and their value in USD."""
    if not isinstance(value, dict):
        raise ValueError("an object")
    return {token: max(payload.number(usd), 0.0) for token, usd in value.items()}


def is_dollar(token: str) -> bool:
    """Whether a token is meant to be worth a dollar."""
    symbol = token.upper()
    return "USD" in symbol or symbol in DOLLARS


SOURCE = Source(
    table=RawDefillamaProtocols,
    fetch=fetch,
    provider="defillama",
    available_at=pl.col("ts") + timedelta(hours=27),
    pool="defillama",
    freshness=timedelta(hours=54),
    terms="DefiLlama; free with attribution, no resale",
)
