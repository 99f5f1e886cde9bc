"""Live accuracy against scikit-learn and the planted truth; what is estimated before labels against what then happens."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import log_loss

from crypto_assets.evaluation.metrics import expected_calibration_error
from crypto_assets.monitoring.live import Rows, as_of, by_target, estimate, excess, measure, rows_of
from crypto_assets_tests.evaluation import market


@pytest.fixture(scope="module")
def planted():
    """(panel, exact probabilities, forecasts table of exactly those, labels table)."""
    panel, p = market.make(seed=1, edge=0.4)
    return panel, p, market.table(panel, p=p), market.labels_table(panel).with_columns(available_at=pl.col("ts"))


@pytest.fixture(scope="module")
def rows(planted) -> Rows:
    return rows_of(planted[2], planted[3], "1h")


def value(found, metric: str) -> float:
    return next(m.value for m in found if m.metric == metric)


def test_measured_numbers_are_scikit_learns(rows):
    found = measure(rows, 10_000)
    seen = rows.closed()
    assert value(found, "log_loss") == pytest.approx(log_loss(seen.y, seen.p), rel=1e-9)
    assert value(found, "accuracy") == pytest.approx(np.mean((seen.p > 0.5) == (seen.y > 0.5)))
    assert value(found, "skill") == pytest.approx(1 - log_loss(seen.y, seen.p) / np.log(2), rel=1e-9)
    assert value(found, "ece") == pytest.approx(expected_calibration_error(seen.p, seen.y), abs=2e-3)


def test_a_window_ends_with_the_newest_label(rows):
    found = measure(rows, 7)
    assert {m.n for m in found} == {7 * 24 * len(market.SYMBOLS)}
    assert value(found, "accuracy") == pytest.approx(np.mean((rows.closed().p > 0.5) == (rows.closed().y > 0.5)), abs=0.1)


def test_intervals_cover_the_truth_as_often_as_they_say():
    """Accuracy of the exact probabilities over 30 days of 40 markets: its interval holds the exact expectation."""
    held = []
    for seed in range(40):
        panel, p = market.make(seed=100 + seed, edge=0.4)
        found = measure(rows_of(market.table(panel, p=p), market.labels_table(panel), "1h"), 30, draws=200)
        truth = float(np.maximum(p, 1 - p).mean())
        held += [m.low <= truth <= m.high for m in found if m.metric == "accuracy"]
    assert np.mean(held) >= 0.82  # 95 % less three standard errors of forty


def test_exact_probabilities_lose_what_they_expect_to(rows):
    found = excess(rows.closed())
    assert found.low <= 0 <= found.high
    assert abs(found.value) < 0.002


def test_a_turned_market_shows_in_the_excess(planted):
    panel, p, _, labels = planted
    found = excess(rows_of(market.table(panel, p=1 - p), labels, "1h").closed())
    assert found.low > 0


def test_the_estimate_before_labels_is_what_is_measured_after(planted):
    """The last month is hidden, estimated, and then looked at."""
    panel, _, forecasts, labels = planted
    cut = panel.ts[-30 * 24 - 1].astype("datetime64[us]").item().replace(tzinfo=UTC)
    hidden = labels.with_columns(pl.when(pl.col("ts") < cut).then(pl.col("ret_1h")).alias("ret_1h"))
    guessed = estimate(rows_of(forecasts, hidden, "1h"))
    after = measure(rows_of(forecasts, labels, "1h"), 30)
    assert guessed["rows"] == 30 * 24 * len(market.SYMBOLS) + len(market.SYMBOLS)
    for metric in ("accuracy", "log_loss"):
        truth = next(m for m in after if m.metric == metric)
        assert truth.low <= guessed[metric] <= truth.high


def test_where_all_is_closed_nothing_is_estimated(planted, rows):
    closed = rows.where(~np.isnan(rows.y))
    assert estimate(closed) == {}
    assert measure(closed.where(np.zeros(len(closed.ts), dtype=bool)), 7) == []


def test_coverage_is_that_of_the_gaussian_interval():
    panel, p = market.make(seed=2)
    table = market.table(panel, p=p).with_columns(mean=pl.lit(0.0), log_var=pl.lit(float(np.log(1 / 200**2))))
    found = measure(rows_of(table, market.labels_table(panel), "1h"), 60)
    assert value(found, "coverage") == pytest.approx(0.90, abs=0.02)


def test_conformal_bounds_are_used_where_there_are_some(planted):
    _, _, forecasts, labels = planted
    wide = forecasts.with_columns(low_90=pl.lit(-9.0), high_90=pl.lit(9.0))
    assert value(measure(rows_of(wide, labels, "1h"), 30), "coverage") == 1.0


def test_every_target_that_is_forecast_is_there(planted):
    panel, p, _, labels = planted
    assert [t for t, _ in by_target(market.table(panel, p=p), labels)] == ["1h", "4h", "24h"]
    assert [t for t, _ in by_target(market.table(panel, relative=p), labels)] == ["24h_relative"]


def test_the_state_is_as_of_the_midnight_up_to_which_labels_closed():
    closed, open_ = datetime(2024, 3, 6, tzinfo=UTC), datetime(2024, 3, 7, tzinfo=UTC)
    labels = pl.DataFrame({"ret_24h": [0.1, None], "available_at": [closed, open_]})
    assert as_of(labels) == closed
    assert as_of(labels.clear()) is None
