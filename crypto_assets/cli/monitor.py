"""`monitor`: the current state of what is served, in tables: drift, live accuracy, freshness, challenger, alerts."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

out = Console()
screen = Console(stderr=True)
WIDTH = 150
"""Least width where the output is not a terminal, which rich takes for 80 columns."""
SHOWN = {
    "accuracy": ("accuracy, %", 100, 1),
    "log_loss": ("log-loss", 1, 4),
    "skill": ("skill, %", 100, 2),
    "ece": ("ECE, %", 100, 1),
    "coverage": ("coverage, %", 100, 1),
    "excess": ("excess, 10⁻⁴", 1e4, 0),
}
"""Metric -> title of its column, factor, digits."""


def run(*, lake: Path | None, judge: bool, metrics_port: int | None, keep: Callable[[dict[str, Any]], None]) -> None:
    """Print the state and `keep` it; with `judge` the job `monitor` runs first, with a port the metrics are served then."""
    from crypto_assets.lake import Lake
    from crypto_assets.monitoring import metrics, state
    from crypto_assets.orchestration.access import adopt
    from crypto_assets.settings import load

    settings = adopt(load(lake=lake))
    if judge:
        _judge(settings)
    place = Lake(settings.lake)
    told = state.read(place, datetime.now(UTC))
    keep(told)
    show(told, out if out.is_terminal else Console(width=WIDTH))
    if metrics_port is not None:
        port, stop = metrics.serve(place, metrics_port)
        screen.print(f"metrics http://127.0.0.1:{port}/metrics (Ctrl-C stops)", highlight=False)
        _wait(stop)


def show(told: dict[str, Any], to: Console) -> None:
    """The state for people."""
    if told["as_of"] is None:
        to.print("nothing was judged yet: `crypto-assets monitor --judge`, or the job `monitor`", highlight=False)
    else:
        to.print(f"judged as of {told['as_of']}", highlight=False)
        to.print(_live(told["live"]))
        to.print(_drift(told["drift"]))
    to.print(_freshness(told["freshness"]))
    reasons = told["trigger"]["reasons"]
    to.print(f"retrain    {'; '.join(reasons) if reasons else 'nothing asks for one'}", style="red" if reasons else None)
    to.print(f"shadow     {told['in_shadow'] or 'no challenger'}", highlight=False)
    if told["promotions"]:
        to.print(_promotions(told["promotions"][-5:]))
    failed = told["failed_checks"]
    to.print(f"checks     {', '.join(failed) if failed else 'none fails'}", style="yellow" if failed else None, highlight=False)
    for row in told["alerts"].values():
        to.print(f"alert      {row['severity']}: {row['title']} (since {row['since'][:16]})", style="red", highlight=False)


def _judge(settings: Any) -> None:
    from crypto_assets.cli.build import served
    from crypto_assets.definitions import build_defs
    from crypto_assets.lake import Lake
    from crypto_assets.orchestration.run import Ran, instance_of, run_job

    with served(settings) as ready, instance_of(Lake(ready.lake)) as instance, screen.status("judging"):
        run_job(build_defs(ready), instance, "monitor", None, Ran(), lambda what, written: None)


def _wait(stop: Any) -> None:
    try:
        while True:
            time.sleep(3600)
    except KeyboardInterrupt:
        stop()


def _live(rows: list[dict[str, Any]]) -> Table:
    """The longer window, and below it what the open forecasts expect of themselves."""
    longest = max((r["window_days"] for r in rows), default=0)
    title = f"Served forecasts: the last {longest} days with closed labels (95 % interval), and the open ones"
    table = _table(title, "forecasts", "target", "days", *(t for t, _, _ in SHOWN.values()), "rows")
    keys = dict.fromkeys((r["table"], r["target"], r["window_days"]) for r in rows if r["window_days"] in (0, longest))
    for name, target, days in sorted(keys, key=lambda k: (k[0], k[1], -k[2])):
        mine = {r["metric"]: r for r in rows if (r["table"], r["target"], r["window_days"]) == (name, target, days)}
        count = str(max(r["rows"] for r in mine.values()))
        table.add_row(name, target, str(days or "open"), *(_cell(mine.get(m)) for m in SHOWN), count)
    return table


def _drift(drift: dict[str, Any]) -> Table:
    table = _table("Drift", "of", "series", "drifted", "chance explains", "farthest")
    for kind, row in drift.items():
        style = "red" if row["is_drift"] else None
        farthest = ", ".join(row["worst"][:4])
        table.add_row(f"{kind}s", str(row["series"]), str(row["drifted"]), str(row["chance"]), farthest, style=style)
    return table


def _freshness(rows: list[dict[str, Any]]) -> Table:
    table = _table("Freshness", "table", "data until", "age, h", "may be, h")
    for row in rows:
        age = "none" if row["age_hours"] is None else f"{row['age_hours']:.1f}"
        until = (row["until"] or "-")[:16]
        table.add_row(row["table"], until, age, f"{row['limit_hours']:.0f}", style="red" if row["is_stale"] else None)
    return table


def _promotions(rows: list[dict[str, Any]]) -> Table:
    table = _table("The gate", "as of", "challenger", "verdict", "days", "gain, nats", "p", "because")
    for row in rows:
        gain, p = ("" if row[c] is None else f"{row[c]:.5f}" for c in ("gain", "p"))
        table.add_row(row["ts"][:10], row["challenger"], row["verdict"], str(row["days"]), gain, p, row["reason"])
    return table


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, box=SIMPLE_HEAD, title_justify="left")
    for name in columns:
        table.add_column(name, overflow="fold", no_wrap=name not in ("because", "farthest"))
    return table


def _cell(row: dict[str, Any] | None) -> str:
    if row is None:
        return ""
    _, factor, digits = SHOWN[row["metric"]]
    value, low, high = (None if row[c] is None else f"{factor * row[c]:.{digits}f}" for c in ("value", "low", "high"))
    return str(value) if low is None else f"{value}\n{low} to {high}"
