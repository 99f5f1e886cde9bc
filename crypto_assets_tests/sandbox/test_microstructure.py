"""Trades, minute bars and the book inside an hourly bar: what must add up, and that time alone decides."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crypto_assets.market.time import DAY, HOUR
from crypto_assets.sandbox import book as books
from crypto_assets.sandbox import intrabar
from crypto_assets.sandbox import microstructure as micro
from crypto_assets.sandbox.candles import COLUMNS
from crypto_assets.sandbox.randomness import Randomness
from crypto_assets.sandbox.simulator import SimulatedMarket

DAY_ONE = datetime(2023, 6, 1, tzinfo=UTC)


@dataclass(frozen=True)
class OneBar:
    """A market of a single bar."""

    row: tuple
    randomness: Randomness

    def candles(self, symbol, venue, start, end):
        frame = pl.DataFrame([(DAY_ONE, *self.row)], schema=["ts", *COLUMNS], orient="row")
        return frame.filter(pl.col("ts") >= start, pl.col("ts") < end)

    def listing(self, symbol):
        return DAY_ONE, None


@st.composite
def bars(draw):
    """Bars a venue could print: any prices, from no trade at all to a busy hour, sizes of up to eight decimals."""
    prices = sorted(draw(st.lists(st.integers(1, 10**6), min_size=4, max_size=4)))
    opened, close = draw(st.permutations(prices[1:3]))
    scale = 10.0 ** draw(st.integers(-2, 4))
    lot = 10 ** draw(st.integers(0, 8))
    lots = draw(st.integers(0, 10**9))
    bought, count = draw(st.integers(0, lots)), draw(st.integers(0, 20_000)) if lots else 0
    quote = round(lots / lot * (opened + close) / 2 / scale, 2)
    return (opened / scale, prices[3] / scale, prices[0] / scale, close / scale, lots / lot, quote, count, bought / lot)


@settings(max_examples=150, deadline=None)
@given(bars())
def test_the_trades_of_any_bar_are_that_bar(row):
    opened, high, low, close, volume, quote, count, bought = row
    hour = micro.hour_of(OneBar(row, Randomness("one", 1)), "BTC", "spot", micro.ms_of(DAY_ONE) // micro.HOUR_MS)
    if volume == 0 and high == low:
        assert len(hour.price) == 0
        return
    assert (hour.price[0], hour.price.max(), hour.price.min(), hour.price[-1]) == (opened, high, low, close)
    assert (hour.lots.sum() / hour.lot, hour.count.sum(), hour.quote.sum() / hour.quote_lot) == (volume, count, quote)
    assert hour.lots[hour.is_buy].sum() / hour.lot == bought
    assert (hour.lots >= (hour.lots.sum() >= 2 * len(hour.lots))).all()
    assert (np.diff(hour.ms) >= 0).all()
    assert 0 <= hour.ms[0] - hour.bar.opened_ms <= hour.ms[-1] - hour.bar.opened_ms < micro.HOUR_MS


@pytest.mark.parametrize(("symbol", "venue"), [("BTC", "spot"), ("POL", "perp"), ("ARB", "spot")])
def test_sixty_minutes_are_the_hour_and_trades_are_the_minutes(standard, symbol, venue):
    hours = standard.candles(symbol, venue, DAY_ONE, DAY_ONE + DAY)
    minutes = micro.minute_bars(standard, symbol, venue, DAY_ONE, DAY_ONE + DAY)
    trades = micro.trades(standard, symbol, venue, DAY_ONE, DAY_ONE + DAY)
    assert minutes.columns == hours.columns
    assert minutes.height == 60 * hours.height
    assert _bars(minutes, "1h", *_sums(minutes)).equals(hours)
    bought = pl.when(~pl.col("is_buyer_maker")).then(pl.col("quantity")).otherwise(0.0).sum().round(3)
    price, size = pl.col("price"), pl.col("quantity").sum().round(3)
    count = (pl.col("last_trade") - pl.col("first_trade") + 1).sum()
    grouped = trades.group_by_dynamic("ts", every="1m").agg(
        open=price.first(),
        high=price.max(),
        low=price.min(),
        close=price.last(),
        volume=size,
        trades=count,
        taker_buy_volume=bought,
    )
    traded = minutes.filter(pl.col("trades") > 0).select(grouped.columns)
    assert grouped.equals(traded)
    assert (trades["id"].diff().drop_nulls() == 1).all()
    assert (trades["first_trade"][1:] == trades["last_trade"][:-1] + 1).all()


def _sums(frame):
    volume, bought = pl.col("volume").sum().round(3), pl.col("taker_buy_volume").sum().round(3)
    return volume, pl.col("quote_volume_usd").sum().round(2), pl.col("trades").sum(), bought


def _bars(frame, every, *sums):
    prices = (pl.col("open").first(), pl.col("high").max(), pl.col("low").min(), pl.col("close").last())
    return frame.group_by_dynamic("ts", every=every).agg(*prices, *sums)


def test_time_and_seed_alone_decide():
    asked = [
        (DAY_ONE, DAY_ONE + 2 * HOUR),
        (DAY_ONE + HOUR, DAY_ONE + 2 * HOUR),
        (DAY_ONE + 90 * DAY, DAY_ONE + 90 * DAY + HOUR),
    ]
    forward = [micro.trades(SimulatedMarket("standard", 7), "ETH", "perp", *window) for window in asked]
    backward = [micro.trades(SimulatedMarket("standard", 7), "ETH", "perp", *window) for window in reversed(asked)]
    assert all(a.equals(b) for a, b in zip(forward, reversed(backward), strict=True))
    assert forward[1].equals(forward[0].filter(pl.col("ts") >= DAY_ONE + HOUR))
    assert not forward[0].equals(micro.trades(SimulatedMarket("standard", 8), "ETH", "perp", *asked[0]))


def test_ids_count_from_the_listing_and_find_their_trade(standard):
    first = standard.listing("ARB")[0]
    assert micro.trades(standard, "ARB", "spot", first, first + HOUR)["id"][0] == 1
    day = micro.trades(standard, "ARB", "spot", DAY_ONE, DAY_ONE + DAY)
    found = micro.aggregate_ids(standard, "ARB", "spot", day["id"][5000], 3000, micro.ms_of(DAY_ONE + DAY))
    assert found.equals(day[5000:8000])
    late = micro.aggregate_ids(standard, "ARB", "spot", day["id"][-1], 10, micro.ms_of(DAY_ONE + DAY))
    assert late.equals(day[-1:])


def test_an_outage_has_no_trades_and_leaves_the_last_price(standard):
    hours = standard.candles("BTC", "spot", DAY_ONE - 150 * DAY, DAY_ONE + 300 * DAY)
    gaps = hours.filter(pl.col("ts").diff() > HOUR)
    missing = gaps["ts"][0] - HOUR
    assert micro.trades(standard, "BTC", "spot", missing, missing + HOUR).is_empty()
    assert micro.minute_bars(standard, "BTC", "spot", missing, missing + HOUR).is_empty()
    assert micro.seconds(standard, "BTC", "spot", missing).size == 0
    before = hours.filter(pl.col("ts") < missing)["close"][-1]
    assert micro.last_price(standard, "BTC", "spot", micro.ms_of(missing) + 5) == before


def test_seconds_end_at_the_close(standard):
    bar = standard.candles("SOL", "perp", DAY_ONE, DAY_ONE + HOUR).row(0, named=True)
    seconds = micro.seconds(standard, "SOL", "perp", DAY_ONE)
    assert (len(seconds), seconds[-1]) == (3600, bar["close"])
    assert bar["low"] <= seconds.min() <= seconds.max() <= bar["high"]


def test_the_rolling_day_is_that_of_its_trades(standard):
    end = DAY_ONE + timedelta(hours=30, minutes=17, seconds=3)
    bar = micro.rolling_day(standard, "LINK", "spot", micro.ms_of(end) - 1)
    trades = micro.trades(standard, "LINK", "spot", end - DAY, end)
    assert (bar.open, bar.high, bar.low, bar.close) == tuple(
        trades.select(
            o=pl.col("price").first(), h=pl.col("price").max(), l=pl.col("price").min(), c=pl.col("price").last()
        ).row(0)
    )
    assert bar.volume == pytest.approx(trades["quantity"].sum(), abs=1e-6)
    assert (bar.first_trade, bar.last_trade) == (trades["first_trade"][0], trades["last_trade"][-1])


def _levels(side):
    return {int(k): int(q) for k, q in zip(side.level, side.lots, strict=True)}


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2 * 36_000), st.lists(st.integers(1, 3000), min_size=1, max_size=4), st.floats(0, 1))
def test_diffs_of_any_length_lead_from_any_snapshot_to_the_book(start, steps, where):
    """A client that starts from a snapshot inside the first diff holds the true book after every diff."""
    market, at = _standard(), micro.ms_of(DAY_ONE) // books.TICK_MS + start
    snapshot = books.book(market, "POL", "spot", (at + int(where * steps[0])) * books.TICK_MS)
    bids, asks = _levels(snapshot.bids), _levels(snapshot.asks)
    for step in steps:
        diff = books.changes(market, "POL", "spot", at, at + step)
        assert (diff.first_id, diff.update_id) == (at + 1, at + step)
        at += step
        bids |= _levels(diff.bids)
        asks |= _levels(diff.asks)
        bids, asks = ({k: q for k, q in side.items() if q} for side in (bids, asks))
        true = books.book(market, "POL", "spot", at * books.TICK_MS)
        assert (bids, asks) == (_levels(true.bids), _levels(true.asks))


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10**7))
def test_the_last_trade_lies_between_best_bid_and_best_ask(ms):
    market, at = _standard(), micro.ms_of(DAY_ONE) + ms
    found = books.book(market, "BTC", "perp", at)
    last = micro.last_price(market, "BTC", "perp", found.update_id * books.TICK_MS)
    scale = 10**found.ladder.decimals
    assert found.bids.level[0] / scale < last <= found.asks.level[0] / scale
    assert len(found.bids.level) == len(found.asks.level) == books.LEVELS
    assert (found.bids.lots > 0).all()
    assert (found.asks.lots > 0).all()


def test_a_tick_changes_little_of_the_book(standard):
    at = micro.ms_of(DAY_ONE) // books.TICK_MS
    told = [books.changes(standard, "ETH", "spot", at + n, at + n + 1) for n in range(100)]
    mean = np.mean([len(b.bids.level) + len(b.asks.level) for b in told])
    assert 5 < mean < 60


def test_parts_add_up_and_are_not_empty_where_they_need_not_be():
    rng = np.random.default_rng(1)
    parts = intrabar.split(rng.standard_exponential(1000), 10**12 + 7)
    assert parts.sum() == 10**12 + 7
    assert parts.min() >= 1
    assert intrabar.split(np.ones(5), 3).sum() == 3
    assert intrabar.split(np.zeros(3), 9).tolist() == [3, 3, 3]


_MARKET = []


def _standard():
    """The market for tests whose examples hypothesis draws."""
    if not _MARKET:
        _MARKET.append(SimulatedMarket("standard", 7))
    return _MARKET[0]
