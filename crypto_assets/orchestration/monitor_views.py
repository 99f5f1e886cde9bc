"""What Dagster shows of monitoring: checks with pictures, tables in metadata, the last verdict of every asset check."""

import json
from typing import Any

import dagster as dg
import numpy as np
import polars as pl

from crypto_assets.lake import Lake
from crypto_assets.lake.store import write_bytes
from crypto_assets.monitoring import figures, state
from crypto_assets.monitoring.alerts import Desk, Told
from crypto_assets.monitoring.drift import Drift
from crypto_assets.monitoring.tables import MonitoringLiveAccuracy
from crypto_assets.monitoring.triggers import Trigger, above_expectation
from crypto_assets.orchestration.access import Access
from crypto_assets.orchestration.checks import finite
from crypto_assets.orchestration.monitor import champion_rows, has_champion, judged_at, registry
from crypto_assets.orchestration.walk import load_panel

WORST = 15
"""Series in a picture."""
LAYER = "monitoring"


def drift_check(name: str, found: Drift) -> dg.AssetCheckResult:
    """Passed unless more series drifted than chance explains; the picture has the largest distances in units of their limit."""
    ratios = [(s.name, max(s.ks / s.ks_limit, s.psi / s.psi_limit, s.missing / s.missing_limit)) for s in found.shifts]
    worst = sorted(ratios, key=lambda r: -r[1])[:WORST]
    metadata = {
        "series": len(found.shifts),
        "drifted": len(found.drifted),
        "chance_explains": found.most,
        "picture": _picture(
            f"{name}: distance in units of its limit", figures.bars(f"{name}: largest distance / limit", worst)
        ),
    }
    if found.is_drift:
        metadata["reason"] = f"{len(found.drifted)} of {len(found.shifts)} {name} drifted, chance explains {found.most}"
    return _check(name, "drift", not found.is_drift, metadata)


def accuracy_table(rows: pl.DataFrame) -> dg.MetadataValue:
    """Every target of the longer window: value and interval."""
    longest = rows["window_days"].max() if rows.height else 0
    lines = ["| table | target | metric | value | 95 % | rows |", "|---|---|---|---|---|---|"]
    for r in rows.filter(pl.col("window_days").is_in([0, longest])).iter_rows(named=True):
        interval = "" if r["low"] is None else f"{r['low']:.4f} to {r['high']:.4f}"
        name = f"{r['metric']} (open)" if r["window_days"] == 0 else r["metric"]
        lines.append(f"| {r['table']} | {r['target']} | {name} | {r['value']:.4f} | {interval} | {r['rows']} |")
    return dg.MetadataValue.md("\n".join(lines))


def accuracy_checks(lake: Lake, rows: pl.DataFrame) -> list[dg.AssetCheckResult]:
    """Of the served 1 h forecast: better than a coin, calibrated, intervals that hold what they say."""
    history = _history(lake)
    return [
        _bounded("better_than_a_coin", rows, history, "log_loss", float(np.log(2)), two_sided=False),
        _bounded("calibrated", rows, history, "excess", 0.0, two_sided=False),
        _bounded("coverage", rows, history, "coverage", 0.90, two_sided=True),
    ]


def decay_check(access: Access, found: Trigger) -> dg.AssetCheckResult:
    """Passed while nothing asks for a new fit; the picture has the champion's loss above expectation, by day."""
    metadata: dict[str, Any] = {"reason": "; ".join(found.reasons) or "nothing asks for a new fit"}
    if has_champion(access):
        rows = champion_rows(registry(access).load(), load_panel(access.lake, access.settings), judged_at(access.lake))
        hours, more = above_expectation(rows)
        days, at = np.unique(hours.astype("datetime64[D]"), return_inverse=True)
        mean = np.bincount(at, more) / np.maximum(np.bincount(at), 1) if len(days) else np.empty(0)
        smooth = np.array([mean[max(0, n - 6) : n + 1].mean() for n in range(len(mean))])
        picture = figures.line(
            "champion's 1 h loss above expectation, mean of 7 days, nats", days.astype(str).tolist(), smooth, 0.0
        )
        metadata["picture"] = _picture("loss above expectation", picture)
    return _check("no_decay", "trigger", not found, metadata)


def shadow_picture(days: pl.DataFrame) -> dg.MetadataValue:
    """Cumulated gain of the challenger at 1 h: above zero it is ahead."""
    one = days.filter(target="1h")
    gain = ((one["champion"] - one["challenger"]) * one["rows"]).cum_sum() / one["rows"].cum_sum()
    text = [d.isoformat() for d in one["day"]]
    picture = figures.line("challenger in shadow: mean gain so far at 1 h, nats", text, gain.to_numpy(), 0.0)
    return _picture("gain of the challenger", picture)


