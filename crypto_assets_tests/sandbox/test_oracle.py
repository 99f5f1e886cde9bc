"""The oracle against frequencies, an independent filter, the published tables alone, and other forecasters."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from scipy.stats import multivariate_normal, norm
from sklearn.linear_model import LogisticRegression

from crypto_assets.market.coins import DEFAULT_SYMBOLS
from crypto_assets.market.time import DAY, HOUR
from crypto_assets.sandbox.planting import COINS as SIMULATED
from crypto_assets.sandbox.planting import (
    CORE,
    FACTOR_SHARE,
    FUNDING_MEAN,
    FUNDING_SCALE,
    LATENT_TEXT_SD,
    LEVELS,
    ONCHAIN_LOG_SCALE,
    PLANTED,
    REGIME_STAY,
    TVL_LOG_SCALE,
    VIX_LOG_SCALE,
    VIX_MEAN,
    YIELD_STEP_PCT,
)
from crypto_assets.sandbox.simulator import EPOCH, SimulatedMarket
from crypto_assets_tests.sandbox.conftest import scored

PLANTED_MARKETS = ("standard", "realistic", "regime", "leadlag")


def entropy(p: np.ndarray) -> np.ndarray:
    return -p * np.log(p) - (1 - p) * np.log1p(-p)


def clustered_se(frame: pl.DataFrame, residual: str) -> float:
    """Standard error of a sum of residuals that are correlated within an hour."""
    return float(np.sqrt((frame.group_by("ts").agg(pl.col(residual).sum())[residual] ** 2).sum()))


@pytest.mark.parametrize("market", PLANTED_MARKETS)
@pytest.mark.parametrize("column", ["p_up", "p_up_latent", "p_up_one_coin"])
def test_every_probability_is_the_frequency_that_happens(market, column):
    frame = scored(market).with_columns(residual=pl.col("up") - pl.col(column), bin=pl.col(column).qcut(10))
    for _, bin_ in frame.group_by("bin"):
        assert abs(bin_["residual"].sum()) < 3 * clustered_se(bin_, "residual") + 1e-9


@pytest.mark.parametrize("market", PLANTED_MARKETS)
def test_log_loss_is_the_expected_one(market):
    frame = scored(market)
    p, up = frame["p_up"].to_numpy(), frame["up"].to_numpy()
    loss = -(up * np.log(p) + (1 - up) * np.log(1 - p))
    surprise = frame.with_columns(residual=pl.Series(loss - entropy(p)))
    assert abs(surprise["residual"].sum()) < 3 * clustered_se(surprise, "residual")


@pytest.mark.parametrize(
    ("market", "accuracy", "log_loss"),
    [("standard", 0.552, 0.6842), ("realistic", 0.524, 0.6912), ("regime", 0.534, 0.6894), ("leadlag", 0.548, 0.6858)],
)
def test_best_scores_are_near_the_yardsticks(market, accuracy, log_loss):
    p = scored(market)["p_up"].to_numpy()
    assert np.maximum(p, 1 - p).mean() == pytest.approx(accuracy, abs=0.004)
    assert entropy(p).mean() == pytest.approx(log_loss, abs=0.001)


def test_null_market_has_nothing_to_find():
    frame = scored("null")
    assert (frame["p_up"] == 0.5).all()
    assert (frame["p_up_latent"] == 0.5).all()
    residual = frame.with_columns(residual=pl.col("up") - 0.5)
    assert abs(residual["residual"].sum()) < 3 * clustered_se(residual, "residual")


@pytest.mark.parametrize("market", ["standard", "realistic"])
def test_knowing_the_noise_is_better_and_seeing_one_coin_is_worse(market):
    frame = scored(market)
    latent, published, alone = (entropy(frame[c].to_numpy()).mean() for c in ("p_up_latent", "p_up", "p_up_one_coin"))
    assert latent < published < alone


def test_regime_ceiling_of_one_coin_is_well_below_that_of_all():
    frame = scored("regime")
    skill, alone = (np.log(2) - entropy(frame[c].to_numpy()).mean() for c in ("p_up", "p_up_one_coin"))
    assert 0.3 * skill < alone < 0.8 * skill


def test_filter_equals_brute_force():
    market = SimulatedMarket("standard", 3)
    arrays = market._path.upto(900)
    a1, _, a3, a4 = PLANTED["standard"].a
    probability = 0.5
    for k in range(900):
        assert arrays["p_regime"][k] == pytest.approx(probability, abs=1e-9)
        there = np.flatnonzero(~arrays["halted"][k, :CORE])
        spread = ((a1 + a4 * arrays["funding"][k, there]) * LATENT_TEXT_SD) ** 2
        covariance = FACTOR_SHARE + np.diag(1 - FACTOR_SHARE + spread)
        density = [
            multivariate_normal.pdf(
                arrays["e"][k, there], arrays["known"][k, there] + z * a3 * arrays["last_e"][k, there], covariance
            )
            for z in (1, -1)
        ]
        posterior = probability * density[0] / (probability * density[0] + (1 - probability) * density[1])
        probability = REGIME_STAY * posterior + (1 - REGIME_STAY) * (1 - posterior)


def as_of(frame: pl.DataFrame, grid: pl.DataFrame, value: str) -> np.ndarray:
    """The newest `value` with `available_at <= ts` for each decision time."""
    known = frame.sort("available_at").select("available_at", value)
    return grid.join_asof(known, left_on="ts", right_on="available_at")[value].to_numpy()


@pytest.mark.parametrize("symbol", ["BTC", "POL"])
def test_oracle_knows_only_what_the_raw_tables_had_published(symbol):
    """Rebuild the published mean and P(up) from the raw tables and their `available_at` alone."""
    from crypto_assets.curation._mentions import coins_in
    from crypto_assets.curation.scorers.vader import score

    market = SimulatedMarket("standard", 7)
    days = 40
    tables = market.tables(EPOCH - 20 * DAY, EPOCH + days * DAY)
    truth = market.truth(EPOCH, EPOCH + days * DAY).filter(pl.col("symbol") == symbol).sort("ts")
    grid = truth.select("ts")

    news = tables["raw/news"].filter(pl.col("title").map_elements(lambda t: coins_in(t) == [symbol], return_dtype=pl.Boolean))
    news = news.with_columns(score=pl.col("title").map_elements(score, return_dtype=pl.Float64))
    spoken = news.group_by("available_at").agg(pl.col("score").mean())
    level = LEVELS[np.clip(np.rint(as_of(spoken, grid, "score") / 0.2), -4, 4).astype(int) + 4]
    own = pl.col("symbol") == symbol
    rate = as_of(tables["raw/binance_funding"].filter(own), grid, "funding_rate")
    funding = (rate - FUNDING_MEAN) / FUNDING_SCALE
    coin = SIMULATED[market.symbols.index(symbol)]
    addresses = tables["raw/coinmetrics_onchain"].filter(own, pl.col("metric") == "AdrActCnt")
    onchain = np.log(as_of(addresses, grid, "value") / coin.active_addresses) / ONCHAIN_LOG_SCALE
    total = tables["raw/defillama_tvl"].filter(pl.col("chain") == "Total").sort("ts")
    tvl = as_of(total.with_columns(change=pl.col("tvl_usd").log().diff() / TVL_LOG_SCALE), grid, "change")
    vix = np.log(as_of(tables["raw/cboe_vix"], grid, "close") / VIX_MEAN) / VIX_LOG_SCALE
    yields = tables["raw/treasury_10y"].sort("ts").with_columns(change=pl.col("yield_pct").diff() / YIELD_STEP_PCT)
    change = as_of(yields, grid, "change")

    planted = PLANTED["standard"]
    (a1, a2, a3, a4), b = planted.a, planted.b
    mean = a1 * level + a4 * level * funding + b[0] * onchain + b[1] * tvl + b[2] * vix + b[3] * change
    if symbol != "BTC":
        mean = mean + a2 * standardised(tables, "BTC", market, grid)
    np.testing.assert_allclose(mean, truth["known_mean"].to_numpy(), atol=2e-5)
    tilt = a3 * standardised(tables, symbol, market, grid)
    sd = np.sqrt(1 + ((a1 + a4 * funding) * LATENT_TEXT_SD) ** 2)
    p = truth["p_regime"].to_numpy()
    expected = p * norm.cdf((mean + tilt) / sd) + (1 - p) * norm.cdf((mean - tilt) / sd)
    oracle = market.oracle(EPOCH, EPOCH + days * DAY).filter(pl.col("symbol") == symbol).sort("ts")
    np.testing.assert_allclose(oracle["p_up"].to_numpy(), expected, atol=2e-5)


def standardised(tables: dict[str, pl.DataFrame], symbol: str, market: SimulatedMarket, grid: pl.DataFrame) -> np.ndarray:
    """Standardised return of the bar that closed at each decision time, from closes alone; 0 in an outage."""
    from crypto_assets.sandbox.planting import GARCH_ALPHA, GARCH_BETA, GARCH_OMEGA

    i = market.symbols.index(symbol)
    bars = tables["raw/binance_perp_candles"].filter(pl.col("symbol") == symbol).sort("ts")
    opens = dict(zip(bars["available_at"], zip(bars["open"], bars["close"], strict=True), strict=True))
    variance, out = 1.0, {}
    for ts in grid["ts"]:
        out[ts] = 0.0
        if ts in opens:
            e = np.log(opens[ts][1] / opens[ts][0]) / (SIMULATED[i].hourly_sd * np.sqrt(variance))
            variance = GARCH_OMEGA + variance * (GARCH_ALPHA * e * e / market._path.second_moment[i] + GARCH_BETA)
            out[ts] = e
    return np.array([out[ts] for ts in grid["ts"]])


def test_logistic_on_the_planted_drivers_reaches_the_optimum():
    frame = scored("standard")
    btc = frame.filter(pl.col("symbol") == "BTC").select("ts", btc_e="last_e")
    frame = frame.join(btc, on="ts").sort("ts")
    alt = (frame["symbol"] != "BTC").to_numpy()
    inputs = np.column_stack(
        [
            frame["level"],
            frame["level"] * frame["funding"],
            frame["btc_e"].to_numpy() * alt,
            frame["last_e"] * (2 * frame["p_regime"] - 1),
            frame["daily_mean"],
        ]
    )
    cut = int(0.7 * len(frame))
    model = LogisticRegression(C=1e4).fit(inputs[:cut], frame["up"][:cut])
    p, best = model.predict_proba(inputs[cut:])[:, 1], frame["p_up"][cut:].to_numpy()
    expected = -(best * np.log(p) + (1 - best) * np.log(1 - p)).mean()
    kappa = (np.log(2) - expected) / (np.log(2) - entropy(best).mean())
    assert 0.95 <= kappa <= 1.0


@pytest.mark.parametrize("seed", [1, 2])
def test_hidden_graph_is_recovered_by_regression_and_changes_with_the_seed(seed):
    market = SimulatedMarket("leadlag", seed)
    e = market._path.upto(20_000)["e"][:20_000, :CORE]
    weights = np.linalg.lstsq(e[:-1], e[1:], rcond=None)[0].T
    edges = market.graph().filter(pl.col("follower").is_in(DEFAULT_SYMBOLS))
    for i, symbol in enumerate(DEFAULT_SYMBOLS):
        leaders = {DEFAULT_SYMBOLS[j] for j in np.argsort(-np.abs(weights[i]))[:2]}
        assert leaders == set(edges.filter(pl.col("follower") == symbol)["leader"])
        assert symbol not in leaders
    assert not edges.equals(SimulatedMarket("leadlag", seed + 10).graph().filter(pl.col("follower").is_in(DEFAULT_SYMBOLS)))


@pytest.mark.parametrize("market", ["standard", "null"])
def test_variance_forecast_is_unbiased_and_beats_log_har(market):
    hours = 20_000
    simulated = SimulatedMarket(market, 5)
    ratios, gains = [], []
    for symbol in ("BTC", "SOL"):
        bars = simulated.candles(symbol, "perp", EPOCH, EPOCH + hours * HOUR)
        grid = pl.DataFrame({"ts": pl.datetime_range(EPOCH, EPOCH + hours * HOUR, "1h", closed="left", eager=True)})
        close = grid.join(bars, on="ts", how="left")["close"].forward_fill()
        squared = (close.log().diff().fill_null(0) ** 2).to_numpy()
        past = np.concatenate([[0.0], np.cumsum(squared)])
        at = np.arange(200, hours - 24)  # decision at the close of bar at - 1
        ahead = past[at + 24] - past[at]
        lags = np.column_stack([np.log((past[at] - past[at - n]) / n + 1e-12) for n in (6, 24, 168)] + [np.ones(len(at))])
        half = len(at) // 2
        beta = np.linalg.lstsq(lags[:half], np.log(ahead[:half]), rcond=None)[0]
        har = np.exp(lags @ beta)
        har *= (ahead[:half] / har[:half]).mean()
        forecast = simulated.oracle(EPOCH, EPOCH + hours * HOUR).filter(pl.col("symbol") == symbol).sort("ts")
        best = forecast["rv_24h_forecast"].to_numpy()[at - 1]
        ratios.append((ahead / best).mean())
        gains.append(qlike(ahead[half:], har[half:]) - qlike(ahead[half:], best[half:]))
    assert np.mean(ratios) == pytest.approx(1.0, abs=0.05)
    assert min(gains) > 0


def qlike(realised: np.ndarray, forecast: np.ndarray) -> float:
    ratio = realised / forecast
    return float((ratio - np.log(ratio) - 1).mean())


def test_sigma_is_the_spread_of_the_next_return():
    frame = scored("standard")
    market = SimulatedMarket("standard", 7)
    for symbol in DEFAULT_SYMBOLS:
        bars = market.candles(symbol, "perp", EPOCH, EPOCH + 20_000 * HOUR)
        returns = bars.select("ts", r=(pl.col("close") / pl.col("open")).log())
        both = frame.filter(pl.col("symbol") == symbol).join(returns, on="ts")
        assert (both["r"] / both["sigma_1h"]).std() == pytest.approx(1.0, abs=0.03)
