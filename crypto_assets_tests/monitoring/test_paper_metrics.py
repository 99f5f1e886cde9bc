"""A paper account's metrics, as Prometheus gets them: what the ledger holds, whatever process asks."""

from __future__ import annotations

from contextlib import closing

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from crypto_assets.market.errors import SettingsError
from crypto_assets.monitoring.paper_metrics import PREFIX, PaperMetrics, serve
from crypto_assets.trading.limits import Limits
from crypto_assets.trading.paper_ledger import PaperLedger
from crypto_assets_tests.trading import papers
from crypto_assets_tests.trading.worlds import HOUR


def test_they_are_what_the_ledger_holds(tmp_path):
    account, at = papers.plan("direction_1h", limits=Limits(coin=0.1)), papers.BEGINS + 9 * HOUR
    with closing(PaperLedger(tmp_path / "a.sqlite")) as ledger:
        papers.go_on(ledger, account, 10)
        metrics = PaperMetrics(ledger, account, lambda: at, lambda: at + HOUR / 2)
        port, stop = serve(metrics, 0)
        try:
            text = httpx.get(f"http://127.0.0.1:{port}/metrics", trust_env=False).text
            with pytest.raises(SettingsError, match=f"--metrics-port {port}: cannot be used"):
                serve(metrics, port)
        finally:
            stop()
        samples = [s for family in text_string_to_metric_families(text) for s in family.samples]
        found = {s.name.removeprefix(PREFIX): s.value for s in samples if "limit" not in s.labels}
        limited = {s.labels["limit"]: s.value for s in samples if "limit" in s.labels}
        newest, counts = ledger.newest(), ledger.counts()
        assert found["equity_usd"] == newest["equity_usd"]
        assert [found[f"{name}_total"] for name in ("hours", "orders", "fills")] == [
            counts[n] for n in ("hours", "orders", "fills")
        ]
        assert limited == ledger.reasons()
        assert limited["coin cap"] > 0
        assert found["feed_age_seconds"] == 1800
        assert found["last_decision_timestamp_seconds"] == at.timestamp()
