"""The layer `monitoring`: drift, live accuracy, trigger, challenger, promotions, health, alerts; its checks have pictures."""

from typing import Any

import dagster as dg

from crypto_assets.monitoring.tables import (
    MonitoringChallengers,
    MonitoringDrift,
    MonitoringLiveAccuracy,
    MonitoringPromotions,
)
from crypto_assets.orchestration.access import Access
from crypto_assets.orchestration.checks import column_schema, finite, schema_result, schema_spec

ALL = dg.AllPartitionMapping()
OWNERS = ["team:research"]
WHY = "crypto_assets/why"
"""Run tag: what asked for the run."""
BY_HAND = "by hand"


def monitoring_assets(checks: list[dg.AssetCheckKey]) -> list[dg.AssetsDefinition]:
    """Every asset of the layer, in the order of the loop; `checks`: those of the other layers, whose last verdicts count."""
    return [_drift(), _live_accuracy(), _trigger(), _challenger(), _promotions(), _health(checks), _alerts()]


def _common(name: str, deps: list[str], kinds: set[str], table: Any = None) -> dict[str, Any]:
    """Arguments that every asset here has; `deps` are read whole."""
    return {
        "key": ["monitoring", name],
        "deps": [dg.AssetDep(d.split("/"), partition_mapping=None if d.startswith("monitoring/") else ALL) for d in deps],
        "kinds": kinds,
        "group_name": "monitoring",
        "owners": OWNERS,
        "metadata": {"dagster/column_schema": column_schema(table)} if table else None,
        "required_resource_keys": {"access"},
    }


def _spec(name: str, asset: str, text: str) -> dg.AssetCheckSpec:
    return dg.AssetCheckSpec(name, asset=dg.AssetKey(["monitoring", asset]), blocking=False, description=text)


