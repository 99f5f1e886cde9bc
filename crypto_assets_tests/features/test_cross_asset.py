"""Cross-sectional columns against plain numpy on a complete panel."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest
from scipy.stats import rankdata

from crypto_assets.features.cross_asset import FAMILY
from crypto_assets.lake import Frames, derive
from crypto_assets.market.time import Window
from crypto_assets_tests.features.market import random_market

SYMBOLS = ("ADA", "BTC", "ETH", "SOL")
DAYS = 30
WINDOW = Window.of_days(date(2024, 1, 1), date(2024, 1, 1) + timedelta(days=DAYS))


@pytest.fixture(scope="module")
def panel():
    """Log closes `[T, N]` of the last ten days, which have no holes, and the family's columns on them."""
    candles = random_market(SYMBOLS, date(2024, 1, 1), DAYS, seed=9)["curated/candles"]
    hours = pl.DataFrame({"ts": candles["ts"].unique().sort()})
    filled = pl.concat(
        hours.join(candles.filter(pl.col("symbol") == s), on="ts", how="left").with_columns(
            pl.lit(s).alias("symbol"), pl.exclude("ts", "symbol").forward_fill().backward_fill()
        )
        for s in SYMBOLS
    ).select(candles.columns)
    rows = derive(FAMILY.derivation(), Frames({"curated/candles": filled}), WINDOW)
    close = np.stack([filled.filter(pl.col("symbol") == s)["close"].to_numpy() for s in SYMBOLS], axis=1)
    return np.log(close), {c: np.stack([rows.filter(symbol=s)[c].to_numpy() for s in SYMBOLS], axis=1) for c in FAMILY.columns}


def test_ranks(panel):
    log, found = panel
    for hours in (1, 24, 168):
        r = log[hours:] - log[:-hours]
        wanted = (rankdata(r, axis=1) - 0.5) / r.shape[1] - 0.5
        np.testing.assert_allclose(found[f"rank_return_{hours}h"][hours:], wanted, atol=1e-12)


def test_betas_residuals_and_correlation(panel):
    log, found = panel
    r = np.diff(log, axis=0, prepend=np.nan)
    market = r.mean(axis=1)
    for t in (300, 477, len(r) - 1):
        window = slice(t - 167, t + 1)
        for n in range(len(SYMBOLS)):
            beta = np.polyfit(market[window], r[window, n], 1)[0]
            assert found["beta_168h"][t, n] == pytest.approx(beta, rel=1e-6)
            sd = np.sqrt((r[window, n] ** 2).mean() + 1e-10)
            assert found["residual_lag_0h"][t, n] == pytest.approx((r[t, n] - beta * market[t]) / sd, rel=1e-5, abs=1e-8)
            correlation = np.corrcoef(r[window, n], r[window, 1])[0, 1]
            assert found["btc_correlation_168h"][t, n] == pytest.approx(correlation, rel=1e-6)


def test_bitcoin_and_the_market_are_the_same_for_every_coin(panel):
    log, found = panel
    r = np.diff(log, axis=0, prepend=np.nan)
    for t in (200, 350, len(r) - 1):
        sd = np.sqrt((r[t - 167 : t + 1] ** 2).mean(axis=0) + 1e-10)
        np.testing.assert_allclose(found["btc_return_lag_0h"][t], (r[t] / sd)[1], rtol=1e-8)
        np.testing.assert_allclose(found["market_return_lag_0h"][t], (r[t] / sd).mean(), rtol=1e-8)
        np.testing.assert_allclose(found["breadth_1h"][t], (r[t] > 0).mean() - 0.5)
        np.testing.assert_allclose(found["dispersion_1h"][t], np.log(r[t].std(ddof=1) + 1e-10), rtol=1e-8)


def test_two_coins_are_no_market_and_without_bitcoin_its_columns_are_null():
    tables = random_market(("ADA", "ETH"), date(2024, 1, 1), DAYS)
    rows = derive(FAMILY.derivation(), Frames(tables), WINDOW)
    for column in ("market_return_lag_0h", "btc_return_lag_0h", "rank_return_1h", "beta_168h", "btc_beta_168h", "breadth_1h"):
        assert rows[column].null_count() == rows.height, column
