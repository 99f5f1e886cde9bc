"""The current state as Prometheus metrics, `crypto_assets_monitoring_...`: read from the lake whenever Prometheus asks.

Ages are of the moment of asking; everything else is as the job `monitor` left it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

from crypto_assets.lake import Lake
from crypto_assets.monitoring import state
from crypto_assets.monitoring.alerts import SEVERITIES
from crypto_assets.monitoring.drift import DISTANCES
from crypto_assets.monitoring.tables import MonitoringDrift
from crypto_assets.sources.stream.stats import expose

PREFIX = "crypto_assets_monitoring_"
Clock = Callable[[], datetime]


class MonitoringCollector:
    """For a `prometheus_client` registry; `crypto-assets serve` and `monitor --metrics-port` register one."""

    def __init__(self, lake: Lake, clock: Clock | None = None) -> None:
        self.lake = lake
        self.clock = clock or (lambda: datetime.now(UTC))

    def describe(self) -> list[Any]:
        """Nothing beforehand: registering reads no lake."""
        return []

    def collect(self) -> Iterator[Any]:
        """Every family, with whatever samples there are."""
        told = state.read(self.lake, self.clock())
        yield from _drift(told, self.lake)
        yield from _live(told)
        yield from _loop(told)
        yield from _health(told)


def serve(lake: Lake, port: int, address: str = "127.0.0.1") -> tuple[int, Callable[[], None]]:
    """Serve the state at `http://<address>:<port>/metrics`; returns the port (0 asks for a free one) and `stop`.

    Raises SettingsError when the port cannot be used.
    """
    return expose(MonitoringCollector(lake), port, address)


def _gauge(name: str, text: str, labels: list[str] | None = None, value: float | None = None) -> Any:
    from prometheus_client.core import GaugeMetricFamily

    return GaugeMetricFamily(PREFIX + name, text, labels=labels or None, value=value)


def _drift(told: dict[str, Any], lake: Lake) -> Iterator[Any]:
    counts = {
        "series": _gauge("series", "features or forecasts that are compared", ["kind"]),
        "drifted": _gauge("drifted", "those beyond a limit", ["kind"]),
        "chance": _gauge("drift_chance", "how many chance alone may drift", ["kind"]),
    }
    for kind, row in told["drift"].items():
        for name, family in counts.items():
            family.add_metric([kind], row[name])
    yield from counts.values()
    distance = _gauge("distance", "distance of a series from its reference", ["kind", "series", "distance"])
    limit = _gauge("distance_limit", "what chance explains of it", ["kind", "series", "distance"])
    for row in state.newest(lake, MonitoringDrift).iter_rows(named=True):
        for d in DISTANCES:
            distance.add_metric([row["kind"], row["series"], d], row[d])
            limit.add_metric([row["kind"], row["series"], d], row[f"{d}_limit"])
    yield distance
    yield limit


def _live(told: dict[str, Any]) -> Iterator[Any]:
    labels = ["table", "model", "target", "window_days", "metric"]
    families = {
        "value": _gauge("live", "measured or expected quality of the served forecasts; window 0: labels still open", labels),
        "low": _gauge("live_low", "lower end of its 95 % interval", labels),
        "high": _gauge("live_high", "upper end of its 95 % interval", labels),
    }
    for row in told["live"]:
        for column, family in families.items():
            if row[column] is not None:
                family.add_metric([str(row[label]) for label in labels], row[column])
    yield from families.values()


def _loop(told: dict[str, Any]) -> Iterator[Any]:
    yield _gauge(
        "triggered", "1 while the champion decays or its features drift", value=float(bool(told["trigger"]["reasons"]))
    )
    yield _gauge("in_shadow", "1 while a challenger is in shadow", value=float(told["in_shadow"] is not None))
    newest = told["promotions"][-1] if told["promotions"] else {}
    for name, column, text in (
        ("shadow_days", "days", "days of shadow of the newest verdict"),
        ("shadow_gain", "gain", "champion's less challenger's 1 h loss, nats"),
        ("shadow_gain_low", "low", "one-sided lower bound of it"),
    ):
        family = _gauge(name, text)
        if newest.get(column) is not None:
            family.add_metric([], newest[column])
        yield family
    verdicts = _gauge("verdicts", "verdicts of the gate among the newest ones", ["verdict"])
    for verdict in ("promote", "refuse", "wait"):
        verdicts.add_metric([verdict], sum(row["verdict"] == verdict for row in told["promotions"]))
    yield verdicts


def _health(told: dict[str, Any]) -> Iterator[Any]:
    age = _gauge("table_age_seconds", "since the newest data of a table ended", ["table"])
    limit = _gauge("table_age_limit_seconds", "how old they may be", ["table"])
    for row in told["freshness"]:
        if row["age_hours"] is not None:
            age.add_metric([row["table"]], 3600 * row["age_hours"])
        limit.add_metric([row["table"]], 3600 * row["limit_hours"])
    yield age
    yield limit
    yield _gauge("failed_checks", "asset checks that failed at their last run", value=float(len(told["failed_checks"])))
    alerts = _gauge("alerts", "open alerts", ["severity"])
    for severity in SEVERITIES:
        alerts.add_metric([severity], sum(row["severity"] == severity for row in told["alerts"].values()))
    yield alerts
    as_of = _gauge("as_of_timestamp_seconds", "midnight up to which labels had closed when it was judged")
    if told["as_of"]:
        as_of.add_metric([], datetime.fromisoformat(told["as_of"]).timestamp())
    yield as_of
