"""What starts a retrain: the trigger of the job `monitor`, and a week without one. And what tells of a failed run."""

from datetime import UTC, datetime
from typing import Any

import dagster as dg

from crypto_assets.lake import Lake
from crypto_assets.orchestration.assets.monitoring import WHY
from crypto_assets.settings import Settings

EVERY_S = 300
ROUTINE = "routine: a week has passed"


def retraining(jobs: list[Any], settings: Settings) -> tuple[list[Any], list[Any]]:
    """(sensors, schedules): `retrain_on_decay`, `alert_on_failure`; `retrain_weekly`. The sensors run by themselves."""
    (retrain,) = (job for job in jobs if job.name == "retrain")

    @dg.sensor(
        job=retrain,
        name="retrain_on_decay",
        minimum_interval_seconds=EVERY_S,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Asks for a challenger when the job `monitor` saw decay or drift, not more often than once a week.",
    )
    def retrain_on_decay(context: dg.SensorEvaluationContext):
        return wanted(Lake(settings.lake))

    @dg.schedule(job=retrain, cron_schedule="0 6 * * 0", name="retrain_weekly", execution_timezone="UTC")
    def retrain_weekly(context: dg.ScheduleEvaluationContext):
        return routine(Lake(settings.lake), context.scheduled_execution_time)

    @dg.run_failure_sensor(
        name="alert_on_failure",
        minimum_interval_seconds=EVERY_S,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Tells CRYPTO_ASSETS_ALERT_URLS of a failed run, a job at most once a day.",
    )
    def alert_on_failure(context: dg.RunFailureSensorContext):
        told_of(Lake(settings.lake), settings, context)

    return [retrain_on_decay, alert_on_failure], [retrain_weekly]


def wanted(lake: Lake) -> dg.RunRequest | dg.SkipReason:
    """A retrain for the newest trigger, or why there is none."""
    from crypto_assets.monitoring import state
    from crypto_assets.monitoring.triggers import cooling

    told = state.load(lake, state.TRIGGER)
    if told is None:
        return dg.SkipReason("nothing was judged yet: the job `monitor` does")
    if not told["reasons"]:
        return dg.SkipReason(f"nothing asked for a new fit as of {told['as_of']}")
    fitted, at = state.last_fit(lake), datetime.fromisoformat(told["as_of"])
    waiting = cooling(fitted, at)
    if waiting:
        return dg.SkipReason(f"a challenger was fitted as of {fitted}: the next not before {waiting} have passed")
    change = told["change"] and datetime.fromisoformat(told["change"])
    shadow = state.in_shadow(lake)
    if shadow and not (change and fitted and fitted < change):
        return dg.SkipReason(f"the challenger {shadow} is in shadow, and was fitted after the change")
    why = "; ".join(told["reasons"])
    return dg.RunRequest(run_key=f"decay {told['as_of']}", tags={WHY: why[:500], "crypto_assets/as_of": told["as_of"]})


def routine(lake: Lake, at: datetime) -> dg.RunRequest | dg.SkipReason:
    """The weekly retrain, or why not: a challenger in shadow is left there until it is decided."""
    from crypto_assets.monitoring import state

    shadow = state.in_shadow(lake)
    if shadow:
        return dg.SkipReason(f"the challenger {shadow} is in shadow: the gate has not decided yet")
    return dg.RunRequest(run_key=f"routine {at:%Y-%m-%d}", tags={WHY: ROUTINE})


def told_of(lake: Lake, settings: Settings, context: dg.RunFailureSensorContext) -> bool:
    """Tell of a failed run; whether it was told."""
    from crypto_assets.monitoring.alerts import Desk

    run = context.dagster_run
    body = f"run {run.run_id}: {context.failure_event.message}"
    return Desk(lake, settings.alert_urls).note(run.job_name, "critical", f"job {run.job_name} failed", body, datetime.now(UTC))
