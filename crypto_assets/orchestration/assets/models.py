"""Models and their forecasts, one pair of assets a model, partitioned by walk-forward fold."""

import dagster as dg

from crypto_assets.evaluation.walkforward import COMBINATIONS
from crypto_assets.models._base import forecast_table
from crypto_assets.orchestration.access import Access
from crypto_assets.orchestration.checks import column_schema, finite, schema_result, schema_spec
from crypto_assets.orchestration.partitions import Partitions
from crypto_assets.orchestration.walk import combined_table, fit, fold_named, forecast, fuse
from crypto_assets.settings import Settings

ALL = dg.AllPartitionMapping()


def model_assets(name: str, doc: str, settings: Settings, parts: Partitions) -> list[dg.AssetsDefinition]:
    """`models/<name>`: a checkpoint a fold; `forecasts/<name>`: the fold's test window."""
    deep = name == "transformer"

    @dg.asset(
        key=["models", name],
        deps=[
            dg.AssetDep(["features", "matrix"], partition_mapping=ALL),
            dg.AssetDep(["labels", "targets"], partition_mapping=ALL),
        ],
        partitions_def=parts.fold,
        backfill_policy=dg.BackfillPolicy.single_run(),
        pool="gpu" if deep else None,
        kinds={"pytorch" if deep else "python", "mlflow"},
        group_name="models",
        owners=["team:research"],
        description=f"{doc}\n\nOne checkpoint a walk-forward fold: safetensors, config, scaler, training window.",
        required_resource_keys={"access"},
    )
    def model(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        access: Access = context.resources.access
        results = [fit(access, name, fold_named(settings, key)) for key in context.partition_keys]
        return dg.MaterializeResult(metadata=finite(results[-1]))

    table = forecast_table(name)

    @dg.asset(
        key=["forecasts", name],
        deps=[dg.AssetDep(["models", name]), dg.AssetDep(["features", "matrix"], partition_mapping=ALL)],
        partitions_def=parts.fold,
        backfill_policy=dg.BackfillPolicy.single_run(),
        kinds={"polars", "parquet"},
        group_name="forecasts",
        owners=["team:research"],
        description=f"Out-of-sample forecasts of {name} for the test window of each fold.",
        metadata={"dagster/column_schema": column_schema(table)},
        check_specs=[schema_spec(["forecasts", name])],
        required_resource_keys={"access"},
    )
    def forecasts(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        access: Access = context.resources.access
        rows = forecast(access, name, [fold_named(settings, key) for key in context.partition_keys])
        return dg.MaterializeResult(metadata={"dagster/row_count": rows.height}, check_results=[schema_result(table, rows)])

    return [model, forecasts]


def fusion_assets(parts: Partitions) -> list[dg.AssetsDefinition]:
    """What is combined from the models' forecasts: `fusion/fused`, and the averages that stand beside it as baselines."""
    return [_combined_asset(name, parts) for name in COMBINATIONS]


def _combined_asset(name: str, parts: Partitions) -> dg.AssetsDefinition:
    made_of = COMBINATIONS[name]
    table = forecast_table(combined_table(name))
    key = table.name.split("/")
    members = sorted({*made_of.direction, *made_of.variance})

    @dg.asset(
        key=key,
        deps=[["forecasts", member] for member in members],
        partitions_def=parts.fold,
        backfill_policy=dg.BackfillPolicy.single_run(),
        kinds={"polars", "parquet"},
        group_name=key[0],
        owners=["team:research"],
        description=f"Log opinion pool of {', '.join(members)}: the average of their logits, and of their log variances.",
        metadata={"dagster/column_schema": column_schema(table)},
        check_specs=[schema_spec(key)],
        required_resource_keys={"access"},
    )
    def combined(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        access: Access = context.resources.access
        rows = fuse(access, name, [fold_named(access.settings, k) for k in context.partition_keys])
        return dg.MaterializeResult(metadata={"dagster/row_count": rows.height}, check_results=[schema_result(table, rows)])

    return combined
