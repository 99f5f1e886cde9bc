"""The state of a lake as people, Prometheus and Grafana see it; a dashboard whose every metric exists."""

from __future__ import annotations

import json
import re
import urllib.request
from datetime import UTC, datetime
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import polars as pl
import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families
from rich.console import Console

from crypto_assets.cli.monitor import show
from crypto_assets.lake import Lake
from crypto_assets.lake.store import write_bytes
from crypto_assets.market.errors import LakeError
from crypto_assets.market.time import DAY, HOUR, Window
from crypto_assets.monitoring import figures, metrics, state, tables, watch
from crypto_assets.monitoring.alerts import Desk
from crypto_assets.monitoring.drift import Drift, Shift
from crypto_assets.monitoring.health import ages
from crypto_assets_tests.evaluation import market

AT = datetime(2024, 5, 1, tzinfo=UTC)
NOW = AT + 10 * HOUR
DASHBOARD = Path(__file__).parents[2] / "docs" / "grafana" / "crypto_assets.json"


def put(lake: Lake, table, rows: list[dict], at: datetime = AT) -> None:
    frame = pl.DataFrame(rows, infer_schema_length=None).with_columns(ts=pl.lit(at), available_at=pl.lit(at))
    lake.write(table, frame.with_columns(pl.col("ts", "available_at").dt.cast_time_unit("us")), Window(at, at + DAY))


def shift(name: str, ks: float) -> Shift:
    return Shift(name, 0.0, 0.1, ks, 0.05, 0.0, 0.0125, 0.0, 0.02)


@pytest.fixture(scope="module")
def lake(tmp_path_factory) -> Lake:
    """A lake in which something of everything has happened."""
    made = Lake(tmp_path_factory.mktemp("state"))
    drift = Drift((shift("technical.rsi", 0.30), shift("technical.atr", 0.01)), 0)
    put(made, tables.MonitoringDrift, tables.drift_rows(tables.FEATURE, drift).to_dicts())
    served = {"table": "fusion/fused", "model": "fused", "target": "1h"}
    measured = [
        {**served, "window_days": 30, "metric": m, "value": 0.5, "low": 0.4, "high": 0.6, "rows": 9}
        for m in ("accuracy", "excess")
    ]
    ahead = {**served, "window_days": 0, "metric": "accuracy", "value": 0.53, "low": None, "high": None, "rows": 8}
    put(made, tables.MonitoringLiveAccuracy, [*measured, ahead])
    fit = {"bundle": "c", "number": 2, "why": "decay", "fitted_from": AT - 20 * DAY, "loss": 0.69, "candidates": 2}
    put(made, tables.MonitoringChallengers, [fit], AT - 20 * DAY)
    verdict = {"champion": "a", "challenger": "c", "days": 14, "gain": 0.01, "low": 0.002, "p": 0.004, "reason": "better"}
    put(made, tables.MonitoringPromotions, [{**verdict, "verdict": "wait"}], AT - DAY)
    put(made, tables.MonitoringPromotions, [{**verdict, "verdict": "promote"}])
    told = {"as_of": AT.isoformat(), "reasons": ["decay: x"], "change": None}
    write_bytes(made.root / state.TRIGGER, json.dumps(told).encode())
    write_bytes(made.root / state.HEALTH, json.dumps({"failed_checks": ["raw/news schema"]}).encode())
    write_bytes(made.path("curated/candles", (AT - DAY).date()), b"")
    Desk(made, None).tell(state.alerts(state.read(made, NOW)), NOW)
    return made


@pytest.fixture(scope="module")
def told(lake) -> dict:
    return state.read(lake, NOW)


def test_the_state_is_plain_json_and_says_what_was_written(told):
    again = json.loads(json.dumps(told))
    assert again["as_of"] == AT.isoformat()
    assert again["drift"]["feature"]["worst"] == ["technical.rsi"]
    assert again["drift"]["feature"]["is_drift"] is True
    assert again["promotions"][-1]["verdict"] == "promote"
    assert again["in_shadow"] is None


def test_a_challenger_is_in_shadow_until_a_verdict(tmp_path):
    young = Lake(tmp_path)
    fit = {"bundle": "c", "number": 2, "why": "x", "fitted_from": AT, "loss": 0.69, "candidates": 1}
    put(young, tables.MonitoringChallengers, [fit])
    assert state.in_shadow(young) == "c"
    assert state.last_fit(young) == AT
    row = {"champion": "a", "challenger": "c", "days": 3, "gain": None, "low": None, "p": None, "reason": "early"}
    put(young, tables.MonitoringPromotions, [{**row, "verdict": "wait"}])
    assert state.in_shadow(young) == "c"
    put(young, tables.MonitoringPromotions, [{**row, "verdict": "refuse"}], AT + DAY)
    assert state.in_shadow(young) is None


def test_everything_wrong_is_an_alert_with_its_severity(told):
    found = {a.key: a.severity for a in state.alerts(told)}
    assert found["decay"] == "critical"
    assert found["checks"] == "warning"
    assert found["drift feature"] == "warning"
    assert found["promoted c"] == "info"
    assert found["stale labels/targets"] == "critical"  # nothing was ever written there


def test_a_table_is_stale_when_its_newest_day_is_older_than_it_may_be(tmp_path):
    young = Lake(tmp_path)
    write_bytes(young.path("curated/candles", (AT - DAY).date()), b"")
    fresh = {a.table: a for a in ages(young, AT + HOUR)}
    assert not fresh["curated/candles"].is_stale
    assert fresh["curated/candles"].age == HOUR
    assert "forecasts/latest" not in fresh
    assert {a.table: a for a in ages(young, AT + 2 * DAY)}["curated/candles"].is_stale


