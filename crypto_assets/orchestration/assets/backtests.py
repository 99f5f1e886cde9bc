"""Scores, accounts, report and catalog: what the forecasts are worth, net of costs."""

import json
from collections.abc import Iterator
from typing import Any

import dagster as dg
import polars as pl

from crypto_assets.lake import Lake, Table
from crypto_assets.lake.store import write_bytes
from crypto_assets.market.time import Window
from crypto_assets.orchestration.access import Access
from crypto_assets.orchestration.checks import column_schema, finite, schema_result, schema_spec
from crypto_assets.orchestration.walk import forecast_tables
from crypto_assets.settings import Settings
from crypto_assets.trading.tables import BacktestsEquity, BacktestsTrades

OWNERS = ["team:research"]


ALL = dg.AllPartitionMapping()
EVALUATION = "Every model and baseline on the same out-of-sample rows: skill, intervals, kappa, backtest."
REPORT = "One self-contained HTML page: skill, calibration, equity, costs. Linked in the metadata."
NO_SKILL = "On the null market every model's skill is within chance (99 %, Bonferroni)"
CATALOG_DOC = "The DuckDB file of views over every table, built aside and swapped in: `crypto-assets query`."


def backtest_assets(names: list[str], settings: Settings) -> list[Any]:
    """`backtests/{evaluation, equity, trades, report, catalog}`, and the null-market check."""
    read = [*forecast_tables(names), "labels/targets", "curated/candles", "raw/binance_funding"]
    upstream = [dg.AssetDep(table.split("/"), partition_mapping=ALL) for table in read]

    @dg.multi_asset(
        name="backtests",
        specs=[
            _spec("evaluation", EVALUATION, {"python", "json"}, upstream),
            _spec("equity", str(BacktestsEquity.__doc__), {"polars", "parquet"}, upstream, BacktestsEquity),
            _spec("trades", str(BacktestsTrades.__doc__), {"polars", "parquet"}, upstream, BacktestsTrades),
            _spec("report", REPORT, {"plotly", "mlflow"}, [["backtests", "evaluation"]]),
        ],
        check_specs=[
            schema_spec(["backtests", "equity"]),
            schema_spec(["backtests", "trades"]),
            dg.AssetCheckSpec("no_skill_on_null", asset=dg.AssetKey(["backtests", "evaluation"]), description=NO_SKILL),
        ],
        required_resource_keys={"access"},
    )
    def backtests(context: dg.AssetExecutionContext):
        from crypto_assets.orchestration.outcome import outcome

        access: Access = context.resources.access
        done = outcome(access, names)
        write_bytes(access.lake.root / "backtests" / "evaluation.json", json.dumps(done.result, indent=1).encode())
        key, check = ["backtests", "evaluation"], _null_check(settings, done.result)
        yield dg.MaterializeResult(asset_key=key, metadata=done.headline(), check_results=[check])
        yield from _account_tables(access.lake, list(done.assessment.backtests.values()))
        yield dg.MaterializeResult(asset_key=["backtests", "report"], metadata=done.report())

    return [backtests, _catalog_asset()]


def _spec(name: str, doc: str, kinds: set[str], deps: list[Any], table: type[Table] | None = None) -> dg.AssetSpec:
    metadata = {"dagster/column_schema": column_schema(table)} if table else {}
    return dg.AssetSpec(
        ["backtests", name], deps=deps, group_name="backtests", owners=OWNERS, kinds=kinds, description=doc, metadata=metadata
    )


def _account_tables(lake: Lake, accounts: list[Any]) -> Iterator[dg.MaterializeResult]:
    """Write every account's equity and trades, each table once."""
    equity = pl.concat([a.equity for a in accounts])
    trades = pl.concat([a.trades for a in accounts])
    days = equity["ts"].dt.date().unique().sort().to_list()
    window = Window.of_days(days[0], days[-1])
    for table, rows in ((BacktestsEquity, equity), (BacktestsTrades, trades)):
        lake.write(table, rows, window)
        yield dg.MaterializeResult(
            asset_key=table.name.split("/"),
            metadata={"dagster/row_count": rows.height},
            check_results=[schema_result(table, rows)],
        )


def _catalog_asset() -> dg.AssetsDefinition:
    @dg.asset(
        key=["backtests", "catalog"],
        deps=[["backtests", "equity"], ["backtests", "trades"]],
        group_name="backtests",
        owners=["team:data"],
        kinds={"duckdb"},
        description=CATALOG_DOC,
        required_resource_keys={"access"},
    )
    def catalog(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        from crypto_assets.lake.catalog import CATALOG, build

        lake: Lake = context.resources.access.lake
        views = build(lake)
        return dg.MaterializeResult(metadata={"views": len(views), "path": dg.MetadataValue.path(str(lake.root / CATALOG))})

    return catalog


def _null_check(settings: Settings, result: dict[str, Any]) -> dg.AssetCheckResult:
    if settings.world != "sandbox" or settings.market != "null":
        return dg.AssetCheckResult(
            passed=True,
            asset_key=["backtests", "evaluation"],
            check_name="no_skill_on_null",
            metadata={"applies": False, "market": settings.market},
        )
    from crypto_assets.evaluation.score import null_skill_failures

    failures = null_skill_failures(result)
    return dg.AssetCheckResult(
        passed=not failures,
        asset_key=["backtests", "evaluation"],
        check_name="no_skill_on_null",
        metadata=finite({"applies": True, "reason": "; ".join(failures) or "none"}),
    )
