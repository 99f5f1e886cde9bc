"""The nightly parity check: real command, real sandbox, real stream, on a small lake of the simulated market."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from crypto_assets.definitions import build_defs
from crypto_assets.features import families
from crypto_assets.lake import Lake
from crypto_assets.market.time import DAY, HOUR, Window, midnight
from crypto_assets.models._base import forecast_table
from crypto_assets.orchestration.assets import parity
from crypto_assets.settings import Settings
from crypto_assets_tests.evaluation import history
from crypto_assets_tests.evaluation.history import SYMBOLS, TODAY


def test_the_check_runs_in_its_own_job_alone(tmp_path):
    defs = build_defs(Settings(lake=tmp_path))
    checks = {name: defs.resolve_job_def(name).asset_layer.asset_graph.asset_check_keys for name in ("parity", "backtest")}
    assert checks["parity"] == {parity.KEY}
    assert parity.KEY not in checks["backtest"]
    assert len(checks["backtest"]) > 2


def test_a_lake_without_forecasts_is_told_and_nothing_is_run(tmp_path):
    done = build_defs(Settings(lake=tmp_path)).resolve_job_def("parity").execute_in_process()
    (found,) = done.get_asset_check_evaluations()
    assert not found.passed
    assert "no day has both" in found.metadata["reason"].value


@pytest.mark.slow
def test_history_lived_through_on_the_wire_is_the_batch_and_a_changed_forecast_is_found(tmp_path):
    """A day through sandbox, sockets, hot store, features, forecasts, account; then one forecast of the batch is changed."""
    lake = history.build(Lake(tmp_path), list(families().values()), days=1)
    defs = build_defs(Settings(lake=lake.root, symbols=SYMBOLS))
    done = defs.resolve_job_def("parity").execute_in_process()
    (found,) = done.get_asset_check_evaluations()
    facts = {name: entry.value for name, entry in found.metadata.items()}
    assert facts["reason"] == "none"
    assert found.passed
    assert facts["largest"] == 0
    assert (facts["day"], facts["forecasts"], facts["hours"]) == (str(TODAY), 24 * 3 * len(SYMBOLS), 25)
    assert facts["trades"] > 10

    day = Window(midnight(TODAY), midnight(TODAY) + DAY)
    rows = lake.scan("forecasts/lightgbm", day.start, day.end).collect()
    at = (pl.col("ts") == day.start + 2 * HOUR) & (pl.col("symbol") == "ADA") & (pl.col("horizon") == "24h")
    changed = rows.with_columns(p_beats_median=pl.when(at).then(pl.col("p_beats_median") + 1e-9).otherwise("p_beats_median"))
    lake.write(forecast_table("lightgbm"), changed, day)
    out = tmp_path / "out.json"
    command = [sys.executable, "-m", "crypto_assets.cli", "parity", "--from", str(TODAY), "--to", str(TODAY), "--in-process"]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    ended = subprocess.run(
        [*command, "--lake", tmp_path, "--json", out], capture_output=True, text=True, check=False, env=env, cwd=Path.cwd()
    )
    assert ended.returncode == 1
    (first,) = [d for d in json.loads(out.read_text())["differences"] if d["table"] == "forecasts"]
    assert (first["column"], first["rows"], first["key"]) == ("p_beats_median", 1, "ADA 24h")
    assert "2024-03-13 02:00 ADA 24h" in ended.stderr
