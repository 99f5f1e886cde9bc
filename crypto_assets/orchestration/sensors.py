"""Sensors: a closed hour in the hot store becomes a run of the job `latest`."""

from typing import Any

import dagster as dg

from crypto_assets.lake import Lake
from crypto_assets.lake.hot import FILE, open_hot
from crypto_assets.settings import Settings

EVERY_S = 30


def sensors(jobs: list[Any], settings: Settings) -> list[dg.SensorDefinition]:
    """`closed_hour`. It runs by itself: without a stream it sees nothing and costs nothing."""
    (latest,) = (job for job in jobs if job.name == "latest")

    @dg.sensor(
        job=latest,
        name="closed_hour",
        minimum_interval_seconds=EVERY_S,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Asks for features and forecasts of each hour that the stream has closed.",
    )
    def closed_hour(context: dg.SensorEvaluationContext):
        newest = newest_hour(settings)
        if newest is None:
            return dg.SkipReason("no hour has closed in the hot store: `crypto-assets stream` fills it")
        if context.cursor == newest:
            return dg.SkipReason(f"the hour that closed at {newest} was asked for")
        context.update_cursor(newest)
        return dg.RunRequest(run_key=newest, tags={"crypto_assets/closed_hour": newest})

    return [closed_hour]


def newest_hour(settings: Settings) -> str | None:
    """When the newest hour closed (ISO), or None. A hot store that does not exist is not made."""
    from crypto_assets.sources.stream.writer import closed_hours

    if settings.redis_url is None and not (Lake(settings.lake).root / FILE).exists():
        return None
    hot = open_hot(settings)
    try:
        found = closed_hours(hot)
    finally:
        hot.close()
    return found[-1].isoformat() if found else None
