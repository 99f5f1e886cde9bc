from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from crypto_assets.lake.tables import UTC_US
from crypto_assets.market.coins import DEFAULT_SYMBOLS
from crypto_assets.market.errors import SettingsError
from crypto_assets.market.time import DAY, HOUR
from crypto_assets.sandbox.planting import FUNDING_MEAN, FUNDING_SCALE, LAST
from crypto_assets.sandbox.simulator import EPOCH, SimulatedMarket

A, B = datetime(2023, 5, 17, 5, tzinfo=UTC), datetime(2023, 6, 20, 13, tzinfo=UTC)
TABLES = {
    "raw/binance_candles",
    "raw/binance_perp_candles",
    "raw/binance_funding",
    "raw/fear_greed",
    "raw/news",
    "raw/coinmetrics_onchain",
    "raw/defillama_tvl",
    "raw/treasury_10y",
    "raw/cboe_vix",
}


def everything(market: SimulatedMarket, start: datetime, end: datetime) -> dict[str, pl.DataFrame]:
    return market.tables(start, end, market.symbols) | {"oracle": market.oracle(start, end), "truth": market.truth(start, end)}


@pytest.mark.parametrize("market", ["standard", "leadlag"])
def test_values_depend_on_the_hour_alone(market):
    """A range of a long path, the same range asked first, and the same range put together from pieces: bit for bit."""
    long = SimulatedMarket(market, 11)
    everything(long, EPOCH, EPOCH + 400 * DAY)
    fresh, pieces = SimulatedMarket(market, 11), SimulatedMarket(market, 11)
    middle = A + 411 * HOUR
    late, early = everything(pieces, middle, B), everything(pieces, A, middle)
    whole, direct = everything(long, A, B), everything(fresh, A, B)
    for name, frame in whole.items():
        assert_frame_equal(direct[name], frame, check_exact=True)
        order = [c for c in ("symbol", "ts", "id", "metric", "chain") if c in frame.columns]
        assert_frame_equal(pl.concat([early[name], late[name]]).sort(order), frame.sort(order), check_exact=True)


def test_seed_and_market_change_everything():
    start, end = EPOCH, EPOCH + 2 * DAY
    close = {
        key: tuple(SimulatedMarket(*key).candles("BTC", "perp", start, end)["close"])
        for key in (("standard", 1), ("standard", 2), ("null", 1))
    }
    assert len(set(close.values())) == 3


def test_tables_have_the_columns_of_the_raw_tables(standard):
    tables = standard.tables(A, B)
    assert set(tables) == TABLES
    for name, frame in tables.items():
        assert {"ts", "available_at", "source"} <= set(frame.columns), name
        assert frame.schema["ts"] == frame.schema["available_at"] == UTC_US
        assert (frame["available_at"] >= frame["ts"]).all()
        assert frame.null_count().sum_horizontal().item() == 0
        assert frame["ts"].min() >= A
        assert frame["ts"].max() < B


def test_every_row_passes_the_schema_of_its_table(standard):
    from crypto_assets.sources import (
        binance_candles,
        binance_funding,
        binance_perp_candles,
        cboe_vix,
        coinmetrics_onchain,
        defillama_tvl,
        fear_greed,
        news,
        treasury_10y,
    )

    modules = (binance_candles, binance_funding, binance_perp_candles, cboe_vix, coinmetrics_onchain, defillama_tvl, fear_greed)
    tables = standard.tables(A, A + 60 * DAY)
    for module in (*modules, news, treasury_10y):
        table = module.SOURCE.table
        table.pandera().validate(table.shape(tables[table.name]))


@pytest.mark.parametrize("venue", ["spot", "perp"])
def test_candles_are_whole(standard, venue):
    bars = standard.candles("ADA", venue, EPOCH, EPOCH + 1000 * DAY)
    top, bottom = pl.max_horizontal("open", "close"), pl.min_horizontal("open", "close")
    assert bars.select((pl.col("high") >= top).all() & (pl.col("low") <= bottom).all() & (pl.col("low") > 0).all()).item()
    assert bars.select((pl.col("taker_buy_volume") <= pl.col("volume")).all() & (pl.col("volume") > 0).all()).item()
    assert (bars["ts"].diff().drop_nulls() >= HOUR).all()


def test_range_and_volume_speak_of_volatility(standard):
    bars = standard.candles("ETH", "perp", EPOCH, EPOCH + 800 * DAY)
    oracle = standard.oracle(EPOCH, EPOCH + 800 * DAY).filter(pl.col("symbol") == "ETH")
    both = bars.join(oracle, on="ts").with_columns(parkinson=(pl.col("high") / pl.col("low")).log() ** 2 / (4 * np.log(2)))
    assert both.select(pl.corr("parkinson", pl.col("sigma_1h") ** 2, method="spearman")).item() > 0.3
    assert both.select(pl.corr("volume", "sigma_1h", method="spearman")).item() > 0.3
    assert both["parkinson"].mean() == pytest.approx((both["sigma_1h"] ** 2).mean(), rel=0.1)


def test_prices_keep_the_planted_return(standard):
    bars = standard.candles("UNI", "perp", EPOCH, EPOCH + 800 * DAY)
    arrays = standard._path.upto(800 * 24)
    i = standard.symbols.index("UNI")
    there = ~arrays["halted"][: 800 * 24, i]
    planted = (0.0066 * np.sqrt(arrays["variance"]) * arrays["e"])[: 800 * 24, i][there]
    np.testing.assert_allclose((bars["close"] / bars["open"]).log(), planted, atol=2e-8)


