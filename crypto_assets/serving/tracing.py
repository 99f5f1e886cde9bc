"""From a served prediction back to where it came from: the row of features, the raw rows, the bundle, the fits, the code.

Nothing is guessed: the bundle is found in the registry by its hash, the row in `features/matrix` by its hour or as it was sent,
and the raw partitions are those that the families' declared lookback reaches.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import polars as pl

from crypto_assets.dataset.assemble import derivations
from crypto_assets.dataset.labels import DERIVATION as LABELS
from crypto_assets.evaluation.model_registry import ModelRegistry
from crypto_assets.features import families
from crypto_assets.lake import Lake
from crypto_assets.lake.hot import FILE, open_hot
from crypto_assets.market.errors import CryptoAssetsError, SettingsError
from crypto_assets.serving import records
from crypto_assets.settings import Settings
from crypto_assets.sources.stream.polling import name_of
from crypto_assets.sources.stream.tables import kind

SAMPLE = 3
"""Raw rows shown of each table: the newest that were known."""
VENUES = {"raw/binance_candles": "binance_spot", "raw/binance_perp_candles": "binance_futures"}


def trace(settings: Settings, prediction_id: str) -> dict[str, Any]:
    """Everything behind a prediction. Raises SettingsError for an id, or a beginning of one, that names no single record."""
    lake = Lake(settings.lake)
    found = records.find(lake.root, prediction_id)
    if found is None:
        raise SettingsError(
            f"no single prediction {prediction_id!r} was served from {lake.root}: GET /predictions shows ids, write it whole"
        )
    answer = found["answer"]
    at = datetime.fromisoformat(answer["timestamp"])
    return {
        "prediction": answer,
        "served_at": found["served_at"],
        "features": _features(lake, answer["symbol"], at, found["features"]),
        "raw": _raw(lake, settings, answer["symbol"], at),
        "bundle": _bundle(settings, answer["model_version"]),
    }


def _features(lake: Lake, symbol: str, at: datetime, sent: dict[str, Any] | None) -> dict[str, Any]:
    """The row that was read: as it was sent, or where the table has it."""
    if sent is not None:
        return {"from": "sent with the request", "columns": len(sent), "row": sent}
    path = lake.path("features/matrix", at.date())
    rows = lake.scan("features/matrix", at, at + timedelta(hours=1)).filter(pl.col("symbol") == symbol).collect()
    if rows.is_empty():
        return {
            "from": "computed at the close from the hot store; the daily run writes it to features/matrix",
            "columns": 0,
            "row": None,
        }
    row = {k: v for k, v in rows.row(0, named=True).items() if k not in ("ts", "available_at", "symbol")}
    return {"from": str(path.relative_to(lake.root)), "columns": len(row), "row": row}


def _raw(lake: Lake, settings: Settings, symbol: str, at: datetime) -> list[dict[str, Any]]:
    """Each raw table that was read: days from where the lookback begins, files, and the newest rows known at the hour."""
    found = []
    for table, back in sorted(reach().items()):
        first = (at - back).date()
        days = [day for day in lake.days(table) if first <= day <= at.date()]
        live = name_of_table(table)
        polled = [day for day in lake.days(live) if first <= day <= at.date()]
        streamed = _streamed(lake, settings, table, symbol, at)
        if days or polled or streamed:
            found.append(
                {
                    "table": table,
                    "lookback_days": back / timedelta(days=1),
                    "partitions": [lake.path(table, d).relative_to(lake.root).as_posix() for d in (days[:1] + days[1:][-1:])],
                    "days": len(days),
                    "polled": [lake.path(live, d).relative_to(lake.root).as_posix() for d in polled[-SAMPLE:]],
                    "newest_rows": streamed or _newest(lake, table, symbol, at, days),
                }
            )
    return found


def reach() -> dict[str, timedelta]:
    """Raw table -> how far back a row of the matrix may read it, through every table between."""
    back: dict[str, timedelta] = {"features/matrix": timedelta(0)}
    for step in reversed([s for s in derivations(list(families().values())) if s.name != LABELS.name]):
        if step.name in back:
            for table, far in step.reach().items():
                back[table] = max(back.get(table, timedelta(0)), back[step.name] + far)
    return {table: far for table, far in back.items() if table.startswith("raw/")}


def name_of_table(table: str) -> str:
    """Where polled rows of a raw table lie."""
    from crypto_assets.sources import discover

    return name_of(discover()[table.removeprefix("raw/")])


def _streamed(lake: Lake, settings: Settings, table: str, symbol: str, at: datetime) -> list[dict[str, Any]]:
    if table not in VENUES or (settings.redis_url is None and not (lake.root / FILE).exists()):
        return []
    hot = open_hot(settings)
    try:
        rows = hot.range(kind(VENUES[table], "candles_1h"), symbol, at - SAMPLE * timedelta(hours=1), at)
    finally:
        hot.close()
    return [{"ts": row.ts.isoformat(), "from": "hot store", **row.value} for row in rows]


def _newest(lake: Lake, table: str, symbol: str, at: datetime, days: list[Any]) -> list[dict[str, Any]]:
    if not days:
        return []
    rows = lake.scan(table, None, at).filter(pl.col("available_at") <= at)
    names = rows.collect_schema().names()
    if "symbol" in names:
        rows = rows.filter(pl.col("symbol") == symbol)
    newest = rows.sort("ts", "available_at").tail(SAMPLE).collect()
    return [{k: v.isoformat() if isinstance(v, datetime) else v for k, v in row.items()} for row in newest.to_dicts()]


def _bundle(settings: Settings, version: str) -> dict[str, Any]:
    """The registered bundle: its number, its lineage, and every fit in it."""
    registry = ModelRegistry(settings)
    registered = registry.find(version)
    if registered is None:
        return {"version": version, "registered": None}
    try:
        bundle = registry.load(registered.number)
    except CryptoAssetsError as error:
        return {"version": version, "registered": registered.number, "problem": str(error)}
    fits = {
        name: {
            "version": fit.version,
            "trained_from": fit.trained_from.isoformat(),
            "trained_until": fit.trained_until.isoformat(),
            "features": len(fit.columns),
            "dropped": len(fit.dropped),
            "checkpoint": f"{registered.source}/members/{name}",
            "fold": bundle.lineage.get("folds", {}).get(name),
        }
        for name, fit in bundle.members.items()
    }
    return {
        **bundle.describe(),
        "registered": registered.number,
        "registered_at": registered.registered_at.isoformat(),
        "source": registered.source,
        "fits": fits,
    }
