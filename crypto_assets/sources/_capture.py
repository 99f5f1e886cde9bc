"""Snapshots of providers that keep no history: captured as they are seen, read back a day at a time.

`crypto-assets stream` captures; the raw asset of the day then materialises from `<lake>/captured/<table>/`, through the same
schema check, quarantine and revisions as every other table.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import polars as pl

from crypto_assets.lake import Lake
from crypto_assets.lake.store import write_parquet
from crypto_assets.market.time import DAY, Window
from crypto_assets.sources._spec import Source

if TYPE_CHECKING:
    from crypto_assets.sources._http import Http

FOLDER = "captured"


def capture(source: Source, http: Http, lake: Lake) -> int:
    """Ask `source` for the present moment and keep what it says; returns how many rows. Raises like the source's `fetch`."""
    now = http.now()
    rows = source.fetch(Window(now - timedelta(minutes=10), now + timedelta(minutes=10)), http)
    if rows.height:
        stamp = now.strftime("%Y-%m-%dT%H%M%S")
        write_parquet(lake.root / FOLDER / source.name / now.date().isoformat() / f"{stamp}.parquet", rows)
    return rows.height


def read(lake: Lake, source: Source, window: Window) -> pl.DataFrame:
    """What was captured with `ts` in the window, in table shape; of equal keys the first that was seen, also the day before."""
    days = window.widen(before=DAY).days
    files = [f for day in days for f in sorted((lake.root / FOLDER / source.name / day.isoformat()).glob("*.parquet"))]
    if not files:
        return source.table.empty()
    rows = source.table.shape(pl.read_parquet(files))
    first = rows.sort([*source.table.key, "available_at"]).unique(list(source.table.key), keep="first", maintain_order=True)
    return first.filter(pl.col("ts") >= window.start, pl.col("ts") < window.end)
