"""Every raw table of every source, keyed ones too, through the assets; twice, and the second time changes nothing."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest

from crypto_assets.cli.build import MORE, materialise
from crypto_assets.lake import Lake
from crypto_assets.sandbox.server import running
from crypto_assets.settings import load
from crypto_assets.sources import discover
from crypto_assets_tests.orchestration.test_demo import digests

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

DAYS = date(2025, 3, 3), date(2025, 3, 5)
NOW = datetime(2025, 3, 12, 9, tzinfo=UTC)
"""Late enough for most lags, early enough for providers that keep a week."""


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    lake = tmp_path_factory.mktemp("all") / "lake"
    settings = load(world="sandbox", lake=lake, start=DAYS[0], end=DAYS[1], symbols="BTC,ETH,SOL").with_sandbox_keys()
    ran = []
    with running("standard", 7, at=NOW) as url:
        for _ in range(2):
            materialise(settings.model_copy(update={"sandbox_url": url}), DAYS, (MORE, "ingest"))
            ran.append(digests(lake))
    return lake, ran


def test_every_raw_table_is_materialised(built):
    lake, _ = built
    missing = {name for name in discover() if len(Lake(lake).days(f"raw/{name}")) != 3}
    assert not missing


def test_sources_with_history_have_rows(built):
    lake, _ = built
    late = {"google_trends", "bgeometrics_onchain", "github_commits", "santiment_metrics", "worldbank_commodities"}
    reach = {n for n, s in discover().items() if s.history.kind == "none" or (s.history.days or 99) < 10} | late
    empty = {n for n in set(discover()) - reach if Lake(lake).scan(f"raw/{n}").collect().is_empty()}
    assert not empty


def test_the_second_time_changes_nothing(built):
    _, (first, second) = built
    assert first == second


def test_no_key_is_stored(built):
    lake, _ = built
    holding = [p for p in lake.rglob("*") if p.is_file() and b"sandbox-key" in p.read_bytes()]
    assert not holding
