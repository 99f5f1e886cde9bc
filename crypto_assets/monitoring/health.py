"""How old the tables are: the newest day of each that others live from, against how old it may be."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

from crypto_assets.lake import Lake
from crypto_assets.market.time import DAY, HOUR, midnight

LIMITS: dict[str, timedelta] = {
    "curated/candles": DAY + 6 * HOUR,
    "features/matrix": DAY + 6 * HOUR,
    "labels/targets": DAY + 6 * HOUR,
    "fusion/fused": DAY + 6 * HOUR,
    "forecasts/latest": 3 * HOUR,
}
"""The daily run writes yesterday by about 04:30 UTC, so a daily table is at most a day and a few hours behind; the hourly
forecast follows its bar by minutes, and is looked at only where a stream has ever made one."""
HOURLY = ("forecasts/latest",)


@dataclass(frozen=True)
class Age:
    """`until`: end of what the table holds."""

    table: str
    until: datetime | None
    age: timedelta | None
    limit: timedelta

    @property
    def is_stale(self) -> bool:
        """Older than it may be, or not there at all."""
        return self.age is None or self.age > self.limit

    def json(self) -> dict[str, Any]:
        """Plain values; hours."""
        hours = None if self.age is None else round(self.age / HOUR, 2)
        until = None if self.until is None else self.until.isoformat()
        found = {k: v for k, v in asdict(self).items() if k == "table"}
        return found | {"until": until, "age_hours": hours, "limit_hours": self.limit / HOUR, "is_stale": self.is_stale}


def ages(lake: Lake, now: datetime) -> list[Age]:
    """The age of every table of `LIMITS` at `now`; the hourly one only where it exists."""
    found = []
    for table, limit in LIMITS.items():
        days = lake.days(table)
        if table in HOURLY and not days:
            continue
        until = None if not days else midnight(days[-1]) + DAY
        if table in HOURLY and until is not None:
            until = lake.scan(table, until - DAY, until).collect()["ts"].max()  # type: ignore[assignment]
        found.append(Age(table, until, None if until is None else max(now - until, timedelta(0)), limit))
    return found
