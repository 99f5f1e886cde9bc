"""Fractal and chaos measures against known truths, another library, and the plain definition."""

from __future__ import annotations

import math

import antropy
import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from crypto_assets.features import _chaos, _chaos_torch
from crypto_assets.features.fractal import COLUMNS, FAMILY, WINDOW


def fractional_noise(h: float, n: int, windows: int, seed: int = 0) -> np.ndarray:
    """Fractional Gaussian noise `[windows, n]`, exact, by circulant embedding (Davies and Harte 1987)."""
    k = np.arange(n + 1)
    covariance = 0.5 * (np.abs(k + 1.0) ** (2 * h) - 2 * np.abs(k) ** (2 * h) + np.abs(k - 1.0) ** (2 * h))
    power = np.fft.fft(np.concatenate([covariance, covariance[-2:0:-1]])).real
    rng = np.random.default_rng(seed)
    m = len(power)
    z = rng.standard_normal((windows, m)) + 1j * rng.standard_normal((windows, m))
    return np.fft.fft(z * np.sqrt(np.maximum(power, 0) / m), axis=1).real[:, :n]


def measured(windows: np.ndarray) -> dict[str, np.ndarray]:
    n = windows.shape[1]
    values = _chaos.rolling(windows.ravel(), n * np.arange(1, len(windows) + 1), n)
    return dict(zip(_chaos.MEASURES, values.T, strict=True))


@pytest.mark.parametrize("h", [0.3, 0.5, 0.7])
def test_hurst_of_fractional_noise(h):
    found = measured(fractional_noise(h, WINDOW, 400))
    assert found["hurst"].mean() == pytest.approx(h, abs=0.05)
    assert found["dfa"].mean() == pytest.approx(h, abs=0.05)
    assert found["higuchi"].mean() == pytest.approx(2 - h, abs=0.08)


def test_the_correction_is_the_mean_of_white_noise():
    x = np.random.default_rng(1).standard_normal(200_000)
    sizes, expected = _chaos.hurst_sizes(WINDOW)
    found = [_chaos.rescaled_range(x, s) for s in sizes]
    np.testing.assert_allclose(found, expected, rtol=0.02)


def logistic_map(n: int) -> np.ndarray:
    x = np.empty(n)
    x[0] = 0.4
    for i in range(1, n):
        x[i] = 4 * x[i - 1] * (1 - x[i - 1])
    return x


def test_lyapunov_exponent_of_the_logistic_map():
    x = logistic_map(2000)
    nearest = _chaos.pairs(x, _chaos.RADII, 0.1, 0.1, 1, 5)[3]
    assert _chaos.divergence(x, nearest, 5) == pytest.approx(math.log(2), abs=0.07)


def test_correlation_dimension_of_the_henon_map():
    x = np.empty(3000)
    a, b = 0.1, 0.1
    for i in range(3000):
        a, b = 1 - 1.4 * a * a + b, 0.3 * a
        x[i] = a
    z = (x[500:] - x[500:].mean()) / x[500:].std()
    radii = np.geomspace(0.02, 0.3, 20)
    within = _chaos.pairs(z, radii, 0.2, 0.2, 1, 5)[0]
    assert _chaos.slope(np.log(radii), np.log(within)) == pytest.approx(1.22, abs=0.06)


def test_correlation_dimension_of_noise_is_the_number_of_delays():
    z = np.random.default_rng(2).standard_normal(3000)
    radii = np.geomspace(0.1, 0.4, 10)
    within = _chaos.pairs(z, radii, 0.2, 0.2, 1, 5)[0]
    assert _chaos.slope(np.log(radii), np.log(within)) == pytest.approx(3, abs=0.1)


def test_a_period_recurs_in_full_diagonals():
    x = np.tile([1.0, -0.3, 0.4, -1.1], 42)
    found = {name: v[0] for name, v in measured(x[None]).items()}
    assert found["determinism"] == 1
    assert found["permutation_entropy"] < 0.8
    assert found["sample_entropy"] == pytest.approx(0, abs=0.05)
    assert found["recurrence_rate"] == pytest.approx(0.25, abs=0.01)


def test_noise_and_order_differ():
    noise = measured(np.random.default_rng(3).standard_normal((50, WINDOW)))
    chaos = measured(np.stack([logistic_map(WINDOW + 50 * k)[-WINDOW:] for k in range(50)]))
    assert chaos["correlation_dimension"].mean() < noise["correlation_dimension"].mean() - 1
    assert chaos["permutation_entropy"].mean() < noise["permutation_entropy"].mean() - 0.1


@given(st.integers(0, 10_000))
@settings(max_examples=15, deadline=None)
def test_equal_to_antropy(seed):
    x = np.random.default_rng(seed).standard_t(4, WINDOW)
    found = {name: v[0] for name, v in measured(x[None]).items()}
    path = np.cumsum(x)
    assert found["higuchi"] == pytest.approx(antropy.higuchi_fd(path, kmax=10), rel=1e-9)
    assert found["katz"] == pytest.approx(antropy.katz_fd(path), rel=1e-9)
    assert found["permutation_entropy"] == pytest.approx(antropy.perm_entropy(x, normalize=True), rel=1e-9)
    tolerance = _chaos.TOLERANCE * x.std(ddof=1)
    entropy = antropy.sample_entropy(x, order=2, tolerance=tolerance, metric="chebyshev")
    assert found["sample_entropy"] == pytest.approx(entropy, rel=1e-9)


