"""Scores, accounts, report and catalog: what the forecasts are worth, net of costs."""

import json
from collections.abc import Iterator, Sequence
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
from crypto_assets.trading.strategies import strategies
from crypto_assets.trading.tables import (
    BacktestsEquity,
    BacktestsOrders,
    BacktestsPositions,
    BacktestsSummary,
    BacktestsTrades,
    fold_table,
)

OWNERS = ["team:research"]


ALL = dg.AllPartitionMapping()
EVALUATION = "Every model and baseline on the same out-of-sample rows: skill, intervals, kappa, backtest."
REPORT = "One self-contained HTML page: skill, calibration, equity, costs. Linked in the metadata."
NO_SKILL = "On the null market every model's skill is within chance (99 %, Bonferroni)"
CATALOG_DOC = "The DuckDB file of views over every table, built aside and swapped in: `crypto-assets query`."


def backtest_assets(names: list[str], settings: Settings) -> list[Any]:
    """`backtests/{evaluation, equity, positions, trades, orders, <strategy>..., summary, report, catalog}`, and a check."""
    read = [*forecast_tables(names), "labels/targets", "curated/candles", "raw/binance_funding"]
    own = tuple(strategies(settings.strategy_files))
    every = (BacktestsPositions, BacktestsTrades, BacktestsOrders, BacktestsSummary)
    more: list[type[Table]] = [*every, *(fold_table(name) for name in own)]
    upstream = [dg.AssetDep(table.split("/"), partition_mapping=ALL) for table in read]

    @dg.multi_asset(
        name="backtests",
        specs=[
            _spec("evaluation", EVALUATION, {"python", "json"}, upstream),
            _spec("equity", str(BacktestsEquity.__doc__), {"polars", "parquet"}, upstream, BacktestsEquity),
            *(_spec(t.name.split("/")[1], str(t.__doc__), {"polars", "parquet"}, upstream, t) for t in more),
            _spec("report", REPORT, {"plotly", "mlflow"}, [["backtests", "evaluation"]]),
        ],
        check_specs=[
            schema_spec(["backtests", "equity"]),
            *(schema_spec(t.name.split("/")) for t in more),
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
        yield from _account_tables(access.lake, list(done.assessment.backtests.values()), done.folds, own)
        yield dg.MaterializeResult(asset_key=["backtests", "report"], metadata=done.report())

    return [backtests, _catalog_asset(more)]


def _spec(name: str, doc: str, kinds: set[str], deps: list[Any], table: type[Table] | None = None) -> dg.AssetSpec:
    metadata = {"dagster/column_schema": column_schema(table)} if table else {}
    return dg.AssetSpec(
        ["backtests", name], deps=deps, group_name="backtests", owners=OWNERS, kinds=kinds, description=doc, metadata=metadata
    )


def _account_tables(
    lake: Lake, accounts: list[Any], folds: Sequence[Any], own: Sequence[str]
) -> Iterator[dg.MaterializeResult]:
    """Write what every account did, each table once."""
    from crypto_assets.evaluation.by_fold import by_fold, summary

    equity = pl.concat([a.equity for a in accounts])
    days = equity["ts"].dt.date().unique().sort().to_list()
    window = Window.of_days(days[0], days[-1])
    rows: dict[type[Table], pl.DataFrame] = {
        BacktestsEquity: equity,
        BacktestsPositions: pl.concat([a.positions for a in accounts]),
        BacktestsTrades: pl.concat([a.trades for a in accounts]),
        BacktestsOrders: pl.concat([a.orders for a in accounts]),
        BacktestsSummary: summary(accounts),
    }
    for name in own:
        rows[fold_table(name)] = pl.concat([summary([]), *(by_fold(a, folds) for a in accounts if a.strategy == name)])
    for table, frame in rows.items():
        shaped = table.shape(frame)
        lake.write(table, shaped, window)
        yield dg.MaterializeResult(
            asset_key=table.name.split("/"),
            metadata={"dagster/row_count": shaped.height},
            check_results=[schema_result(table, shaped)],
        )


def _catalog_asset(more: Sequence[type[Table]]) -> dg.AssetsDefinition:
    @dg.asset(
        key=["backtests", "catalog"],
        deps=[["backtests", "equity"], *(t.name.split("/") for t in more)],
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
