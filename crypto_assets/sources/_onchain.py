"""What the on-chain sources share: long frames of one metric, and the refusal of an answer without any row."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

import polars as pl

from crypto_assets.lake.tables import UTC_US
from crypto_assets.market.errors import NotPublishedYetError
from crypto_assets.market.time import Window


def long(metric: str, ts: Sequence[datetime], values: Sequence[float | None]) -> pl.DataFrame:
    """Columns ts, metric, value; moments without a value have no row."""
    frame = pl.DataFrame({"ts": ts, "value": values}, schema={"ts": UTC_US, "value": pl.Float64})
    return frame.drop_nulls().with_columns(metric=pl.lit(metric)).select("ts", "metric", "value")


def complete(rows: pl.DataFrame, window: Window, lag: timedelta, now: datetime, provider: str) -> pl.DataFrame:
    """The rows. Raises NotPublishedYetError where there are none although the first day of the window was due by now."""
    if rows.is_empty() and window.start + lag < now:
        raise NotPublishedYetError(provider, f"expected values of {window.days[0]}, found none: ask again later")
    return rows
