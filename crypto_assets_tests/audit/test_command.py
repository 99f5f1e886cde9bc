"""`crypto-assets audit`: exit status, JSON and messages, on the simulated market, a lake, and a lake of imports."""

from __future__ import annotations

import json
import shutil
import sys
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from crypto_assets.cli import main
from crypto_assets.cli.audit import sample_of
from crypto_assets.lake import Lake
from crypto_assets.market.time import DAY, Window
from crypto_assets.sandbox.simulator import SimulatedMarket
from crypto_assets.sources import discover

HEAD = """
from datetime import timedelta
import polars as pl
from crypto_assets.features import FeatureFamily

def compute(candles: pl.LazyFrame) -> pl.LazyFrame:
"""
TAIL = """
FAMILY = FeatureFamily(name="mine", inputs={"candles": "curated/candles"}, lookback=timedelta(days=2),
                       columns={"momentum_1d": "24 h return, fraction"}, compute=compute)
"""
CLEAN = """
    return candles.sort("symbol", "ts").select("symbol", pl.col("ts") + pl.duration(hours=1),
        momentum_1d=pl.col("close").pct_change(24).over("symbol"))
"""
LEAKY = CLEAN.replace("pct_change(24)", "pct_change(-24)")
BROKEN = "\n    raise RuntimeError('it does not work')\n"
WEEKS = Window(datetime(2024, 2, 5, tzinfo=UTC), datetime(2024, 3, 10, tzinfo=UTC))


@pytest.fixture
def ended(monkeypatch, capsys, tmp_path):
    """Exit status, JSON (where any was written) and what was printed, on one line."""

    def run(body: str | None, *options: str):
        out = tmp_path / "out.json"
        arguments = ["crypto-assets", "audit", "--json", str(out), *options]
        if body is not None:
            (tmp_path / "mine.py").write_text(HEAD + body + TAIL)
            arguments += ["--features", str(tmp_path / "mine.py")]
        if "--lake" not in options:
            arguments += ["--lake", str(tmp_path / "empty")]
        monkeypatch.setattr(sys, "argv", arguments)
        monkeypatch.setenv("COLUMNS", "400")
        try:
            main()
            status = 0
        except SystemExit as ending:
            status = int(ending.code or 0)
        found = json.loads(out.read_text()) if out.exists() else None
        return status, found, " ".join(capsys.readouterr().err.split())

    return run


@pytest.fixture(scope="module")
def lake(tmp_path_factory) -> Path:
    """Five weeks of the core raw tables, as a lake holds them."""
    root = tmp_path_factory.mktemp("lake")
    tables = SimulatedMarket("standard", 3).tables(WEEKS.start, WEEKS.end, ["BTC", "ETH", "SOL", "ADA", "LINK"])
    for source in discover().values():
        if source.table.name in tables:
            Lake(root).write(source.table, tables[source.table.name], WEEKS)
    return root


def test_a_clean_family_ends_with_0(ended):
    status, found, _ = ended(CLEAN, "--cuts", "12")
    assert status == 0
    assert (found["leaks"], found["warmup"], found["checked"], found["errors"]) == ([], [], 1, [])
    assert found["data"] == "simulated market standard, seed 7"


def test_a_leak_ends_with_1_and_is_named(ended):
    status, found, printed = ended(LEAKY, "--cuts", "12")
    assert status == 1
    (leak,) = found["leaks"]
    assert {"column", "first_ts", "magnitude", "input"} <= set(leak)
    assert (leak["column"], leak["input"]) == ("mine.momentum_1d", "curated/candles")
    assert datetime.fromisoformat(leak["first_ts"]).tzinfo is not None
    assert "mine.momentum_1d" in printed
    assert "LEAKS" in printed


def test_code_that_fails_ends_with_2_and_names_family_and_input(ended):
    status, found, printed = ended(BROKEN, "--cuts", "12")
    assert status == 2
    assert found is None
    assert "features/mine fails on the rows of curated/candles" in printed
    assert "it does not work" in printed


@pytest.mark.parametrize(("body", "status"), [(CLEAN, 0), (LEAKY, 1)])
def test_it_works_on_a_lake(ended, lake, body, status):
    ended_with, found, _ = ended(body, "--cuts", "12", "--lake", str(lake))
    assert ended_with == status
    assert found["data"] == f"lake {lake}"


def test_it_works_on_what_was_only_imported(ended, tmp_path, monkeypatch):
    market = SimulatedMarket("standard", 3)
    rows = pl.concat(
        market.candles(s, "perp", WEEKS.start, WEEKS.start + 12 * DAY).with_columns(symbol=pl.lit(s)) for s in ("BTC", "ETH")
    )
    rows.write_parquet(tmp_path / "candles.parquet")
    imported = str(tmp_path / "imported")
    monkeypatch.setattr(
        sys,
        "argv",
        ["crypto-assets", "import", "binance_perp_candles", str(tmp_path / "candles.parquet"), "--lake", imported],
    )
    with pytest.raises(SystemExit) as ending:
        main()
    assert not ending.value.code
    assert sample_of(Path(imported)).symbols == ("BTC", "ETH")
    assert ended(LEAKY, "--cuts", "8", "--lake", imported)[0] == 1


def test_a_column_that_the_lake_has_no_rows_for_is_audited_on_the_simulated_market(ended, lake, tmp_path):
    only = tmp_path / "only"
    shutil.copytree(lake / "raw" / "binance_perp_candles", only / "raw" / "binance_perp_candles")
    body = """
    rows = candles.with_columns(pl.col("ts") + pl.duration(hours=1)).sort("ts")
    return rows.join_asof(fear.sort("ts").select("ts", momentum_1d="value_pct"), on="ts").select("symbol", "ts", "momentum_1d")
"""
    (tmp_path / "fear.py").write_text(
        HEAD.replace("(candles: pl.LazyFrame)", "(candles, fear)")
        + body
        + TAIL.replace('{"candles": "curated/candles"}', '{"candles": "curated/candles", "fear": "raw/fear_greed"}')
    )
    status, found, _ = ended(None, "--lake", str(only), "--features", str(tmp_path / "fear.py"), "--cuts", "30")
    assert status == 1
    assert [(leak["column"], leak["input"]) for leak in found["leaks"]] == [("mine.momentum_1d", "raw/fear_greed")]


@pytest.mark.slow
def test_the_package_is_clean_on_a_small_lake(ended, lake):
    status, found, printed = ended(None, "--lake", str(lake))
    assert status == 0, printed
    names = {done["name"] for done in found["audited"]}
    assert {"features/technical", "features/matrix", "labels/targets", "models/lightgbm", "walk-forward folds"} <= names
    assert found["checked"] > 500
