"""Raw, curated, feature and label tables: one factory for sources, one for everything derived."""

import math
from collections.abc import Sequence
from datetime import date

import dagster as dg
import polars as pl

from crypto_assets.lake import Derivation, Lake, Table
from crypto_assets.lake.pieces import in_pieces
from crypto_assets.market.coins import Coin
from crypto_assets.market.errors import SourceError
from crypto_assets.market.time import DAY, Window
from crypto_assets.orchestration.access import Access
from crypto_assets.orchestration.checks import (
    bad_rows,
    column_schema,
    firewall_result,
    firewall_spec,
    ingest_result,
    schema_spec,
    written_result,
)
from crypto_assets.orchestration.partitions import Partitions, days, window_of
from crypto_assets.settings import Settings
from crypto_assets.sources import Source
from crypto_assets.sources._ingest import ingest

RETRY = dg.RetryPolicy(max_retries=3, delay=2, backoff=dg.Backoff.EXPONENTIAL, jitter=dg.Jitter.PLUS_MINUS)
OWNERS = {"raw": "team:data", "curated": "team:data", "features": "team:research", "labels": "team:research"}


def source_asset(source: Source, settings: Settings, parts: Partitions) -> dg.AssetsDefinition:
    """`raw/<source>`: fetched in worlds sandbox and live, read from the staged imports in world archive."""
    table = source.table
    key = table.name.split("/")
    live = settings.world == "live"

    @dg.asset(
        key=key,
        partitions_def=parts.daily,
        backfill_policy=dg.BackfillPolicy.multi_run(30) if live else dg.BackfillPolicy.single_run(),
        pool=source.pool,
        retry_policy=RETRY if live else None,
        kinds={"polars", "parquet"},
        group_name="raw",
        owners=[OWNERS["raw"]],
        tags={"provider": source.provider, "tier": "core" if source.is_core else "more"},
        description=_doc(source.fetch, table),
        metadata={"dagster/column_schema": column_schema(table), "terms": source.terms, "provider": source.provider},
        check_specs=[schema_spec(key)],
        freshness_policy=dg.FreshnessPolicy.time_window(fail_window=source.freshness) if live else None,
        required_resource_keys={"access"},
    )
    def raw(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        access: Access = context.resources.access
        window = window_of(context)
        rows, reason = fetched(source, access, window)
        done = ingest(table, rows, access.lake, window, expected(settings, rows), access.now())
        metadata = {"dagster/row_count": done.total, "quarantined": done.quarantined.height}
        return dg.MaterializeResult(metadata=metadata, check_results=[ingest_result(table, done, reason)])

    return raw


def expected(settings: Settings, rows: pl.DataFrame) -> Sequence[Coin]:
    """Coins whose bars are due: the universe, or in world archive those of it that were imported."""
    if settings.world != "archive" or "symbol" not in rows.columns:
        return settings.universe.coins
    imported = set(rows["symbol"].unique())
    return [coin for coin in settings.universe if coin.symbol in imported]


def fetched(source: Source, access: Access, window: Window):
    """Rows of `window` and, where there can be none, the reason (no key, before the provider's history)."""
    if access.settings.world == "archive":
        from crypto_assets.sources import _archive

        rows = _archive.read(access.lake, source, window)
        return rows, None if rows.height else "nothing was imported for these days"
    early = source.history.before(window, access.now()) if source.history.kind != "none" else None
    if early:
        return source.table.empty(), early
    off = switched_off(source, access.settings)
    if off:
        return source.table.empty(), off
    if source.history.kind == "none":
        from crypto_assets.sources import _capture

        rows = _capture.read(access.lake, source, window)
        return rows, None if rows.height else "the provider keeps no history, and nothing was captured on these days"
    try:
        return source.fetch(window, access.http), None
    except SourceError as error:
        if not source.may_fail:
            raise
        return source.table.empty(), f"this provider may fail, and did: {error}"


def switched_off(source: Source, settings: Settings) -> str | None:
    """Why the source is not asked: a key is missing, or its terms are not accepted; None where it is."""
    unset = [k for k in source.keys if getattr(settings, k, None) is None]
    if unset:
        return f"no key: set {', '.join('CRYPTO_ASSETS_' + k.upper() for k in unset)}"
    if source.consent and settings.world == "live" and not getattr(settings, source.consent):
        return f"off by its terms ({source.terms}): set CRYPTO_ASSETS_{source.consent.upper()}=true if you may"
    return None


def derived_asset(derivation: Derivation, parts: Partitions) -> dg.AssetsDefinition:
    """`curated/...`, `features/...`, `labels/...`: one derivation, any number of days in one run."""
    table: type[Table] = derivation.table
    key = table.name.split("/")
    after = math.ceil(derivation.lookahead / DAY)
    reach = {name: days(before=math.ceil(back / DAY), after=after) for name, back in derivation.reach().items()}

    @dg.asset(
        key=key,
        deps=[dg.AssetDep(name.split("/"), partition_mapping=mapping) for name, mapping in reach.items()],
        partitions_def=parts.daily,
        backfill_policy=dg.BackfillPolicy.single_run(),
        kinds={"polars", "parquet"},
        group_name=key[0],
        owners=[OWNERS[key[0]]],
        description=_doc(derivation.compute, table, derivation.doc),
        metadata={
            "dagster/column_schema": column_schema(table),
            "lookback_hours": derivation.lookback.total_seconds() / 3600,
            "lookahead_hours": derivation.lookahead.total_seconds() / 3600,
        },
        check_specs=[schema_spec(key), *([firewall_spec(key)] if key[0] == "features" else [])],
        required_resource_keys={"access"},
    )
    def derived(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        lake = context.resources.access.lake
        window = window_of(context)
        by_day, problems = written(derivation, lake, window)
        results = [written_result(table, sum(by_day.values()), by_day, problems)]
        if key[0] == "features":
            results.append(firewall_result(derivation, lake, window))
        metadata = {"dagster/row_count": sum(by_day.values()), "columns": len(table.dtypes)}
        return dg.MaterializeResult(metadata=metadata, check_results=results)

    return derived


def written(derivation: Derivation, lake: Lake, window: Window) -> tuple[dict[date, int], list[pl.DataFrame | str]]:
    """Write the table piece by piece; rows by day, and what breaks its schema."""
    by_day: dict[date, int] = {}
    problems: list[pl.DataFrame | str] = []
    for piece, rows in in_pieces(derivation, lake, window, spill=lake.root / "cache"):
        by_day |= lake.write(derivation.table, rows, piece)
        bad = bad_rows(derivation.table, rows)
        problems += [bad] if isinstance(bad, str) or bad.height else []
    return by_day, problems


def _doc(function: object, table: type[Table], fallback: str = "") -> str:
    import sys

    module = sys.modules.get(getattr(function, "__module__", ""))
    text = (getattr(module, "__doc__", None) or getattr(table, "__doc__", None) or fallback or table.name).strip()
    return text
