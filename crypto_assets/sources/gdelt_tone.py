"""Tone and volume of the English news about each coin, a day at a time, from GDELT DOC 2.0: optional, for it often refuses.

`GET /api/v2/doc/doc?query=&mode=timelinetone|timelinevol&format=json&startdatetime=&enddatetime=` of api.gdeltproject.org,
keyless, one call in 5 seconds, about three months back; two calls a coin for any window. A span of more than a week is
answered in days, a shorter one in hours, so ten days are asked for at least. Under load it answers 429 to the first call of
the day: three in a row and the table stays as it is, with that reason (`may_fail`); the bulk files behind `raw/news` are
the default. Texts in the answer may hold bare control characters. Day D is taken as known at 01:00 UTC of D+1. Free for any
use with citation of the GDELT project.
"""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import polars as pl

from crypto_assets.lake.tables import Field, RawTable
from crypto_assets.market import handles
from crypto_assets.market.errors import BadPayloadError
from crypto_assets.market.time import DAY, Window
from crypto_assets.sources import _payload as payload
from crypto_assets.sources._providers import Provider, provide
from crypto_assets.sources._spec import History, Source

if TYPE_CHECKING:
    from crypto_assets.sources._http import Http

PROVIDER = provide(Provider("gdelt_doc", "https://api.gdeltproject.org", rate=1, per=6, attempts=3))
PATH = "/api/v2/doc/doc"
MODES = {"tone": "timelinetone", "volume_pct": "timelinevol"}
DAILY_FROM = 10 * DAY


class RawGdeltTone(RawTable):
    """One row per coin and day."""

    name = "raw/gdelt_tone"

    symbol: str = Field(meaning="our symbol")
    tone: float | None = Field(ge=-100, le=100, meaning="mean tone of the articles, negative to positive")
    volume_pct: float | None = Field(ge=0, le=100, unit="%", meaning="share of all articles that GDELT saw")


def fetch(window: Window, http: Http) -> pl.DataFrame:
    """One row per coin and day in `window`. Raises a SourceError, RateLimitedError after three refusals in a row."""
    frames = [RawGdeltTone.empty().drop("source", "available_at")]
    for coin, names in handles.known(http.universe):
        tone, volume = (_timeline(http, window, names.search, metric) for metric in MODES)
        frames.append(tone.join(volume, on="ts", how="full", coalesce=True).with_columns(symbol=pl.lit(coin.symbol)))
    return SOURCE.rows(pl.concat(frames, how="diagonal"), window, http.now())


def _timeline(http: Http, window: Window, search: str, metric: str) -> pl.DataFrame:
    """Columns ts and the metric."""
    first = min(window.start, window.end - DAILY_FROM)
    params = {
        "query": f"{search} sourcelang:english",
        "mode": MODES[metric],
        "format": "json",
        "startdatetime": f"{first:%Y%m%d%H%M%S}",
        "enddatetime": f"{window.end - timedelta(seconds=1):%Y%m%d%H%M%S}",
    }
    series = _series(http.get_text(PROVIDER.key, PATH, params))
    days = pl.DataFrame(
        {
            "date": payload.field(series, "date", payload.text, PROVIDER.key, PATH),
            metric: payload.field(series, "value", payload.number, PROVIDER.key, PATH),
        },
        schema={"date": pl.String, metric: pl.Float64},
    )
    return payload.instants(days, "date", "%Y%m%dT%H%M%SZ", PROVIDER.key, PATH).drop("date")


def _series(text: str) -> list[Any]:
    """The points; none where nothing was found, which is an empty object or an empty list."""
    try:
        body = json.loads(text, strict=False)
    except ValueError:
        raise BadPayloadError(PROVIDER.key, f"{PATH}: expected JSON, found {text[:80]!r}: change the query") from None
    lines = payload.entries(body, PROVIDER.key, PATH, "timeline") if body != {} else []
    return payload.entries(lines[0], PROVIDER.key, PATH, "data") if lines else []


SOURCE = Source(
    table=RawGdeltTone,
    fetch=fetch,
    provider=PROVIDER.key,
    available_at=pl.col("ts") + timedelta(hours=25),
    pool=PROVIDER.key,
    history=History("days", 90),
    freshness=timedelta(days=3),
    terms="free for any use with citation of the GDELT project",
    may_fail=True,
    substitute="refuses calls under load; the headlines of raw/news, from GDELT's bulk files, are the default",
)
