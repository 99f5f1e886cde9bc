"""Models and their forecasts, one pair of assets a model, partitioned by walk-forward fold."""

import dagster as dg

from crypto_assets.evaluation.fusing import FUSED, members_among
from crypto_assets.evaluation.walkforward import COMBINATIONS
from crypto_assets.fusion.tables import FusedForecasts, Weights
from crypto_assets.models._base import forecast_table
from crypto_assets.models.registry import NETS, TRAINED
from crypto_assets.orchestration.access import Access
from crypto_assets.orchestration.checks import column_schema, finite, schema_result, schema_spec
from crypto_assets.orchestration.fusing import fit_fusion, fuse
from crypto_assets.orchestration.partitions import Partitions
from crypto_assets.orchestration.walk import combined_table, fit, fold_named, forecast, pool
from crypto_assets.settings import Settings

ALL = dg.AllPartitionMapping()
FIT_DOC = """What to make of the members in a fold: posterior of the weights, calibration, state of the intervals.

Learned from the members' forecasts of earlier folds, which nobody trained or stopped on; the first fold is their pool."""
FUSED_DOCS = {
    "fused": "The members combined: P(up), return and variance both kinds of uncertainty, intervals, action, price target.",
    "weights": "What each member weighs in the combination, hour by hour and target by target.",
}


def model_assets(name: str, doc: str, settings: Settings, parts: Partitions) -> list[dg.AssetsDefinition]:
    """`models/<name>`: a checkpoint a fold; `forecasts/<name>`: the fold's test window."""
    deep = name in NETS

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


def fusion_assets(settings: Settings, parts: Partitions) -> list[dg.AssetsDefinition]:
    """What is combined from the models' forecasts: `fusion/fused`, and the averages that stand beside it as baselines."""
    pools = [_pool_asset(name, parts) for name in COMBINATIONS if name != FUSED]
    return [*pools, _fit_asset(settings, parts), _fused_assets(settings, parts)]


def _pool_asset(name: str, parts: Partitions) -> dg.AssetsDefinition:
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
        rows = pool(access, name, [fold_named(access.settings, k) for k in context.partition_keys])
        return dg.MaterializeResult(metadata={"dagster/row_count": rows.height}, check_results=[schema_result(table, rows)])

    return combined


def _fit_asset(settings: Settings, parts: Partitions) -> dg.AssetsDefinition:
    members = members_among(TRAINED)

    @dg.asset(
        key=["models", "fusion"],
        deps=[
            *([["models", member] for member in members]),
            *(dg.AssetDep(["forecasts", member], partition_mapping=ALL) for member in members),
            dg.AssetDep(["labels", "targets"], partition_mapping=ALL),
        ],
        partitions_def=parts.fold,
        backfill_policy=dg.BackfillPolicy.single_run(),
        kinds={"python", "mlflow"},
        group_name="fusion",
        owners=["team:research"],
        description=FIT_DOC,
        required_resource_keys={"access"},
    )
    def fusion(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        access: Access = context.resources.access
        results = [fit_fusion(access, fold_named(settings, key)) for key in context.partition_keys]
        return dg.MaterializeResult(metadata=finite(results[-1]))

    return fusion


def _fused_assets(settings: Settings, parts: Partitions) -> dg.AssetsDefinition:
    read = [["models", "fusion"], *(["forecasts", member] for member in members_among(TRAINED))]
    candles = dg.AssetDep(["curated", "candles"], partition_mapping=ALL)
    tables = {"fused": FusedForecasts, "weights": Weights}

    @dg.multi_asset(
        name="fusion",
        specs=[
            dg.AssetSpec(
                table.name.split("/"),
                deps=[*read, candles],
                group_name="fusion",
                owners=["team:research"],
                kinds={"polars", "parquet"},
                description=FUSED_DOCS[name],
                metadata={"dagster/column_schema": column_schema(table)},
            )
            for name, table in tables.items()
        ],
        partitions_def=parts.fold,
        backfill_policy=dg.BackfillPolicy.single_run(),
        check_specs=[schema_spec(table.name.split("/")) for table in tables.values()],
        required_resource_keys={"access"},
    )
    def fused(context: dg.AssetExecutionContext):
        access: Access = context.resources.access
        made = fuse(access, [fold_named(settings, key) for key in context.partition_keys])
        for table, rows in zip(tables.values(), made, strict=True):
            metadata = {"dagster/row_count": rows.height}
            yield dg.MaterializeResult(
                asset_key=table.name.split("/"), metadata=metadata, check_results=[schema_result(table, rows)]
            )

    return fused
