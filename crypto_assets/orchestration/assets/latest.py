"""`forecasts/latest`: what the newest closed hour says, not partitioned, made hourly from the stream's hot store."""

import dagster as dg

from crypto_assets.models.registry import TRAINED
from crypto_assets.orchestration.access import Access
from crypto_assets.orchestration.checks import column_schema, schema_result, schema_spec

KEY = ["forecasts", "latest"]
ALL = dg.AllPartitionMapping()
DOC = """Features and forecasts of the newest closed hour, by the batch functions and the newest checkpoints.

The open day lies in the hot store, which `crypto-assets stream` fills; the job `latest` runs when the sensor `closed_hour` sees
that an hour has closed. Each hour is kept as it was forecast then."""


def latest_asset() -> dg.AssetsDefinition:
    """The one asset of the open day."""
    from crypto_assets.evaluation.closed_hour import ForecastsLatest

    @dg.asset(
        key=KEY,
        deps=[
            dg.AssetDep(["features", "matrix"], partition_mapping=ALL),
            *(dg.AssetDep(["models", name], partition_mapping=ALL) for name in TRAINED),
        ],
        kinds={"polars", "parquet"},
        group_name="forecasts",
        owners=["team:research"],
        description=DOC,
        metadata={"dagster/column_schema": column_schema(ForecastsLatest)},
        check_specs=[schema_spec(KEY)],
        required_resource_keys={"access"},
    )
    def latest(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        from crypto_assets.evaluation.closed_hour import close_newest

        access: Access = context.resources.access
        closed = close_newest(access.lake, access.settings)
        models = sorted(set(closed.forecasts["model"]))
        return dg.MaterializeResult(
            metadata={
                "dagster/row_count": closed.forecasts.height,
                "hour": closed.at.isoformat(),
                "coins": closed.features.height,
                "models": ", ".join(models) or "none trained yet",
            },
            check_results=[schema_result(ForecastsLatest, closed.forecasts)],
        )

    return latest
