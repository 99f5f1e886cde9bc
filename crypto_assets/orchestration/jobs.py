"""Jobs and the daily schedule.

`ingest` fetches and derives days, `train` fits folds, `forecast` forecasts and fuses folds, `backtest` trades, scores, reports,
`latest` forecasts the hour that has just closed, `monitor` judges what is served and decides on the challenger, `retrain` fits
one.
"""

from datetime import date
from typing import Any

import dagster as dg

from crypto_assets.market.time import DAY
from crypto_assets.orchestration.assets.parity import SELECTION as PARITY
from crypto_assets.orchestration.partitions import Partitions

MORE = dg.AssetSelection.tag("tier", "more")
TABLES = dg.AssetSelection.groups("raw", "curated", "features", "labels") - MORE
LATEST = dg.AssetSelection.assets(["forecasts", "latest"])
CHALLENGER = dg.AssetSelection.assets(["monitoring", "challenger"])
IN_PROCESS = dg.in_process_executor
REREAD_DAYS = 7
"""Each daily run covers the last week: what was not published yet, or was revised, is added as further versions, and labels
are filled as their future becomes known. A week is the longest window a provider here revises by rule (Coin Metrics)."""
REREAD_MORE_DAYS = 14
"""The same for further raw tables: oil prices (EIA) and the broad dollar (FRED) come up to ten days after their day."""


def jobs() -> list[Any]:
    """The jobs, each over assets that share a partitioning."""
    return [
        dg.define_asset_job(
            "ingest",
            selection=TABLES,
            executor_def=IN_PROCESS,
            description="Raw tables, curated tables, features and labels of one or more days.",
        ),
        dg.define_asset_job(
            "ingest_more",
            selection=MORE,
            executor_def=IN_PROCESS,
            description="Every further raw table of one or more days; none of them is needed by the default graph.",
        ),
        dg.define_asset_job(
            "train",
            selection=dg.AssetSelection.groups("models"),
            executor_def=IN_PROCESS,
            description="Fit every model on one or more walk-forward folds.",
        ),
        dg.define_asset_job(
            "forecast",
            selection=dg.AssetSelection.groups("forecasts", "fusion", "serving") - LATEST,
            executor_def=IN_PROCESS,
            description="Forecast the test windows of one or more folds, fuse the members, register the newest bundle.",
        ),
        dg.define_asset_job(
            "latest",
            selection=LATEST,
            executor_def=IN_PROCESS,
            description="Features and forecasts of the newest closed hour, from the stream's hot store.",
        ),
        dg.define_asset_job(
            "backtest",
            selection=dg.AssetSelection.groups("backtests") - PARITY,
            executor_def=IN_PROCESS,
            description="Score the forecasts, trade them net of costs, write the report, rebuild the catalog.",
        ),
        dg.define_asset_job(
            "parity",
            selection=PARITY,
            executor_def=IN_PROCESS,
            description="Live through the last day on the wire and compare with the batch.",
        ),
        dg.define_asset_job(
            "monitor",
            selection=dg.AssetSelection.groups("monitoring") - CHALLENGER,
            executor_def=IN_PROCESS,
            description="Drift, live accuracy, trigger, the gate, health, alerts.",
        ),
        dg.define_asset_job(
            "retrain",
            selection=CHALLENGER,
            executor_def=IN_PROCESS,
            description="Fit a challenger on everything known and put it in shadow.",
        ),
    ]


def daily_schedule(definitions: list[Any], parts: Partitions) -> list[Any]:
    """UTC: 02:00 further raw tables, 03:30 ingest the day that closed, 04:00 forecast the current fold, 04:30 score.

    04:45 monitor, 05:15 parity of the last day. Sundays 05:00 fit the fold, 06:00 fit a challenger on everything known, unless
    one is in shadow.
    """
    by_name = {job.name: job for job in definitions}

    @dg.schedule(job=by_name["ingest"], cron_schedule="30 3 * * *", name="ingest_daily", execution_timezone="UTC")
    def ingest_daily(context: dg.ScheduleEvaluationContext):
        return ingest_daily_range(context)

    def ingest_daily_range(context: dg.ScheduleEvaluationContext, reread_days: int = REREAD_DAYS) -> dg.RunRequest:
        newest = context.scheduled_execution_time.date() - DAY
        first = date.fromisoformat(parts.daily.get_first_partition_key() or newest.isoformat())
        days = (max(first, newest - (reread_days - 1) * DAY).isoformat(), newest.isoformat())
        ends = ("dagster/asset_partition_range_start", "dagster/asset_partition_range_end")
        return dg.RunRequest(run_key=days[1], tags=dict(zip(ends, days, strict=True)))

    @dg.schedule(job=by_name["ingest_more"], cron_schedule="0 2 * * *", name="ingest_more_daily", execution_timezone="UTC")
    def ingest_more_daily(context: dg.ScheduleEvaluationContext):
        return ingest_daily_range(context, REREAD_MORE_DAYS)

    @dg.schedule(job=by_name["forecast"], cron_schedule="0 4 * * *", name="forecast_daily", execution_timezone="UTC")
    def forecast_daily(context: dg.ScheduleEvaluationContext):
        return _current_fold(parts)

    @dg.schedule(job=by_name["train"], cron_schedule="0 5 * * 0", name="train_weekly", execution_timezone="UTC")
    def train_weekly(context: dg.ScheduleEvaluationContext):
        return _current_fold(parts)

    backtest = dg.ScheduleDefinition(
        job=by_name["backtest"], cron_schedule="30 4 * * *", name="backtest_daily", execution_timezone="UTC"
    )
    monitor = dg.ScheduleDefinition(
        job=by_name["monitor"], cron_schedule="45 4 * * *", name="monitor_daily", execution_timezone="UTC"
    )
    parity = dg.ScheduleDefinition(
        job=by_name["parity"], cron_schedule="15 5 * * *", name="parity_daily", execution_timezone="UTC"
    )
    return [ingest_daily, ingest_more_daily, forecast_daily, train_weekly, backtest, monitor, parity]


def _current_fold(parts: Partitions) -> dg.RunRequest | dg.SkipReason:
    key = parts.fold.get_partition_keys()[-1]
    if key == "none-yet":
        return dg.SkipReason("no fold has begun yet: the warm-up is still running")
    return dg.RunRequest(partition_key=key)
