"""Models and their forecasts, one pair of assets a model, partitioned by walk-forward fold."""

import dagster as dg

from crypto_assets.models._base import forecast_table
from crypto_assets.models.registry import load as load_model
from crypto_assets.orchestration.access import Access
from crypto_assets.orchestration.checks import column_schema, finite, schema_result, schema_spec
from crypto_assets.orchestration.partitions import Partitions
from crypto_assets.orchestration.walk import fit, fold_named, forecast, members
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


def fusion_assets(parts: Partitions, settings: Settings) -> list[dg.AssetsDefinition]:
    """`fusion/<name>`: members combined into one forecast."""
    return [_fusion_asset(name, chosen, parts, settings) for name, chosen in members().items()]


def _fusion_asset(name: str, chosen: tuple[str, ...], parts: Partitions, settings: Settings) -> dg.AssetsDefinition:
    from crypto_assets.orchestration.walk import fuse

    table = forecast_table(f"fusion/{name}")

    @dg.asset(
        key=["fusion", name],
        deps=[dg.AssetDep(["forecasts", member]) for member in chosen],
        partitions_def=parts.fold,
        backfill_policy=dg.BackfillPolicy.single_run(),
        kinds={"polars", "parquet"},
        group_name="fusion",
        owners=["team:research"],
        description=f"Log opinion pool of {', '.join(chosen)}.",
        metadata={"dagster/column_schema": column_schema(table)},
        check_specs=[schema_spec(["fusion", name])],
        required_resource_keys={"access"},
    )
    def fused(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        rows = fuse(context.resources.access, name, [fold_named(settings, key) for key in context.partition_keys])
        return dg.MaterializeResult(metadata={"dagster/row_count": rows.height}, check_results=[schema_result(table, rows)])

    return fused


__all__ = ["fusion_assets", "load_model", "model_assets"]
