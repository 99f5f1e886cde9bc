"""Cross-sectional columns against plain numpy on a complete panel."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from scipy.stats import rankdata

from crypto_assets.features.cross_asset import FAMILY
from crypto_assets.lake import Frames, derive
from crypto_assets.market.coins import COINS
from crypto_assets.market.sectors import SECTORS
from crypto_assets.market.time import DAY, Window
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


LONG = ("BTC", "ETH", "SOL", "ADA", "UNI")
START = datetime(2024, 1, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def inputs():
    """Tables of 100 complete days, and capitalisations `[day, N]`."""
    tables = random_market(LONG, START.date(), 100, seed=9)
    hours = pl.DataFrame({"ts": tables["curated/candles"]["ts"].unique().sort()})
    filled = pl.concat(
        hours.join(tables["curated/candles"].filter(pl.col("symbol") == s), on="ts", how="left").with_columns(
            pl.lit(s).alias("symbol"), pl.exclude("ts", "symbol").forward_fill().backward_fill()
        )
        for s in LONG
    ).select(tables["curated/candles"].columns)
    rng = np.random.default_rng(0)
    filled = filled.with_columns(pl.col("close") * pl.Series(np.exp(rng.normal(0, 0.004, filled.height))))
    caps = np.exp(rng.normal([5, 4, 2, 2, 1], 0.1, (100, 5)))
    known = [(START + d * DAY, START + d * DAY + timedelta(hours=27)) for d in range(100)]
    onchain, coingecko = (
        pl.concat(
            pl.DataFrame(
                {
                    "ts": [t for t, _ in known],
                    "available_at": [a for _, a in known],
                    "symbol": s,
                    column: caps[:, LONG.index(s)] * scale,
                    "source": "x",
                }
            ).with_columns(pl.col("ts", "available_at").cast(pl.Datetime("us", "UTC")), metric=pl.lit("CapMrktCurUSD"))
            for s in coins
        )
        for coins, column, scale in ((LONG[:3], "value", 1.0), (LONG[2:], "market_cap_usd", np.array([1.0])))
    )
    coingecko = coingecko.with_columns(
        pl.when(pl.col("symbol") == "SOL").then(1e9).otherwise("market_cap_usd").alias("market_cap_usd")
    )
    return {"curated/candles": filled, "raw/coinmetrics_onchain": onchain, "raw/coingecko_market": coingecko}, caps


LATE = Window(START + 90 * DAY, START + 100 * DAY + timedelta(hours=1))


@pytest.fixture(scope="module")
def season(inputs):
    """Log closes `[T, N]` of 100 complete days, capitalisations `[day, N]`, and the family's columns of the last ten days."""
    given, caps = inputs
    filled, rows = given["curated/candles"], derive(FAMILY.derivation(), Frames(given), LATE)
    close = np.stack([filled.filter(pl.col("symbol") == s)["close"].to_numpy() for s in LONG], axis=1)
    return np.log(close), caps, rows


def at(rows: pl.DataFrame, symbol: str, ts: datetime) -> dict:
    return rows.filter(pl.col("symbol") == symbol, pl.col("ts") == ts).row(0, named=True)


def day_known(ts: datetime) -> int:
    """Index of the last day whose capitalisations are known: published at 03:00 of the next."""
    return (ts - START - timedelta(hours=27)) // DAY


def cap_returns(season, ts: datetime) -> tuple[np.ndarray, np.ndarray]:
    """Hourly returns `[168, N]` up to a decision time and the capitalisations known at each hour."""
    log, caps, _ = season
    last = round((ts - START) / timedelta(hours=1)) - 1
    span = range(last - 167, last + 1)
    return np.diff(log, axis=0)[last - 168 : last], np.stack([caps[day_known(START + timedelta(hours=t + 1))] for t in span])


MOMENTS = [START + 91 * DAY + timedelta(hours=h) for h in (2, 3, 77, 190)]


@pytest.mark.parametrize("ts", MOMENTS)
def test_bitcoins_dominance(season, ts):
    _, caps, rows = season
    share = caps[:, 0] / caps.sum(axis=1)
    found = at(rows, "ADA", ts)
    assert found["btc_dominance"] == pytest.approx(share[day_known(ts)])
    for days in (1, 7):
        assert found[f"btc_dominance_change_{days}d"] == pytest.approx(share[day_known(ts)] - share[day_known(ts) - days])


