"""What the stream counts, and the same as Prometheus metrics.

Counters are plain numbers, because they are added to with every message; Prometheus reads them when it asks.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

KEPT = 4096
"""Newest delays that percentiles are made of."""

COUNTERS = {
    "messages": "messages received",
    "duplicates": "messages that repeat what is known, left out",
    "malformed": "messages that are not what is documented, left out and asked for again",
    "connects": "connections made",
    "reconnects": "connections made again after one was lost",
    "silences": "connections given up because nothing came",
    "gaps": "holes found in a sequence of bars, trades or book updates",
    "repaired": "bars, trades or books asked for again and received",
    "absent": "bars or trades that the exchange itself does not have, or no longer gives",
}


@dataclass
class Stats:
    """Counts by (counter, provider, channel), and gauges. `clock` gives the exchange's time in milliseconds."""

    clock: Callable[[], int] = lambda: 0
    counts: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    rows: int = 0
    """Rows put into the hot store."""
    batches: int = 0
    failed_batches: int = 0
    stalls: int = 0
    """Times the readers waited because too much was waiting to be stored."""
    pending: int = 0
    """Rows waiting to be stored."""
    lag_ms: dict[str, float] = field(default_factory=dict)
    """By provider: how old the newest message was when it arrived, against the exchange's clock as known at the start."""
    delays: deque[float] = field(default_factory=lambda: deque(maxlen=KEPT))
    """Seconds from the message that made a row to its being stored."""
    prices: dict[tuple[str, str], float] = field(default_factory=dict)
    """(provider, symbol) -> newest price."""
    last_bar: dict[tuple[str, str], int] = field(default_factory=dict)
    """(provider, interval) -> end of its newest closed bar, in milliseconds."""
    polled: dict[str, str] = field(default_factory=dict)
    """Slow table -> what its last poll gave."""
    started: float = field(default_factory=time.monotonic)

    def count(self, what: str, provider: str, channel: str, n: int = 1) -> None:
        """Add `n`."""
        self.counts[what, provider, channel] += n

    def total(self, what: str) -> int:
        """A counter over all providers and channels."""
        return sum(n for (name, _, _), n in self.counts.items() if name == what)

    def delay(self, share: float) -> float | None:
        """Quantile of the newest delays in seconds, None before the first."""
        if not self.delays:
            return None
        ordered = sorted(self.delays)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]

    def seconds(self) -> float:
        """How long this has run."""
        return time.monotonic() - self.started

    def summary(self) -> dict[str, Any]:
        """Everything as plain JSON."""
        return {
            **{name: self.total(name) for name in COUNTERS},
            "rows": self.rows,
            "batches": self.batches,
            "failed_batches": self.failed_batches,
            "stalls": self.stalls,
            "channels": {
                f"{provider} {channel}": {w: n for (w, p, c), n in sorted(self.counts.items()) if (p, c) == (provider, channel)}
                for provider, channel in sorted({(p, c) for _, p, c in self.counts})
            },
            "seconds": round(self.seconds(), 1),
            "delay_p50_s": self.delay(0.5),
            "delay_p99_s": self.delay(0.99),
        }


def serve(stats: Stats, port: int, address: str = "127.0.0.1") -> tuple[int, Callable[[], None]]:
    """Serve the stats for Prometheus; see `expose`."""
    return expose(_Collector(stats), port, address)


def expose(collector: Any, port: int, address: str = "127.0.0.1") -> tuple[int, Callable[[], None]]:
    """Serve what `collector` collects at `http://<address>:<port>/metrics`; returns the port (0 asks for any) and `stop`.

    Raises SettingsError when the port cannot be used.
    """
    from prometheus_client import CollectorRegistry, start_http_server

    from crypto_assets.market.errors import SettingsError

    registry = CollectorRegistry()
    registry.register(collector)
    try:
        server, thread = start_http_server(port, address, registry)
    except (OSError, OverflowError) as error:
        raise SettingsError(f"--metrics-port {port}: cannot be used ({error}): choose another") from error

    def stop() -> None:
        server.shutdown()
        server.server_close()
        thread.join(5)

    return server.server_port, stop


class _Collector:
    def __init__(self, stats: Stats) -> None:
        self.stats = stats

    def collect(self) -> Iterator[Any]:
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        s, prefix = self.stats, "crypto_assets_stream_"
        for name, text in COUNTERS.items():
            family = CounterMetricFamily(prefix + name, text, labels=["provider", "channel"])
            for (what, provider, channel), n in sorted(s.counts.items()):
                if what == name:
                    family.add_metric([provider, channel], n)
            yield family
        for name, text in (("rows", "rows stored"), ("failed_batches", "batches refused"), ("stalls", "waits for the store")):
            yield CounterMetricFamily(prefix + name, text, value=getattr(s, name))
        yield GaugeMetricFamily(prefix + "pending_rows", "rows waiting to be stored", value=s.pending)
        lag = GaugeMetricFamily(prefix + "lag_seconds", "age of the newest message when it arrived", labels=["provider"])
        for provider, ms in sorted(s.lag_ms.items()):
            lag.add_metric([provider], ms / 1000)
        yield lag
        age = GaugeMetricFamily(
            prefix + "last_bar_age_seconds", "time since the newest closed bar ended", labels=["provider", "interval"]
        )
        for (provider, interval), ended in sorted(s.last_bar.items()):
            age.add_metric([provider, interval], (s.clock() - ended) / 1000)
        yield age
        delay = GaugeMetricFamily(prefix + "store_delay_seconds", "from message to hot store", labels=["quantile"])
        for share in (0.5, 0.99):
            if (found := s.delay(share)) is not None:
                delay.add_metric([str(share)], found)
        yield delay