def failed_checks(instance: dg.DagsterInstance, keys: list[dg.AssetCheckKey]) -> list[str]:
    """`asset check` of each of `keys` that failed at its last run."""
    last = instance.event_log_storage.get_latest_asset_check_execution_by_key(keys)
    failed = [k for k, record in last.items() if record is not None and record.status.value == "FAILED"]
    return sorted(f"{k.asset_key.to_user_string()} {k.name}" for k in failed)


def keep_health(access: Access, failed: list[str]) -> dict[str, Any]:
    """Ages and failed checks, written for the command line, the metrics and the alerts."""
    from crypto_assets.monitoring.health import ages

    now = access.now()
    told = {"at": now.isoformat(), "freshness": [a.json() for a in ages(access.lake, now)], "failed_checks": failed}
    write_bytes(access.lake.root / state.HEALTH, json.dumps(told, indent=1).encode())
    return told


def freshness_checks(told: dict[str, Any], failed: list[str]) -> list[dg.AssetCheckResult]:
    """`fresh` and `checks` of `monitoring/health`."""
    stale = [row["table"] for row in told["freshness"] if row["is_stale"]]
    ratios = [(r["table"], (r["age_hours"] or 10 * r["limit_hours"]) / r["limit_hours"]) for r in told["freshness"]]
    picture = _picture("ages", figures.bars("age of the tables / what it may be", ratios))
    fresh: dict[str, Any] = {"tables": dg.MetadataValue.json(told["freshness"]), "picture": picture}
    if stale:
        fresh["reason"] = f"older than they may be: {', '.join(stale)}"
    metadata = {"failed": "\n".join(failed) or "none"} | ({"reason": f"{len(failed)} checks fail"} if failed else {})
    return [_check("fresh", "health", not stale, fresh), _check("checks", "health", not failed, metadata)]


def tell_alerts(access: Access) -> Told:
    """What is wrong now, told where it is new."""
    now = access.now()
    desk = Desk(access.lake, access.settings.alert_urls)
    return desk.tell(state.alerts(state.read(access.lake, now)), now)


def _bounded(
    name: str, rows: pl.DataFrame, history: pl.DataFrame, metric: str, level: float, *, two_sided: bool
) -> dg.AssetCheckResult:
    """Failed where the interval of the 1 h metric lies above `level`, or, two-sided, anywhere beside it."""
    picked = pl.col("metric") == metric, pl.col("target") == "1h", pl.col("table") == "fusion/fused"
    mine, past = (x.filter(*picked, pl.col("window_days") == rows["window_days"].max()) for x in (rows, history))
    bands = [past[c].cast(pl.Float64).fill_null(float("nan")).to_numpy() for c in ("low", "high")]
    days = [t.date().isoformat() for t in past["ts"]]
    drawn = figures.line(
        f"{metric} at 1 h, with its 95 % interval", days, past["value"].to_numpy(), level, (bands[0], bands[1])
    )
    metadata: dict[str, Any] = {"level": level, "picture": _picture(metric, drawn)}
    if mine.is_empty() or mine["low"][0] is None:
        return _check(name, "live_accuracy", True, metadata | {"reason": "too few closed forecasts to tell"})
    value, low, high = mine.select("value", "low", "high").row(0)
    passed = low <= level and (high >= level or not two_sided)
    if not passed:
        metadata["reason"] = f"{metric} is {value:.5f} ({low:.5f} to {high:.5f}), expected {level:.5f}"
    return _check(name, "live_accuracy", passed, metadata | {"value": value, "low": low, "high": high})


def _history(lake: Lake) -> pl.DataFrame:
    if not lake.days(MonitoringLiveAccuracy.name):
        return MonitoringLiveAccuracy.empty()
    return lake.scan(MonitoringLiveAccuracy.name).collect().sort("ts")


def _check(name: str, asset: str, passed: bool, metadata: dict[str, Any]) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(
        passed=passed,
        check_name=name,
        asset_key=dg.AssetKey([LAYER, asset]),
        severity=dg.AssetCheckSeverity.WARN,
        metadata=finite(metadata),
    )


def _picture(title: str, svg: str) -> dg.MetadataValue:
    return dg.MetadataValue.md(figures.as_markdown(title, svg))
