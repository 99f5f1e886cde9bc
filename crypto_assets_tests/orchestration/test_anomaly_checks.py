"""The checks of `curated/candles` by kind: non-blocking, with severity and each day's verdict, over a range and a day."""

from datetime import date
from types import SimpleNamespace

import dagster as dg
import polars as pl
import pytest

from crypto_assets.curation.candle_anomalies import DERIVATION, KINDS
from crypto_assets.curation.candles import DERIVATION as CANDLES
from crypto_assets.lake import Lake
from crypto_assets.lake.tables import TABLES
from crypto_assets.market.time import HOUR, Window
from crypto_assets.orchestration.assets.anomalies import anomaly_checks
from crypto_assets.orchestration.assets.tables import derived_asset
from crypto_assets.orchestration.partitions import partitions
from crypto_assets.settings import Settings
from crypto_assets_tests.sources.loopback import market

START = date(2024, 1, 1)
RAW = Window.of_days(START, date(2024, 1, 20))
RUN = Window.of_days(date(2024, 1, 10), date(2024, 1, 14))


@pytest.fixture(scope="module")
def lake(tmp_path_factory) -> Lake:
    """Perpetual and spot of two coins without what the simulator plants, and Coinbase with a feed that stands still."""
    made = Lake(tmp_path_factory.mktemp("lake"))
    tables = market().tables(RAW.start, RAW.end, ("BTC", "ETH"))
    perp = TABLES["raw/binance_perp_candles"].shape(tables["raw/binance_perp_candles"])
    spot = perp.with_columns(source=pl.lit("binance_spot"))
    frozen = pl.col("ts").is_between(RUN.start + 5 * HOUR, RUN.start + 9 * HOUR)
    prices = ("open", "high", "low", "close")
    still = {c: pl.when(frozen).then(pl.col(c).first().over("symbol", frozen)).otherwise(c) for c in prices}
    coinbase = perp.with_columns(**still)
    rows = {"binance_perp_candles": perp, "binance_candles": spot, "coinbase_candles": coinbase}
    for name, frame in rows.items():
        made.write(TABLES[f"raw/{name}"], frame, RAW)
    return made


def ran(lake: Lake, first: date, last: date) -> dict[str, dg.AssetCheckEvaluation]:
    parts = partitions(Settings(lake=lake.root, start=START))
    assets = [derived_asset(CANDLES, parts), derived_asset(DERIVATION, parts)]
    job = dg.define_asset_job("made", selection=dg.AssetSelection.groups("curated"), executor_def=dg.in_process_executor)
    access = dg.ResourceDefinition.hardcoded_resource(SimpleNamespace(lake=lake))
    defs = dg.Definitions(assets=assets, asset_checks=[anomaly_checks()], jobs=[job], resources={"access": access})
    ends = {"start": first, "end": last}
    result = defs.resolve_job_def("made").execute_in_process(
        instance=dg.DagsterInstance.ephemeral(),
        tags={f"dagster/asset_partition_range_{end}": day.isoformat() for end, day in ends.items()},
    )
    assert result.success
    return {e.check_name: e for e in result.get_asset_check_evaluations() if e.check_name in KINDS}


def test_every_kind_has_a_verdict_and_none_blocks(lake):
    found = ran(lake, RUN.days[0], RUN.days[-1])
    assert set(found) == set(KINDS)
    assert {kind for kind, check in found.items() if not check.passed} == {"stale"}
    stale = found["stale"]
    assert stale.severity == dg.AssetCheckSeverity.WARN
    assert "coinbase" in stale.metadata["reason"].value
    records = [record.data for record in stale.metadata["verdict"].records]
    assert [record["day"] for record in records] == [day.isoformat() for day in RUN.days]
    assert [record["bars"] for record in records] == [48] * len(RUN.days)
    assert [record["stale"] for record in records] == [4, 0, 0, 0, 0]


def test_a_quiet_day_is_green(lake):
    assert all(check.passed for check in ran(lake, RUN.days[2], RUN.days[2]).values())


def test_the_checks_do_not_block(lake):
    assert not any(spec.blocking for spec in anomaly_checks().check_specs)
