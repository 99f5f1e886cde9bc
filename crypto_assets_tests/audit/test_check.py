"""The asset check of a feature table: green for a clean one, red and not blocking for one that leaks."""

from __future__ import annotations

from datetime import timedelta

import polars as pl
import pytest

from crypto_assets.audit.check import leaks_of
from crypto_assets.features import FeatureFamily, built_in
from crypto_assets.features.matrix import matrix
from crypto_assets.lake import Frames, derive
from crypto_assets.market.time import DAY, Window
from crypto_assets.orchestration.checks import firewall_result, firewall_spec
from crypto_assets_tests.audit.leaks import LEAKS


@pytest.fixture(scope="module")
def lake(sample):
    families = [built_in()["derivatives"], built_in()["technical"]]
    tables = {name: sample.plain(name) for family in families for name in family.inputs.values()}
    window = Window(sample.window.end - 5 * DAY, sample.window.end)
    made = {f"features/{f.name}": derive(f.derivation(), Frames(tables), window) for f in families}
    return families, Frames({**tables, **made}), window


def test_it_is_green_for_families_and_matrix(lake):
    families, reader, window = lake
    for derivation in [*(f.derivation() for f in families), matrix(families)]:
        assert leaks_of(derivation, reader, window) == []
        assert firewall_result(derivation, reader, window).passed


def test_it_is_red_for_a_leak_and_names_the_column(lake):
    _, reader, window = lake
    result = firewall_result(LEAKS["next_bar"].derivation(), reader, window)
    assert not result.passed
    assert result.metadata["leaks"].value[0]["column"] == "x"
    assert not firewall_spec(["features", "next_bar"]).blocking


def test_code_that_fails_in_another_future_fails_the_check_not_the_asset(lake):
    _, reader, window = lake

    def compute(candles):
        if candles.select(pl.col("ts").max()).collect().item() < window.end - timedelta(hours=6):
            raise ValueError("too short")
        return candles.select("symbol", pl.col("ts") + pl.duration(hours=1), x="close")

    family = FeatureFamily("frail", {"candles": "curated/candles"}, timedelta(days=1), {"x": "a"}, compute)
    result = firewall_result(family.derivation(), reader, window)
    assert not result.passed
    assert "too short" in result.metadata["reason"].value
