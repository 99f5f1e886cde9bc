"""The sensor asks for each closed hour once, and without a stream for nothing."""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, datetime, timedelta

import dagster as dg
import pytest

from crypto_assets.definitions import build_defs
from crypto_assets.lake.hot import FILE, SqliteHot
from crypto_assets.settings import Settings
from crypto_assets.sources.stream.writer import mark

START = datetime(2024, 1, 1, tzinfo=UTC)
CLOSED = datetime(2024, 3, 13, 9, tzinfo=UTC)


@pytest.fixture(scope="module")
def defs(tmp_path_factory) -> dg.Definitions:
    return build_defs(Settings(lake=tmp_path_factory.mktemp("sensors"), start=START.date()))


@pytest.fixture
def lake(defs):
    root = defs.resources["access"].lake.root
    yield root
    (root / FILE).unlink(missing_ok=True)


def ticked(defs, cursor: str | None) -> tuple[list[dg.RunRequest], str | None, str | None]:
    """What a tick asks for, why not, and the cursor it leaves."""
    with dg.build_sensor_context(cursor=cursor, definitions=defs) as context:
        result = defs.resolve_sensor_def("closed_hour").evaluate_tick(context)
    return list(result.run_requests or []), result.skip_message, result.cursor


def close(root, at: datetime) -> None:
    with closing(SqliteHot(root / FILE)) as hot:
        mark(hot, ["binance_spot", "binance_futures"], at)


def test_without_a_stream_nothing_is_asked_for_and_nothing_made(defs, lake):
    requests, why, _ = ticked(defs, None)
    assert requests == []
    assert "crypto-assets stream" in why
    assert not (lake / FILE).exists()


def test_each_closed_hour_is_asked_for_once(defs, lake):
    close(lake, CLOSED)
    (request,), _, cursor = ticked(defs, None)
    assert request.run_key == CLOSED.isoformat()
    requests, why, cursor = ticked(defs, cursor)
    assert requests == []
    assert CLOSED.isoformat() in why
    close(lake, CLOSED + timedelta(hours=1))
    (request,), _, _ = ticked(defs, cursor)
    assert request.run_key == (CLOSED + timedelta(hours=1)).isoformat()


def test_it_runs_by_itself_and_starts_the_job_latest(defs):
    sensor = defs.resolve_sensor_def("closed_hour")
    assert sensor.default_status == dg.DefaultSensorStatus.RUNNING
    assert sensor.job_name == "latest"
    assert defs.resolve_job_def("latest").asset_layer.selected_asset_keys == {dg.AssetKey(["forecasts", "latest"])}
