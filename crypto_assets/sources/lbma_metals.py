"""Gold and silver, USD an ounce, by the auctions of the London Bullion Market Association.

`GET /json/gold_pm.json` and `/json/silver.json` of prices.lbma.org.uk, keyless, the whole history since 1968 each time, [USD,
GBP, EUR], null on days without auction. Gold is set about 15:00, silver about 12:00 in London; both are taken as known at 18:00
UTC. Not revised. The site often turns programs away: then the gold price is the daily close of PAXG (a token for one ounce) at
Binance spot, on weekdays, known when the day ends, with `via` saying so and silver null. LBMA and IBA hold the rights: a
licence is needed for commercial use or redistribution.
"""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import polars as pl

from crypto_assets.lake.tables import Field, RawTable
from crypto_assets.market.errors import SourceError
from crypto_assets.market.time import DAY, Window
from crypto_assets.sources import _payload as payload
from crypto_assets.sources._providers import Provider, provide
from crypto_assets.sources._spec import Source

if TYPE_CHECKING:
    from crypto_assets.sources._http import Http

PROVIDER = provide(Provider("lbma", "https://prices.lbma.org.uk", 1, 1))
PATHS = {"gold_usd": "/json/gold_pm.json", "silver_usd": "/json/silver.json"}
MAX_AGE = timedelta(minutes=10)
FALLBACK = ("binance_spot", "publicGetKlines", "PAXGUSDT")
MOST_BARS = 1000
FRIDAY = 5
_log = logging.getLogger(__name__)


class RawLbmaMetals(RawTable):
    """One row per day with an auction, or per weekday where the fallback answered."""

    name = "raw/lbma_metals"
    key = ("ts", "source")

    gold_usd: float | None = Field(gt=0, unit="USD an ounce", meaning="gold, afternoon auction")
    silver_usd: float | None = Field(gt=0, unit="USD an ounce", meaning="silver")
    via: str = Field(isin=("lbma", "paxg"), meaning="lbma, or paxg for the daily close of PAXG/USDT")


def fetch(window: Window, http: Http) -> pl.DataFrame:
    """One row per day with a price in `window`. Raises the SourceError of the LBMA where the fallback fails too."""
    now = http.now()
    try:
        gold, silver = (_auction(http, column, path, window) for column, path in PATHS.items())
        rows = gold.join(silver, on="ts", how="full", coalesce=True).with_columns(via=pl.lit("lbma"))
    except SourceError as error:
        try:
            rows = _paxg(http, Window(window.start, min(window.end, max(now, window.start + DAY))))
        except SourceError:
            raise error from None
        _log.warning("%s; gold is the close of PAXG instead", error)
    return SOURCE.rows(rows, window, now)


def _auction(http: Http, column: str, path: str, window: Window) -> pl.DataFrame:
    """`ts` and the price in USD of the days with one."""
    rows = payload.history(http.get_json(PROVIDER.key, path, max_age=MAX_AGE), PROVIDER.key, path)
    days = pl.DataFrame({"d": payload.field(rows, "d", payload.text, PROVIDER.key, path)})
    prices = pl.Series(column, payload.field(rows, "v", _dollars, PROVIDER.key, path), dtype=pl.Float64)
    dated = payload.days(days, "d", PROVIDER.key, path)
    payload.covering(dated, [min(window.end, http.now()).date()], PROVIDER.key, path)
    return dated.select("ts", prices).drop_nulls()


def _dollars(value: Any) -> float | None:
    """A list whose first entry is a price, null or zero for none."""
    return payload.number_or_none(value[0]) or None


def _paxg(http: Http, window: Window) -> pl.DataFrame:
    """The daily closes of PAXG/USDT on weekdays."""
    provider, method, symbol = FALLBACK
    rows: list[Any] = []
    for part in window.chunks(MOST_BARS):
        bounds = {"startTime": _ms(part.start), "endTime": _ms(part.end) - 1}
        answer = http.call(provider, method, {"symbol": symbol, "interval": "1d", **bounds, "limit": MOST_BARS})
        rows += payload.history(answer, provider, f"{method} {symbol}")
    columns = {
        "ts": payload.field(rows, 0, payload.milliseconds, provider, symbol, "open time"),
        "gold_usd": payload.field(rows, 4, payload.number, provider, symbol, "close"),
    }
    frame = payload.frame_of(columns).filter(pl.col("ts").dt.weekday() <= FRIDAY)
    return frame.with_columns(silver_usd=pl.lit(None, dtype=pl.Float64), via=pl.lit("paxg"))


def _ms(moment: Any) -> int:
    return round(moment.timestamp() * 1000)


SOURCE = Source(
    table=RawLbmaMetals,
    fetch=fetch,
    provider=PROVIDER.key,
    available_at=pl.col("ts") + pl.when(pl.col("via") == "paxg").then(timedelta(hours=24)).otherwise(timedelta(hours=18)),
    pool="lbma",
    freshness=timedelta(days=6),
    terms="LBMA and IBA: personal use; a licence is needed for commercial use or redistribution",
    may_fail=True,
)
