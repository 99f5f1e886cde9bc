"""The nightly parity check: real command, real sandbox, real stream, on a small lake of the simulated market."""

from __future__ import annotations

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


@pytest.mark.parametrize(
    ("texts", "status", "passes"), [((), 0, True), (("forecasts mean: 1 rows differ",), 1, False), ((), 1, False)]
)
def test_it_passes_where_nothing_differs_and_the_command_says_so(texts, status, passes):
    found = {"differences": [{"text": t} for t in texts], "largest": {"forecasts": 0.0, "trades": 0.0}}
    said = parity.verdict("2024-03-13", {**found, "forecasts": 9, "trades": 2, "hours": 4, "tolerance": 0.0}, status)
    assert (said.passed, said.metadata["exit"].value) == (passes, status)


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_a_day_lived_through_on_the_wire_is_the_batch_but_for_the_one_forecast_that_was_changed_there(tmp_path):
    """Sandbox, sockets, hot store, features, forecasts, account: every other forecast, all trades and the equity to the bit.

    What was changed is not traded, so that it shows nowhere else.
    """
    lake = history.build(Lake(tmp_path), list(families().values()), days=1)
    day = Window(midnight(TODAY), midnight(TODAY) + DAY)
    rows = lake.scan("forecasts/lightgbm", day.start, day.end).collect()
    at = (pl.col("ts") == day.start + 2 * HOUR) & (pl.col("symbol") == "ADA") & (pl.col("horizon") == "24h")
    changed = rows.with_columns(p_up=pl.when(at).then(pl.col("p_up") + 1e-9).otherwise("p_up"))
    lake.write(forecast_table("lightgbm"), changed, day)

    defs = build_defs(Settings(lake=lake.root, symbols=SYMBOLS))
    done = defs.resolve_job_def("parity").execute_in_process()
    (found,) = done.get_asset_check_evaluations()
    facts = {name: entry.value for name, entry in found.metadata.items()}
    assert facts["reason"].startswith("forecasts p_up: 1 rows differ, at most 1e-09 apart; first 2024-03-13 02:00 ADA 24h:")
    assert ";" not in facts["reason"].split("ADA 24h:")[1]
    assert (found.passed, facts["exit"]) == (False, 1)
    assert facts["largest"] == pytest.approx(1e-9, rel=1e-6)
    assert (facts["day"], facts["forecasts"], facts["hours"]) == (str(TODAY), 24 * 3 * len(SYMBOLS), 25)
    assert facts["trades"] > 10
