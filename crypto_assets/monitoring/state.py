"""The current state as one plain object: what `crypto-assets monitor`, the metrics and the alerts are made from.

Everything is read from the lake's `monitoring` tables and files; nothing is computed anew but ages.
"""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import Any

import polars as pl

from crypto_assets.lake import Lake, Table
from crypto_assets.market.errors import LakeError
from crypto_assets.market.time import DAY, midnight
from crypto_assets.monitoring.alerts import Alert, Desk
from crypto_assets.monitoring.health import ages
from crypto_assets.monitoring.tables import (
    MonitoringChallengers,
    MonitoringDrift,
    MonitoringLiveAccuracy,
    MonitoringPromotions,
)

TRIGGER, HEALTH = "monitoring/trigger.json", "monitoring/health.json"
SHOWN = 20
"""Series, challengers and verdicts that are listed."""


def read(lake: Lake, now: datetime) -> dict[str, Any]:
    """Drift, live accuracy, trigger, challenger, promotions, freshness, failed checks, open alerts; plain JSON."""
    drifted, live = newest(lake, MonitoringDrift), newest(lake, MonitoringLiveAccuracy)
    promotions = recent(lake, MonitoringPromotions)
    return {
        "at": now.isoformat(),
        "as_of": _as_of(drifted, live),
        "drift": {kind: _drift(drifted.filter(pl.col("kind") == kind)) for kind in ("feature", "forecast")},
        "live": live.drop("ts", "available_at").to_dicts(),
        "trigger": load(lake, TRIGGER) or {"reasons": [], "change": None, "as_of": None},
        "challengers": _plain(recent(lake, MonitoringChallengers)),
        "in_shadow": in_shadow(lake),
        "promotions": _plain(promotions),
        "freshness": [age.json() for age in ages(lake, now)],
        "failed_checks": (load(lake, HEALTH) or {}).get("failed_checks", []),
        "alerts": Desk(lake, None).open(),
    }


def in_shadow(lake: Lake) -> str | None:
    """The bundle of the newest challenger that the gate has not decided on, or None."""
    fitted = recent(lake, MonitoringChallengers)
    if fitted.is_empty():
        return None
    bundle = str(fitted["bundle"][-1])
    decided = recent(lake, MonitoringPromotions).filter(pl.col("challenger") == bundle, pl.col("verdict") != "wait")
    return bundle if decided.is_empty() else None


def last_fit(lake: Lake) -> datetime | None:
    """When (as of) the newest challenger was fitted."""
    fitted = recent(lake, MonitoringChallengers)
    return None if fitted.is_empty() else fitted["ts"][-1]


def newest(lake: Lake, table: type[Table]) -> pl.DataFrame:
    """The rows of the newest day."""
    days = lake.days(table.name)
    return lake.scan(table.name, midnight(days[-1]), midnight(days[-1]) + DAY).collect() if days else table.empty()


def recent(lake: Lake, table: type[Table], rows: int = SHOWN) -> pl.DataFrame:
    """The newest rows, oldest first."""
    return lake.scan(table.name).sort("ts").tail(rows).collect() if lake.days(table.name) else table.empty()


def load(lake: Lake, file: str) -> dict[str, Any] | None:
    """A JSON file of the layer, None where there is none. Raises LakeError for a damaged one."""
    path = lake.root / file
    if not path.exists():
        return None
    try:
        return json.loads(path.read_text())
    except ValueError as error:
        raise LakeError(f"{path} is not JSON ({error}): run the job `monitor` again") from error


def alerts(state: dict[str, Any]) -> list[Alert]:
    """What of the state a person should be told: critical where forecasts cannot be relied on, warning where they may not."""
    found = [
        Alert(f"stale {row['table']}", "critical", f"{row['table']} is stale", _age_text(row))
        for row in state["freshness"]
        if row["is_stale"]
    ]
    if state["failed_checks"]:
        names = ", ".join(state["failed_checks"][:SHOWN])
        found.append(Alert("checks", "warning", f"{len(state['failed_checks'])} asset checks fail", names))
    if state["trigger"]["reasons"]:
        found.append(Alert("decay", "critical", "the champion is to be replaced", "\n".join(state["trigger"]["reasons"])))
    for kind, told in state["drift"].items():
        if told["is_drift"]:
            text = (
                f"{told['drifted']} of {told['series']} {kind}s, chance explains {told['chance']}: {', '.join(told['worst'])}"
            )
            found.append(Alert(f"drift {kind}", "warning", f"{kind}s have drifted", text))
    if state["promotions"] and state["promotions"][-1]["verdict"] == "promote":
        row = state["promotions"][-1]
        found.append(Alert(f"promoted {row['challenger']}", "info", f"{row['challenger']} is the champion", row["reason"]))
    return found


def _drift(rows: pl.DataFrame) -> dict[str, Any]:
    drifted = rows.filter("is_drifted").sort("ks", descending=True)
    chance = int(rows["chance"][0]) if rows.height else 0
    return {
        "series": rows.height,
        "drifted": drifted.height,
        "chance": chance,
        "is_drift": drifted.height > chance,
        "worst": drifted["series"].head(SHOWN).to_list(),
        "shifts": _plain(drifted.head(SHOWN)),
    }


def _as_of(*frames: pl.DataFrame) -> str | None:
    times = [f["ts"][0] for f in frames if f.height]
    return max(times).isoformat() if times else None


def _plain(rows: pl.DataFrame) -> list[dict[str, Any]]:
    text = [pl.col(c).dt.strftime("%Y-%m-%dT%H:%M:%SZ") for c, t in rows.schema.items() if isinstance(t, pl.Datetime)]
    return rows.with_columns(text).drop("available_at").to_dicts()


def _age_text(row: dict[str, Any]) -> str:
    if row["age_hours"] is None:
        return "it has no day at all: run `crypto-assets build`"
    age = timedelta(hours=row["age_hours"])
    return f"its newest data end {age} ago, at {row['until']}; allowed are {row['limit_hours']:.0f} hours"
