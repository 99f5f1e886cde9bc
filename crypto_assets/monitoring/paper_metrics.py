"""A paper account as Prometheus metrics. Counted in the ledger, so that a restart does not begin from nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

from crypto_assets.sources.stream.stats import expose
from crypto_assets.trading.paper import Plan
from crypto_assets.trading.paper_ledger import PaperLedger

PREFIX = "crypto_assets_paper_"
GAUGES = {
    "equity_usd": "account value at the last close, all costs paid",
    "cash_usd": "capital less what was bought plus what was sold, less costs",
    "gross_exposure": "sum of absolute position values over equity",
    "net_exposure": "sum of signed position values over equity",
}
COUNTS = {
    "hours": "hours traded",
    "orders": "orders sent",
    "fills": "fills",
    "complaints": "rows that were left out or missing",
}


class PaperMetrics:
    """What Prometheus reads. `newest` gives the newest closed hour of the feed, `now` the time of the world."""

    def __init__(
        self, ledger: PaperLedger, plan: Plan, newest: Callable[[], datetime | None], now: Callable[[], datetime]
    ) -> None:
        self.ledger, self.plan, self._newest, self._now = ledger, plan, newest, now

    def collect(self) -> Iterator[Any]:
        """The metrics of this moment."""
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        names, mine = ["account", "strategy", "model"], [self.plan.name, self.plan.strategy, self.plan.model]

        def gauge(name: str, text: str, value: float) -> Any:
            family = GaugeMetricFamily(PREFIX + name, text, labels=names)
            family.add_metric(mine, value)
            return family

        hour = self.ledger.newest()
        for name, text in GAUGES.items():
            if hour is not None:
                yield gauge(name, text, hour[name])
        counts = self.ledger.counts()
        for name, text in COUNTS.items():
            family = CounterMetricFamily(PREFIX + name, text, labels=names)
            family.add_metric(mine, counts[name])
            yield family
        limited = CounterMetricFamily(PREFIX + "limited", "orders cut or refused, by limit or rule", labels=[*names, "limit"])
        for reason, n in self.ledger.reasons().items():
            limited.add_metric([*mine, reason], n)
        yield limited
        if hour is not None:
            yield gauge("last_decision_timestamp_seconds", "hour of the last decision", hour["ts"].timestamp())
        if (newest := self._newest()) is not None:
            yield gauge(
                "feed_age_seconds", "time since the newest hour of the feed closed", (self._now() - newest).total_seconds()
            )


def serve(metrics: PaperMetrics, port: int, address: str = "127.0.0.1") -> tuple[int, Callable[[], None]]:
    """Serve them at `http://<address>:<port>/metrics`; returns the port (0 asks for a free one) and `stop`.

    Raises SettingsError when the port cannot be used.
    """
    return expose(metrics, port, address)