def test_altcoin_season(season):
    log, _, rows = season

    def share(day: int) -> float:
        """At the midnight that begins `day`: the close of the bar before it."""
        r = log[24 * day - 1] - log[24 * (day - 90) - 1]
        return (r[1:] > r[0]).mean() - 0.5

    for ts in MOMENTS:
        day = (ts - START) // DAY
        assert at(rows, "SOL", ts)["altcoin_season"] == pytest.approx(share(day))
    late = at(rows, "SOL", START + 98 * DAY + timedelta(hours=5))
    assert late["altcoin_season_change_7d"] == pytest.approx(share(98) - share(91))


def test_sectors(season):
    log, _, rows = season
    r = np.diff(log, axis=0, prepend=np.nan)
    scaled = np.full_like(r, np.nan)
    for t in range(168, len(r)):
        scaled[t] = r[t] / np.sqrt((r[t - 167 : t + 1] ** 2).mean(axis=0) + 1e-10)
    for ts in MOMENTS:
        last = round((ts - START) / timedelta(hours=1)) - 1
        for n, symbol in enumerate(LONG):
            own = [k for k, other in enumerate(LONG) if SECTORS[other] == SECTORS[symbol]]
            sector, market = scaled[:, own].mean(axis=1), scaled.mean(axis=1)
            found = at(rows, symbol, ts)
            for h in (24, 168):
                wanted = (sector - market)[last - h + 1 : last + 1].sum() / math.sqrt(h)
                assert found[f"sector_return_{h}h"] == pytest.approx(wanted, rel=1e-6, abs=1e-9)
            wanted = (scaled[:, n] - sector)[last - 23 : last + 1].sum() / math.sqrt(24)
            assert found["own_less_sector_24h"] == pytest.approx(wanted, rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("ts", MOMENTS)
def test_correlations_by_capitalisation(season, ts):
    r, w = cap_returns(season, ts)
    x = w * r / w.sum(axis=1, keepdims=True)
    pairs = np.outer(x.std(axis=0), x.std(axis=0)) * (1 - np.eye(len(LONG)))
    average = (pairs * np.corrcoef(x.T)).sum() / pairs.sum()
    for n, symbol in enumerate(LONG):
        found = at(season[2], symbol, ts)
        others = np.delete(np.arange(len(LONG)), n)
        rest = (w[:, others] * r[:, others]).sum(axis=1) / w[:, others].sum(axis=1)
        assert found["cap_correlation_168h"] == pytest.approx(np.corrcoef(rest, r[:, n])[0, 1], rel=1e-6)
        assert found["average_correlation_168h"] == pytest.approx(average, rel=1e-6)


def test_without_one_coins_bar_the_average_correlation_is_hardly_another(inputs, season):
    """The coin is in the sum of the week, and must be among the variances: else a correlation of many times one."""
    hole = START + 95 * DAY
    given = dict(inputs[0])
    lost = (pl.col("symbol") == "ETH") & (pl.col("ts") == hole - timedelta(hours=1))
    given["curated/candles"] = given["curated/candles"].filter(~lost)
    rows = derive(FAMILY.derivation(), Frames(given), LATE)
    found = rows.filter(pl.col("symbol") == "ADA").sort("ts")
    assert found["average_correlation_168h"].null_count() == 0
    for ts in (hole, hole + timedelta(hours=1), hole + timedelta(hours=100)):
        here = at(rows, "ADA", ts)["average_correlation_168h"]
        assert here == pytest.approx(at(season[2], "ADA", ts)["average_correlation_168h"], abs=0.02)
    assert at(rows, "ADA", hole)["btc_dominance"] == at(season[2], "ADA", hole)["btc_dominance"]


@pytest.mark.parametrize("ts", MOMENTS)
def test_the_correlation_with_bitcoins_hour_before(season, ts):
    log, _, rows = season
    r = np.diff(log, axis=0, prepend=np.nan)
    last = round((ts - START) / timedelta(hours=1)) - 1
    for n, symbol in enumerate(LONG):
        wanted = np.corrcoef(r[last - 167 : last + 1, n], r[last - 168 : last, 0])[0, 1]
        assert at(rows, symbol, ts)["btc_lead_correlation_168h"] == pytest.approx(wanted, rel=1e-6, abs=1e-9)


def test_every_coin_has_a_sector():
    assert set(SECTORS) == set(COINS)
