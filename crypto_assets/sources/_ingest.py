"""From rows as a provider gave them to a raw table: quarantine, versions, one atomic file a day. The same for every world."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime

import polars as pl

from crypto_assets.lake import Lake, RawTable, quarantine, revisions
from crypto_assets.market.coins import Coin
from crypto_assets.market.errors import SchemaError
from crypto_assets.market.time import Window


@dataclass(frozen=True)
class Ingested:
    """What one ingest did. `missing` is the share of (symbol, cadence) slots of listed coins without a row."""

    rows: dict[date, int]
    quarantined: pl.DataFrame
    missing: float

    @property
    def total(self) -> int:
        """Rows in the window."""
        return sum(self.rows.values())

    @property
    def quarantined_share(self) -> float:
        """Share of the fetched rows that were set aside."""
        return self.quarantined.height / max(self.quarantined.height + self.total, 1)


def ingest(
    table: type[RawTable],
    fetched: pl.DataFrame,
    lake: Lake,
    window: Window,
    due: Iterable[Coin],
    retrieved_at: datetime,
) -> Ingested:
    """Split, merge with what is kept, write every day of `window`.

    Raises SchemaError when the frame has the wrong shape or holds rows outside the window: that is a fetch gone wrong, not a
    bad row.
    """
    outside = fetched.filter((pl.col("ts") < window.start) | (pl.col("ts") >= window.end))
    if outside.height:
        raise SchemaError(f"{table.name}: {outside.height} rows outside {window.start} -> {window.end}, first {outside.row(0)}")
    parts = quarantine.split(table, fetched)
    kept = lake.scan(table.name, window.start, window.end).collect()
    merged = revisions.merge(table, kept, parts.good, retrieved_at)
    quarantine.keep_window(lake, table.name, window, parts.bad)
    return Ingested(lake.write(table, merged, window), parts.bad, missing_share(table, merged, window, list(due)))


def missing_share(table: type[RawTable], rows: pl.DataFrame, window: Window, coins: list[Coin]) -> float:
    """Share of the slots (symbol, cadence) that the listed ones of `coins` should have and have not; 0 without a cadence."""
    if table.cadence is None or "symbol" not in table.dtypes:
        return 0.0
    per_day = int(24 * 3600 / table.cadence.total_seconds())
    due = sum(per_day for day in window.days for coin in coins if coin.is_listed(day))
    found = rows.select("symbol", "ts").unique().filter(pl.col("symbol").is_in([c.symbol for c in coins])).height
    return max(0.0, 1 - found / due) if due else 0.0
