"""What the server counts, as Prometheus metrics of a registry of its own, and what monitoring knows of its lake."""

from __future__ import annotations

from typing import Any

from crypto_assets.lake import Lake
from crypto_assets.market.errors import CryptoAssetsError
from crypto_assets.monitoring.metrics import Clock, MonitoringCollector


class Metrics:
    """Counters and histograms; `text` is what GET /metrics sends: with a lake, also what `crypto-assets monitor` says of it."""

    def __init__(self, lake: Lake | None = None, clock: Clock | None = None) -> None:
        from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

        self.registry, self.monitoring = CollectorRegistry(), CollectorRegistry()
        if lake is not None:
            self.monitoring.register(MonitoringCollector(lake, clock))
        prefix = "crypto_assets_serve"
        fine = (0.001, 0.002, 0.005, 0.01, 0.015, 0.025, 0.05, 0.1, 0.25, 1, 5)
        own: dict[str, Any] = {"registry": self.registry}
        self.requests = Counter(f"{prefix}_requests", "Requests answered.", ["path", "status"], **own)
        self.seconds = Histogram(f"{prefix}_request_seconds", "Time to answer.", ["path"], buckets=fine, **own)
        close = (0.25, 0.5, 0.75, 1, 1.5, 2, 3, 5, 10)
        self.close_seconds = Histogram(f"{prefix}_close_seconds", "Closed hour to its forecasts.", buckets=close, **own)
        self.swaps = Counter(f"{prefix}_swaps", "Champions put in the place of another.", **own)
        self.age = Gauge(f"{prefix}_data_age_seconds", "Since the close of the hour that is served.", **own)
        self.listeners = Gauge(f"{prefix}_listeners", "Open WebSockets.", **own)
        self.batch = Gauge(f"{prefix}_batch_size", "Mean size of the last batches of rows that were sent.", **own)

    def text(self) -> bytes:
        """In the exposition format. Where monitoring's files cannot be read, a comment says why and the rest stands."""
        from prometheus_client import generate_latest

        own = generate_latest(self.registry)
        try:
            return own + generate_latest(self.monitoring)
        except CryptoAssetsError as error:
            return own + f"# monitoring: {' '.join(str(error).split())}\n".encode()