def test_an_empty_lake_has_a_state_too(tmp_path):
    empty = state.read(Lake(tmp_path), NOW)
    assert empty["as_of"] is None
    text = Console(record=True, width=130, file=open("/dev/null", "w"))  # noqa: SIM115, PTH123
    show(empty, text)
    assert "nothing was judged yet" in text.export_text()


def test_a_damaged_file_says_what_to_do(tmp_path):
    write_bytes(tmp_path / state.TRIGGER, b"{")
    with pytest.raises(LakeError, match="run the job `monitor`"):
        state.read(Lake(tmp_path), NOW)


def test_people_read_it_in_tables(told):
    text = Console(record=True, width=130, file=open("/dev/null", "w"))  # noqa: SIM115, PTH123
    show(told, text)
    shown = text.export_text()
    for word in ("fusion/fused", "technical.rsi", "promote", "decay: x", "raw/news schema", "critical"):
        assert word in shown


def exposed(lake: Lake) -> dict[str, list]:
    registry = CollectorRegistry()
    registry.register(metrics.MonitoringCollector(lake, lambda: NOW))
    families = text_string_to_metric_families(generate_latest(registry).decode())
    return {s.name: family.samples for family in families for s in family.samples}


def test_prometheus_gets_the_numbers_of_the_state(lake):
    found = exposed(lake)
    (drifted,) = [s.value for s in found["crypto_assets_monitoring_drifted"] if s.labels["kind"] == "feature"]
    assert drifted == 1
    (ks,) = [
        s.value
        for s in found["crypto_assets_monitoring_distance"]
        if (s.labels["series"], s.labels["distance"]) == ("technical.rsi", "ks")
    ]
    assert ks == 0.30
    assert found["crypto_assets_monitoring_triggered"][0].value == 1
    assert found["crypto_assets_monitoring_shadow_gain"][0].value == 0.01
    assert found["crypto_assets_monitoring_as_of_timestamp_seconds"][0].value == AT.timestamp()


def test_an_empty_lake_is_no_error_for_prometheus(tmp_path):
    assert exposed(Lake(tmp_path))["crypto_assets_monitoring_triggered"][0].value == 0


def test_the_metrics_are_served_on_loopback(lake):
    port, stop = metrics.serve(lake, 0)
    try:
        text = urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10).read().decode()
    finally:
        stop()
    assert "crypto_assets_monitoring_live{" in text


def queried() -> set[str]:
    panels = json.loads(DASHBOARD.read_text())["panels"]
    return {name for p in panels for t in p["targets"] for name in re.findall(r"crypto_assets_\w+", t["expr"])}


def known(lake: Lake) -> set[str]:
    """Every metric that monitoring, the server and the stream have."""
    from crypto_assets.serving.metrics import Metrics
    from crypto_assets.sources.stream.stats import Stats, _Collector

    names = set(exposed(lake))
    stats = Stats(lag_ms={"x": 1.0})
    for channel in ("gaps", "repaired", "reconnects"):
        stats.count(channel, "x", "y")
    registry = CollectorRegistry()
    registry.register(_Collector(stats))
    server = Metrics()
    server.requests.labels("/predict", "200").inc()
    server.seconds.labels("/predict").observe(0.01)
    server.close_seconds.observe(1.0)
    for text in (generate_latest(registry), server.text()):
        families = text_string_to_metric_families(text.decode())
        names |= {s.name for family in families for s in family.samples}
    return names


def test_every_metric_of_the_dashboard_exists(lake):
    assert len(queried()) > 20
    assert queried() - known(lake) == set()


def test_the_dashboard_is_one_grafana_can_load():
    told = json.loads(DASHBOARD.read_text())
    assert {"title", "uid", "schemaVersion", "panels", "templating"} <= set(told)
    assert len({p["id"] for p in told["panels"]}) == len(told["panels"])
    for p in told["panels"]:
        assert p["gridPos"]["x"] + p["gridPos"]["w"] <= 24
        assert p["targets"], p["title"]


@pytest.mark.parametrize(
    "svg",
    [
        figures.bars("drift <b>", [("a & b", 2.0), ("c", 0.5)]),
        figures.bars("nothing", []),
        figures.line(
            "loss", ["2024-01-01", "2024-01-02"], np.array([0.69, np.nan]), 0.693, (np.array([0.6, 0.6]), np.array([0.7, 0.7]))
        ),
        figures.line("nothing", [], np.empty(0), 0.0),
    ],
)
def test_pictures_are_well_formed_and_small(svg):
    assert ElementTree.fromstring(svg).tag.endswith("svg")
    assert len(figures.as_markdown("x", svg)) < 20_000


def test_forecasts_that_move_are_found_and_outputs_never_said_are_left_out():
    panel, p = market.make(seed=3, edge=0.3)
    rows = market.table(panel, p=p)
    end = rows["ts"].max().replace(hour=0)
    quiet = watch.forecasts(rows, end)
    assert {s.name for s in quiet.shifts} == {f"p_up_{h}" for h in ("1h", "4h", "24h")}
    assert not quiet.is_drift
    late = pl.when(pl.col("ts") >= end - 14 * DAY).then((pl.col("p_up") + 0.2).clip(0, 1)).otherwise(pl.col("p_up"))
    moved = watch.forecasts(rows.with_columns(p_up=late), end)
    assert len(moved.drifted) == 3
    assert watch.forecasts(rows.clear(), end) == watch.NOTHING
