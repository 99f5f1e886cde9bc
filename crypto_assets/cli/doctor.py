"""`doctor`: every source and its state, the device the nets run on, and the services around."""

from __future__ import annotations

import shutil
import sys
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from crypto_assets.settings import Settings, load

screen = Console(stderr=True)
WIDTH = 150
"""Least width of the table where the output is not a terminal."""
COLOURS = {"ok": "green", "no key": "yellow", "not switched on": "yellow", "not asked": "dim", "unreachable": "red"}


def run(*, world: str | None, lake: Path | None) -> dict[str, Any]:
    """Look at everything, print it, return the JSON of the contract."""
    from crypto_assets.lake import Lake
    from crypto_assets.orchestration.access import adopt
    from crypto_assets.sources import discover
    from crypto_assets.sources._health import check

    settings = adopt(load(world=world, lake=lake))
    with screen.status("asking the providers, a few seconds"):
        sources = [asdict(h) for h in check(discover().values(), settings, Lake(settings.lake))]
        result = {"sources": sources, "gpu": gpu(), "services": services(settings)}
    _show(result, settings)
    return result


def gpu() -> dict[str, Any]:
    """The device and a checked sample workload."""
    from crypto_assets.models.training import hardware

    return hardware.describe() | {"sample": hardware.sample()}


def services(settings: Settings) -> dict[str, dict[str, Any]]:
    """Lake, Dagster, MLflow, hot store, sandbox: where they are and whether they answer."""
    lake = Path(settings.lake).resolve()
    folder = next(p for p in (lake, *lake.parents) if p.exists())
    free = shutil.disk_usage(folder).free
    return {
        "python": {"status": "ok", "detail": sys.version.split()[0]},
        "lake": {"status": "ok" if free > 2**30 else "nearly full", "detail": f"{lake}, {free / 2**30:.1f} GB free"},
        "mlflow": {"status": "ok", "detail": settings.tracking_uri.split("@")[-1]},
        "hot store": _hot_store(settings),
        "sandbox": _sandbox(settings),
    }


def _hot_store(settings: Settings) -> dict[str, Any]:
    if settings.redis_url is None:
        return {"status": "ok", "detail": "embedded (set CRYPTO_ASSETS_REDIS_URL for Redis)"}
    import redis

    try:
        redis.Redis.from_url(settings.redis_url.get_secret_value(), socket_timeout=3).ping()
    except (redis.RedisError, ValueError, OSError) as error:
        return {"status": "unreachable", "detail": f"Redis: {type(error).__name__}: check CRYPTO_ASSETS_REDIS_URL"}
    return {"status": "ok", "detail": "Redis"}


def _sandbox(settings: Settings) -> dict[str, Any]:
    import httpx

    try:
        health = httpx.get(f"{settings.sandbox_url.rstrip('/')}/health", timeout=2, trust_env=False).json()
    except (httpx.HTTPError, ValueError):
        return {"status": "not running", "detail": f"{settings.sandbox_url} (demo, build and ui start one themselves)"}
    return {"status": "ok", "detail": f"{settings.sandbox_url}, market {health.get('market')}, now {health.get('now')}"}


def _show(result: dict[str, Any], settings: Settings) -> None:
    out = screen if screen.is_terminal else Console(stderr=True, width=WIDTH)
    table = Table("source", "provider", "key", "status", "last partition", "history", "rate limit", "what to know")
    reasons = Counter(row["reason"] for row in result["sources"] if row["reason"])
    common = {reason for reason, count in reasons.items() if count > 3}
    for row in result["sources"]:
        key = "keyless" if not row["keyed"] else "set" if row["has_key"] else "missing"
        colour = COLOURS.get(row["status"], "")
        status = f"[{colour}]{row['status']}[/]" if colour else row["status"]
        said = "; ".join(t for t in (row["reason"], row["substitute"]) if t and t not in common)
        table.add_row(
            row["name"], row["provider"], key, status, row["last_partition"] or "-", row["history"], row["rate_limit"], said
        )
    out.print(table)
    for reason in common:
        out.print(f"{reasons[reason]} of them: {reason}", style="yellow", highlight=False)
    device, sample = result["gpu"], result["gpu"]["sample"]
    out.print(
        f"device     {device.get('name', 'CPU')} ({device['backend']}, torch {device['torch']}), sample product "
        f"{sample['tflops']} TFLOP/s in {sample['dtype']}, {'right' if sample['is_right'] else 'WRONG'}",
        highlight=False,
    )
    for line in device["advice"]:
        out.print(f"           {line}", style="yellow", highlight=False)
    for name, service in result["services"].items():
        out.print(f"{name:10} {service['status']}: {service['detail']}", highlight=False, markup=False)
    known = [row["status"] for row in result["sources"]]
    counts = ", ".join(f"{known.count(s)} {s}" for s in dict.fromkeys(known))
    out.print(f"\n{len(known)} sources in world {settings.world}: {counts}", highlight=False)
