"""Rolling windows against polars and plain sums, and their promise: the same bits wherever the series begins."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crypto_assets.features import _windows as windows
from crypto_assets.features._bars import of_each
from crypto_assets.features._daily import rolling_by
from crypto_assets.market.errors import SchemaError

POLARS = {"total": "sum", "mean": "mean", "deviation": "std", "highest": "max", "lowest": "min"}


def series(seed: int, n: int, holes: float = 0.1, level: float = 0.0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    x = level + rng.standard_t(4, n)
    x[rng.random(n) < holes] = np.nan
    return x


@given(st.integers(0, 10_000), st.integers(1, 400), st.sampled_from([2, 3, 14, 24, 168]), st.sampled_from([0.0, 0.2]))
@settings(max_examples=60, deadline=None)
def test_equal_to_polars(seed, n, length, holes):
    x, least = series(seed, n, holes), max(2, length // 2)
    for kind, theirs in POLARS.items():
        expected = getattr(pl.Series(x, nan_to_null=True), f"rolling_{theirs}")(length, min_samples=least).to_numpy()
        np.testing.assert_allclose(getattr(windows, kind)(x, length, least), expected, rtol=1e-9, atol=1e-9, err_msg=kind)


@given(st.integers(0, 10_000), st.sampled_from([3, 24, 168, 672]), st.integers(0, 500))
@settings(max_examples=40, deadline=None)
def test_the_same_bits_wherever_the_series_begins(seed, length, more):
    x = series(seed, 2_500, level=50.0)
    cut = len(x) - length - more - 5
    for kind in POLARS:
        whole, late = (getattr(windows, kind)(values, length, 2) for values in (x, np.ascontiguousarray(x[cut:])))
        np.testing.assert_array_equal(whole[cut + length - 1 :], late[length - 1 :], err_msg=kind)
    reach = 2 ** windows.doublings(0.94)
    whole, late = (windows.decayed_mean(values, 0.94, 24) for values in (x, np.ascontiguousarray(x[-reach - 9 :])))
    np.testing.assert_array_equal(whole[-9:], late[-9:])


def test_a_large_mean_costs_no_digits():
    x = np.random.default_rng(0).standard_normal(2_000)
    moved = windows.deviation(x + 1e8, 168, 168)
    np.testing.assert_allclose(moved[167:], windows.deviation(x, 168, 168)[167:], rtol=1e-6)
    assert (windows.deviation(np.full(500, 0.1), 168, 168)[167:] == 0).all()


@pytest.mark.parametrize("decay", [0.5, 0.94, 71 / 73])
def test_decayed_sums_are_the_recursion(decay):
    x, expected, state = series(1, 3_000), [], 0.0
    for value in np.nan_to_num(x):
        state = decay * state + value
        expected.append(state)
    np.testing.assert_allclose(windows.decayed(x, decay), expected, rtol=1e-9, atol=1e-9)
    assert decay ** (2 ** windows.doublings(decay)) < windows.FORGOTTEN <= decay ** (2 ** (windows.doublings(decay) - 1))


def test_weighted_sums_are_a_convolution():
    x, weights = series(2, 3_000, 0), np.random.default_rng(3).standard_normal(400)
    np.testing.assert_allclose(windows.weighted(x, weights), np.convolve(x, weights, "valid"), atol=1e-11)
    np.testing.assert_array_equal(windows.weighted(x, weights)[-900:], windows.weighted(x[-1_299:], weights))


def days(seed: int) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    ts = pl.datetime_range(pl.datetime(2023, 1, 1), pl.datetime(2024, 2, 1), "1d", eager=True).dt.replace_time_zone("UTC")
    frames = [pl.DataFrame({"symbol": s, "ts": ts, "x": 9 + rng.standard_normal(len(ts))}) for s in ("BTC", "ETH")]
    return pl.concat(frames).filter(pl.Series(rng.random(2 * len(ts)) > 0.2))


def test_windows_in_time_are_polars_over_each_series():
    frame = days(0)
    mean, spread = rolling_by(pl.col("x"), timedelta(days=90), 20, ["symbol"])
    found = frame.lazy().select(mean, spread).collect()
    for column, kind in (("mean", "mean"), ("spread", "std")):
        theirs = getattr(pl.col("x"), f"rolling_{kind}_by")("ts", "90d", min_samples=20).over("symbol")
        expected = frame.select(theirs).to_series()
        assert found[column].null_count() == expected.null_count() > 0
        np.testing.assert_allclose(found[column].to_numpy(), expected.to_numpy(), rtol=1e-9)


def test_a_window_ends_with_its_symbol_and_scattered_rows_are_refused():
    frame = pl.DataFrame({"symbol": ["BTC"] * 3 + ["ETH"] * 3, "x": [1.0, 2, 3, 10, 20, 30]})
    rolled = frame.select(of_each(pl.col("x"), "total", 2, 1)).to_series()
    assert rolled.to_list() == [1, 3, 5, 10, 30, 50]
    with pytest.raises(SchemaError, match="sort the frame by symbol"):
        frame[[0, 3, 1, 4]].select(of_each(pl.col("x"), "total", 2, 1))
    assert frame.clear().select(of_each(pl.col("x"), "total", 2, 1)).is_empty()