@given(st.integers(0, 10_000), st.integers(30, 60))
@settings(max_examples=15, deadline=None)
def test_the_pass_counts_what_the_whole_matrix_holds(seed, n):
    x = np.random.default_rng(seed).standard_normal(n).round(1)
    z = x / x.std()
    within, two, three, _, diagonal, vertical = _chaos.pairs(z, _chaos.RADII, 0.35, 0.8, 3, 5)
    gap = np.abs(z[:, None] - z[None, :])
    v = n - 2
    stack = np.stack([gap[k : v + k, k : v + k] for k in range(3)])
    upper = np.triu_indices(v, 1)
    euclid = (stack**2).sum(axis=0)[upper]
    np.testing.assert_array_equal(within, [(euclid <= r * r).sum() for r in _chaos.RADII])
    assert two == (stack[:2].max(axis=0)[upper] <= 0.35).sum()
    assert three == (stack.max(axis=0)[upper] <= 0.35).sum()
    near = stack.max(axis=0) <= 0.8

    def runs(cells):
        text = "".join("1" if c else "0" for c in cells)
        return [len(run) for run in text.split("0") if run]

    diagonals = [length for k in range(1, v) for length in runs(np.diagonal(near, k))]
    columns = [length for j in range(v) for length in runs(near[:j, j])]
    np.testing.assert_array_equal(diagonal[1:], np.bincount(diagonals, minlength=v + 1)[1:])
    np.testing.assert_array_equal(vertical[1:], np.bincount(columns, minlength=v + 1)[1:])


@pytest.mark.parametrize("n", [40, 73, 168])
def test_the_pass_finds_the_nearest_neighbour_that_can_be_followed(n):
    z = np.random.default_rng(n).standard_t(4, n)
    nearest = _chaos.pairs(z, _chaos.RADII, 0.35, 0.5, 10, 8)[3]
    v = np.lib.stride_tricks.sliding_window_view(z, 3)[: n - 10]
    squares = ((v[:, None] - v[None]) ** 2).sum(axis=2)
    at = np.arange(len(v))
    squares[np.abs(at[:, None] - at) <= 10] = np.inf
    np.testing.assert_array_equal(nearest, np.where(np.isfinite(squares.min(axis=1)), squares.argmin(axis=1), -1))


def test_the_batched_form_gives_the_same_numbers():
    windows = fractional_noise(0.6, WINDOW, 20)
    found = measured(windows)
    x = torch.as_tensor(windows)
    np.testing.assert_allclose(_chaos_torch.hurst(x), found["hurst"], rtol=1e-9)
    for name, values in _chaos_torch.recurrence(x).items():
        np.testing.assert_allclose(values, found[name], rtol=1e-9)


def test_a_price_that_does_not_move_has_no_measures():
    assert all(np.isnan(v).all() for v in measured(np.zeros((1, WINDOW))).values())


def candles(hours: int, missing: tuple[int, ...] = ()) -> pl.DataFrame:
    rng = np.random.default_rng(5)
    frames = []
    for symbol in ("BTC", "ETH"):
        close = 100 * np.exp(np.cumsum(0.01 * rng.standard_normal(hours)))
        ts = pl.datetime_range(
            pl.datetime(2024, 1, 1), pl.datetime(2024, 1, 1) + pl.duration(hours=hours - 1), "1h", eager=True
        )
        frame = pl.DataFrame({"ts": ts.cast(pl.Datetime("us")).dt.replace_time_zone("UTC"), "close": close})
        prices = {c: pl.col("close") for c in ("open", "high", "low")}
        frames.append(frame.with_columns(**prices, symbol=pl.lit(symbol), volume=pl.lit(1.0)))
    frame = pl.concat(frames)
    return frame.filter(~pl.int_range(pl.len()).over("symbol").is_in(list(missing)))


def test_a_row_needs_its_window_and_nothing_more():
    rows = FAMILY.compute(candles(400).lazy()).collect()
    known = rows.filter(pl.col("symbol") == "BTC").drop_nulls()
    assert known.height == 400 - WINDOW
    short = FAMILY.compute(candles(400).filter(pl.col("ts") >= known["ts"][50] - FAMILY.lookback).lazy()).collect()
    joined = known.join(short.drop_nulls(), on=["symbol", "ts"], suffix="_again")
    assert joined.height >= known.height - 60
    for name in COLUMNS:
        assert joined[name].equals(joined[f"{name}_again"]), name


def test_missing_bars_shift_the_window_until_too_many_miss():
    few = FAMILY.compute(candles(400, tuple(range(200, 210))).lazy()).collect().drop_nulls()
    many = FAMILY.compute(candles(400, tuple(range(200, 250))).lazy()).collect().drop_nulls()
    after = pl.datetime(2024, 1, 1, time_zone="UTC") + pl.duration(hours=300)
    assert few.filter(pl.col("ts") == after).height == 2
    assert many.filter(pl.col("ts") == after).is_empty()