def _drift() -> dg.AssetsDefinition:
    """`monitoring/drift`."""

    @dg.asset(
        **_common("drift", ["features/matrix", "fusion/fused", "serving/bundle"], {"polars", "parquet"}, MonitoringDrift),
        description=MonitoringDrift.__doc__,
        check_specs=[
            schema_spec(["monitoring", "drift"]),
            _spec("features", "drift", "no more features have drifted than chance explains"),
            _spec("forecasts", "drift", "no more forecasts have drifted than chance explains"),
        ],
    )
    def drift(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        from crypto_assets.orchestration.monitor import watch_drift
        from crypto_assets.orchestration.monitor_views import drift_check

        done = watch_drift(context.resources.access)
        checks = [drift_check("features", done.features), drift_check("forecasts", done.forecasts)]
        metadata: dict[str, Any] = {"dagster/row_count": done.rows.height, "as_of": done.at.isoformat()}
        return dg.MaterializeResult(metadata=metadata, check_results=[schema_result(MonitoringDrift, done.rows), *checks])

    return drift


def _live_accuracy() -> dg.AssetsDefinition:
    """`monitoring/live_accuracy`."""

    @dg.asset(
        **_common(
            "live_accuracy",
            ["labels/targets", "fusion/fused", "forecasts/latest"],
            {"polars", "parquet"},
            MonitoringLiveAccuracy,
        ),
        description=MonitoringLiveAccuracy.__doc__,
        check_specs=[
            schema_spec(["monitoring", "live_accuracy"]),
            _spec("better_than_a_coin", "live_accuracy", "the 1 h log-loss of the longer window is not plainly above ln 2"),
            _spec("calibrated", "live_accuracy", "measured less expected loss is not plainly above zero"),
            _spec("coverage", "live_accuracy", "the 90 % intervals hold nine outcomes of ten, within chance"),
        ],
    )
    def live_accuracy(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        from crypto_assets.orchestration.monitor import watch_live
        from crypto_assets.orchestration.monitor_views import accuracy_checks, accuracy_table

        rows = watch_live(context.resources.access)
        metadata: dict[str, Any] = {"dagster/row_count": rows.height, "now": accuracy_table(rows)}
        checks = accuracy_checks(context.resources.access.lake, rows)
        return dg.MaterializeResult(metadata=metadata, check_results=[schema_result(MonitoringLiveAccuracy, rows), *checks])

    return live_accuracy


def _trigger() -> dg.AssetsDefinition:
    """`monitoring/trigger`."""

    @dg.asset(
        **_common("trigger", ["monitoring/drift", "monitoring/live_accuracy"], {"python", "json"}),
        description="Whether the champion's losses or the drift of its features ask for a new fit; the sensor reads it.",
        check_specs=[_spec("no_decay", "trigger", "nothing asks for a new fit")],
    )
    def trigger(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        from crypto_assets.orchestration.monitor import watch_champion
        from crypto_assets.orchestration.monitor_views import decay_check

        found = watch_champion(context.resources.access)
        change = None if found.change is None else found.change.isoformat()
        metadata = {"reasons": "; ".join(found.reasons) or "none", "change": change or "none"}
        return dg.MaterializeResult(metadata=metadata, check_results=[decay_check(context.resources.access, found)])

    return trigger


def _challenger() -> dg.AssetsDefinition:
    """`monitoring/challenger`."""

    @dg.asset(
        **_common(
            "challenger",
            ["features/matrix", "labels/targets", "monitoring/trigger"],
            {"python", "mlflow"},
            MonitoringChallengers,
        ),
        description=MonitoringChallengers.__doc__,
        pool="gpu",
    )
    def challenger(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        from crypto_assets.orchestration.monitor import fit_challenger

        why = context.run.tags.get(WHY, BY_HAND)
        row = fit_challenger(context.resources.access, why)
        return dg.MaterializeResult(metadata=finite({**row, "fitted_from": row["fitted_from"].isoformat()}))

    return challenger


def _promotions() -> dg.AssetsDefinition:
    """`monitoring/promotions`."""

    @dg.asset(
        **_common("promotions", ["monitoring/challenger", "labels/targets"], {"polars", "mlflow"}, MonitoringPromotions),
        description=MonitoringPromotions.__doc__,
        check_specs=[schema_spec(["monitoring", "promotions"])],
    )
    def promotions(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        from crypto_assets.orchestration.monitor import decide_promotion
        from crypto_assets.orchestration.monitor_views import shadow_picture

        decision, rows, days = decide_promotion(context.resources.access)
        metadata = {"verdict": decision.verdict, "reason": decision.reason, "days": decision.days, "gain": decision.gain}
        shown = finite({**metadata, "p": decision.p}) | {"shadow": shadow_picture(days)}
        return dg.MaterializeResult(metadata=shown, check_results=[schema_result(MonitoringPromotions, rows)])

    return promotions


def _health(watched: list[dg.AssetCheckKey]) -> dg.AssetsDefinition:
    """`monitoring/health`."""

    @dg.asset(
        **_common("health", ["features/matrix", "labels/targets", "fusion/fused"], {"python", "json"}),
        description="How old the tables are, and which asset checks fail at their last run.",
        check_specs=[
            _spec("fresh", "health", "no table that others live from is older than it may be"),
            _spec("checks", "health", "no other asset check failed at its last run"),
        ],
    )
    def health(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        from crypto_assets.orchestration.monitor_views import failed_checks, freshness_checks, keep_health

        access: Access = context.resources.access
        failed = failed_checks(context.instance, watched)
        told = keep_health(access, failed)
        return dg.MaterializeResult(metadata={"failed": len(failed)}, check_results=freshness_checks(told, failed))

    return health


def _alerts() -> dg.AssetsDefinition:
    """`monitoring/alerts`."""

    @dg.asset(
        **_common(
            "alerts",
            [f"monitoring/{n}" for n in ("drift", "live_accuracy", "trigger", "promotions", "health")],
            {"python"},
        ),
        description="Tells what is wrong, once, to CRYPTO_ASSETS_ALERT_URLS; what is open is kept in monitoring/alerts.json.",
    )
    def alerts(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        from crypto_assets.orchestration.monitor_views import tell_alerts

        told = tell_alerts(context.resources.access)
        sent = dg.MetadataValue.md("\n".join(f"- **{a.severity}** {a.title}: {a.body}" for a in told.sent) or "nothing new")
        return dg.MaterializeResult(metadata={"sent": len(told.sent), "over": len(told.over), "alerts": sent})

    return alerts
