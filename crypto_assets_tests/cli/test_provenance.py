"""The tables a column is made of are found by changing them."""

from __future__ import annotations

from datetime import timedelta

import polars as pl
import pytest

from crypto_assets.cli.provenance import Provenance, provenance
from crypto_assets.features import FeatureFamily


@pytest.mark.slow
def test_each_column_names_the_tables_that_move_it():
    def compute(candles: pl.LazyFrame, fear: pl.LazyFrame) -> pl.LazyFrame:
        rows = candles.select("symbol", pl.col("ts") + pl.duration(hours=1), of_bars="close").sort("ts")
        known = fear.sort("available_at").select("available_at", of_fear="value_pct")
        rows = rows.join_asof(known, left_on="ts", right_on="available_at")
        return rows.select(
            "symbol", "ts", "of_bars", "of_fear", of_both=pl.col("of_bars") * pl.col("of_fear"), of_none=pl.lit(1.0)
        )

    inputs = {"candles": "curated/candles", "fear": "raw/fear_greed"}
    columns = dict.fromkeys(("of_bars", "of_fear", "of_both", "of_none"), "a column of a test")
    found = provenance(FeatureFamily("mine", inputs, timedelta(days=5), columns, compute))
    hour, both = timedelta(hours=1), ("curated/candles", "raw/fear_greed")
    assert found == {
        "of_bars": Provenance(both[:1], hour),
        "of_fear": Provenance(both[1:], hour),
        "of_both": Provenance(both, hour),
        "of_none": Provenance(both, hour),
    }
