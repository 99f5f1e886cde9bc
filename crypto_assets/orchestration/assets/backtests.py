"""Scores, accounts, report and catalog: what the forecasts are worth, net of costs."""

import json
from typing import Any

import dagster as dg
import polars as pl

from crypto_assets.lake import Lake
from crypto_assets.lake.store import write_bytes
from crypto_assets.market.time import Window
from crypto_assets.orchestration.access import Access
from crypto_assets.orchestration.checks import column_schema, finite, schema_result, schema_spec
from crypto_assets.orchestration.walk import forecast_tables
from crypto_assets.settings import Settings
from crypto_assets.trading.tables import BacktestsEquity, BacktestsTrades

OWNERS = ["team:research"]


def backtest_assets(names: list[str], settings: Settings) -> list[Any]:
    """`backtests/{evaluation, equity, trades, report, catalog}`, and the null-market check."""
    upstream = [dg.AssetDep(table.split("/"), partition_mapping=dg.AllPartitionMapping()) for table in forecast_tables(names)]
    truth = [
        dg.AssetDep(key, partition_mapping=dg.AllPartitionMapping()) for key in (["labels", "targets"], ["curated", "candles"])
    ]

    @dg.multi_asset(
        name="backtests",
        specs=[
            dg.AssetSpec(
                ["backtests", "evaluation"],
                deps=[*upstream, *truth],
                group_name="backtests",
                owners=OWNERS,
                kinds={"python", "json"},
                description="Every model and baseline on the same out-of-sample rows: skill, intervals, kappa, backtest.",
            ),
            dg.AssetSpec(
                ["backtests", "equity"],
                deps=[*upstream, *truth],
                group_name="backtests",
                owners=OWNERS,
                kinds={"polars", "parquet"},
                description=BacktestsEquity.__doc__,
                metadata={"dagster/column_schema": column_schema(BacktestsEquity)},
            ),
            dg.AssetSpec(
                ["backtests", "trades"],
                deps=[*upstream, *truth],
                group_name="backtests",
                owners=OWNERS,
                kinds={"polars", "parquet"},
                description=BacktestsTrades.__doc__,
                metadata={"dagster/column_schema": column_schema(BacktestsTrades)},
            ),
            dg.AssetSpec(
                ["backtests", "report"],
                deps=[["backtests", "evaluation"]],
                group_name="backtests",
                owners=OWNERS,
                kinds={"plotly", "mlflow"},
                description="One self-contained HTML page: skill, calibration, equity, costs. Linked in the metadata.",
            ),
        ],
        check_specs=[
            schema_spec(["backtests", "equity"]),
            schema_spec(["backtests", "trades"]),
            dg.AssetCheckSpec(
                "no_skill_on_null",
                asset=dg.AssetKey(["backtests", "evaluation"]),
                description="On the null market every model's skill is within chance (99 %, Bonferroni).",
            ),
        ],
        required_resource_keys={"access"},
    )
    def backtests(context: dg.AssetExecutionContext):
        from crypto_assets.orchestration.outcome import outcome

        access: Access = context.resources.access
        done = outcome(access, names)
        write_bytes(access.lake.root / "backtests" / "evaluation.json", json.dumps(done.result, indent=1).encode())
        yield dg.MaterializeResult(
            asset_key=["backtests", "evaluation"], metadata=done.headline(), check_results=[_null_check(settings, done.result)]
        )
        accounts = done.assessment.backtests.values()
        equity = pl.concat([a.equity for a in accounts])
        trades = pl.concat([a.trades for a in accounts])
        days = equity["ts"].dt.date().unique().sort().to_list()
        window = Window.of_days(days[0], days[-1])
        for table, rows in ((BacktestsEquity, equity), (BacktestsTrades, trades)):
            access.lake.write(table, rows, window)
            yield dg.MaterializeResult(
                asset_key=table.name.split("/"),
                metadata={"dagster/row_count": rows.height},
                check_results=[schema_result(table, rows)],
            )
        yield dg.MaterializeResult(asset_key=["backtests", "report"], metadata=done.report())

    @dg.asset(
        key=["backtests", "catalog"],
        deps=[["backtests", "equity"], ["backtests", "trades"]],
        group_name="backtests",
        owners=["team:data"],
        kinds={"duckdb"},
        description="The DuckDB file of views over every table, built aside and swapped in: `crypto-assets query`.",
        required_resource_keys={"access"},
    )
    def catalog(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        from crypto_assets.lake.catalog import CATALOG, build

        lake: Lake = context.resources.access.lake
        views = build(lake)
        return dg.MaterializeResult(metadata={"views": len(views), "path": dg.MetadataValue.path(str(lake.root / CATALOG))})

    return [backtests, catalog]


def _null_check(settings: Settings, result: dict[str, Any]) -> dg.AssetCheckResult:
    if settings.world != "sandbox" or settings.market != "null":
        return dg.AssetCheckResult(
            passed=True, check_name="no_skill_on_null", metadata={"applies": False, "market": settings.market}
        )
    from crypto_assets.evaluation.score import null_skill_failures

    failures = null_skill_failures(result)
    return dg.AssetCheckResult(
        passed=not failures,
        check_name="no_skill_on_null",
        metadata=finite({"applies": True, "reason": "; ".join(failures) or "none"}),
    )
