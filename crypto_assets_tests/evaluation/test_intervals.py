"""Coverage of intervals against counting by hand, from a panel and from a table alike."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from crypto_assets.evaluation.intervals import intervals
from crypto_assets_tests.evaluation import market

PANEL, _ = market.make()


@pytest.fixture(scope="module")
def rows():
    """Intervals of 1 % each side, and variances that rise with time."""
    base = market.table(PANEL, p=0.5, rv=1e-3).with_columns(log_var=pl.col("ts").to_physical().cast(pl.Float64) * 1e-16)
    ends = {f"{side}_{level}": pl.lit(sign * 0.01) for level in (50, 80, 90) for side, sign in (("low", -1), ("high", 1))}
    rv = {f"rv_{side}_{level}": pl.lit(v) for level in (50, 80, 90) for side, v in (("low", 1e-4), ("high", 1e-3))}
    return base.with_columns(**ends, **rv)


def test_coverage_is_what_is_counted(rows):
    found = intervals(rows, PANEL)
    r = PANEL.labels["ret_4h"]
    inside, known = np.abs(r) <= 0.01, np.isfinite(r)
    assert found["4h"]["90"]["n"] == known.sum()
    assert found["4h"]["90"]["coverage"] == pytest.approx(inside[known].mean())
    assert found["4h"]["90"]["width"] == pytest.approx(0.02)
    late = known & (np.arange(len(r))[:, None] >= np.quantile(np.repeat(np.arange(len(r)), 4).reshape(r.shape)[known], 0.9))
    assert found["4h"]["90"]["coverage_stormy"] == pytest.approx(inside[late].mean(), abs=0.01)
    assert found["volatility"]["50"]["width"] == pytest.approx(np.log(10))


def test_a_table_of_labels_gives_the_same(rows):
    assert intervals(rows, market.labels_table(PANEL)) == intervals(rows, PANEL)


def test_forecasts_without_intervals_have_none():
    assert intervals(market.table(PANEL, p=0.5), PANEL) == {}
