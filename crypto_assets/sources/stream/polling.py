"""The slow tables of the open day: asked at their own pace, kept under `<lake>/live/<table>/` until their day is ingested.

What a provider keeps no history of is captured (`sources/_capture.py`): that is all there will ever be.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

import polars as pl

from crypto_assets.lake import Lake, revisions
from crypto_assets.lake.store import write_parquet
from crypto_assets.market.errors import CryptoAssetsError
from crypto_assets.market.time import DAY, Window, midnight
from crypto_assets.settings import Settings
from crypto_assets.sources import Source, _capture
from crypto_assets.sources._http import Http

STREAMED = ("binance_candles", "binance_perp_candles")
"""Tables whose open day the stream itself brings."""
FIRST_DAYS, LATER_DAYS = 7, 2
"""Days that the first poll and the later ones reach back: a provider's value of last week may come or change today."""
FASTEST, SLOWEST = timedelta(minutes=5), timedelta(hours=1)


def pollable(sources: Iterable[Source], settings: Settings, choice: str) -> list[Source]:
    """The tables to poll: `core` ones, `all`, or none (`none`); without those whose key is not set."""
    if choice == "none":
        return []
    wanted = [s for s in sources if s.name not in STREAMED and (s.is_core or choice == "all")]
    return [s for s in wanted if all(getattr(settings, key, None) is not None for key in s.keys)]


def pace(source: Source) -> timedelta:
    """How often: a twenty-fourth of the age at which its newest row counts as old, from five minutes to an hour."""
    return min(max(source.freshness / 24, FASTEST), SLOWEST)


def poll(source: Source, http: Http, lake: Lake, is_first: bool) -> str:
    """Ask once and keep what is new; returns what to show. A refusal of the provider is told, not raised."""
    try:
        if source.history.kind == "none":
            return f"captured {_capture.capture(source, http, lake)} rows"
        now = http.now()
        reach = FIRST_DAYS if is_first else LATER_DAYS
        rows = source.fetch(Window(midnight(now.date()) - reach * DAY, midnight(now.date()) + DAY), http)
        return f"{_keep(source, rows, lake, now)} new rows"
    except CryptoAssetsError as error:
        return f"refused: {str(error)[:120]}"


def name_of(source: Source) -> str:
    """Where the polled rows of a source lie: a table of the lake's layer `live`."""
    return f"live/{source.name}"


def read(lake: Lake, source: Source, start: datetime, end: datetime) -> pl.DataFrame:
    """What was polled with `start <= ts < end`, in table shape, all versions."""
    name = name_of(source)
    files = [lake.path(name, day) for day in lake.days(name) if start.date() <= day <= end.date()]
    if not files:
        return source.table.empty()
    return source.table.shape(pl.read_parquet(files)).filter(pl.col("ts") >= start, pl.col("ts") < end)


def _keep(source: Source, rows: pl.DataFrame, lake: Lake, now: datetime) -> int:
    new = 0
    for (day,), fetched in rows.group_by(pl.col("ts").dt.date(), maintain_order=True):
        start = midnight(day)  # type: ignore[arg-type]
        kept = read(lake, source, start, start + DAY)
        merged = revisions.merge(source.table, kept, fetched, now).sort([*source.table.key, "available_at"])
        new += merged.height - kept.height
        if merged.height > kept.height:
            write_parquet(lake.path(name_of(source), start.date()), merged)
    return new