def test_outages_are_rare_and_shared_by_both_venues(standard):
    end = EPOCH + 960 * DAY
    missing = 0
    for symbol in DEFAULT_SYMBOLS:
        spot, perp = (standard.candles(symbol, venue, EPOCH, end)["ts"] for venue in ("spot", "perp"))
        assert spot.equals(perp)
        missing += 960 * 24 - len(spot)
    assert 10 <= missing <= 90


def test_a_few_spot_candles_are_disputed_and_the_rest_agree(standard):
    end = EPOCH + 960 * DAY
    off = []
    for symbol in DEFAULT_SYMBOLS:
        spot, perp = (standard.candles(symbol, venue, EPOCH, end) for venue in ("spot", "perp"))
        off.append((perp["close"] / spot["close"] - 1).abs())
    gap = pl.concat(off)
    disputed = gap > 0.02
    assert 1e-4 < disputed.mean() < 5e-4
    assert gap.filter(~disputed).max() < 0.002


def test_funding_is_an_affine_map_of_the_driver(standard):
    funding = standard.funding("SOL", EPOCH, EPOCH + 300 * DAY)
    assert set(funding["ts"].dt.hour()) == {0, 8, 16}
    driver = (funding["funding_rate"] - FUNDING_MEAN) / FUNDING_SCALE
    truth = standard.truth(EPOCH, EPOCH + 300 * DAY).filter(pl.col("symbol") == "SOL")
    both = truth.join(funding.with_columns(driver=driver), on="ts")
    np.testing.assert_allclose(both["driver"], both["funding"], atol=1e-9)
    assert driver.std() == pytest.approx(1.0, abs=0.15)
    assert np.corrcoef(driver[1:], driver[:-1])[0, 1] == pytest.approx(0.8, abs=0.06)


def test_listing_and_delisting(standard):
    listed, _ = standard.listing("ARB")
    _, delisted = standard.listing("EOS")
    assert standard.candles("ARB", "perp", EPOCH, listed + DAY)["ts"].min() == listed
    assert standard.candles("EOS", "spot", delisted - DAY, delisted + DAY)["ts"].max() == delisted - HOUR
    assert standard.candles("EOS", "perp", delisted, delisted + DAY).is_empty()
    titles = standard.headlines(delisted + HOUR, delisted + DAY)["title"]
    assert not titles.str.contains("EOS").any()


def test_daily_tables_reach_back_four_hundred_days(standard):
    tables = standard.tables(EPOCH - 400 * DAY, EPOCH)
    for name in ("raw/fear_greed", "raw/coinmetrics_onchain", "raw/defillama_tvl", "raw/treasury_10y", "raw/cboe_vix"):
        assert tables[name]["ts"].min() < EPOCH - 396 * DAY, name
    assert tables["raw/binance_perp_candles"].is_empty()


def test_macro_skips_weekends(standard):
    assert standard.vix(EPOCH, EPOCH + 90 * DAY)["ts"].dt.weekday().max() <= 5
    assert standard.treasury_10y(EPOCH, EPOCH + 90 * DAY)["ts"].dt.weekday().max() <= 5


def test_fear_greed_is_yesterdays_average_level(standard):
    day = datetime(2023, 7, 1, tzinfo=UTC)
    level = standard.truth(EPOCH, day + DAY)
    index = standard.fear_greed(day - 100 * DAY, day + DAY)
    mean = level.group_by(ts=pl.col("ts").dt.truncate("1d") + DAY).agg(pl.col("level").mean())
    assert index.join(mean, on="ts").select(pl.corr("value_pct", "level")).item() > 0.97


def test_empty_and_outside_windows_are_empty(standard):
    assert standard.candles("BTC", "spot", EPOCH + DAY, EPOCH).is_empty()
    assert standard.headlines(EPOCH - 9 * DAY, EPOCH - 8 * DAY).is_empty()
    assert standard.oracle(EPOCH - 9 * DAY, EPOCH - 8 * DAY).is_empty()
    assert standard.vix(LAST, LAST + DAY).is_empty()
    assert standard.candles("BTC", "spot", LAST, LAST + DAY).is_empty()
    assert standard._path.hours < 60_000


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda m: SimulatedMarket("bull", 1), "standard"),
        (lambda m: SimulatedMarket("null", -1), "seed"),
        (lambda m: m.candles("DOGE", "spot", A, B), "DOGE"),
        (lambda m: m.candles("BTC", "margin", A, B), "perp"),
        (lambda m: m.oracle(A.replace(tzinfo=None), B), "time zone"),
        (lambda m: m.tvl(A, B.replace(tzinfo=None)), "time zone"),
        (lambda m: m.headlines(A.replace(tzinfo=None), B), "time zone"),
    ],
)
def test_bad_questions_are_answered_with_what_is_allowed(standard, call, named):
    with pytest.raises(SettingsError, match=named):
        call(standard)


def test_twenty_thousand_hours_come_in_seconds():
    import time

    SimulatedMarket("standard", 1).candles("BTC", "perp", EPOCH, EPOCH + DAY)
    begin = time.process_time()
    SimulatedMarket("standard", 2).candles("BTC", "perp", EPOCH, EPOCH + timedelta(hours=20_000))
    assert time.process_time() - begin < 4
