"""Trades, books, tickers, open interest, depth and basis: what is special in each."""

import json
from datetime import UTC, date, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route

from crypto_assets.lake import quarantine
from crypto_assets.market.errors import BadPayloadError, NotPublishedYetError, SourceError
from crypto_assets.market.time import HOUR, Window
from crypto_assets.sources import (
    binance_basis,
    binance_book,
    binance_candles,
    binance_depth,
    binance_open_interest,
    binance_perp_candles,
    binance_ticker,
    binance_trades,
)
from crypto_assets_tests.sources.loopback import NOW, Clock, client, market, truth

RENAME = Window.of_days(date(2024, 9, 9), date(2024, 9, 10))
TODAY = Window.of_days(NOW.date(), NOW.date())
PRESENT = Window(NOW - timedelta(minutes=10), NOW + timedelta(minutes=10))
TRADE = {"a": 1, "p": "2.5", "q": "4", "f": 7, "l": 8, "T": 1729386000000, "m": True, "M": True}


def answering(path: str, body) -> Starlette:
    async def endpoint(_):
        return Response(body if isinstance(body, str) else json.dumps(body), media_type="application/json")

    return Starlette(routes=[Route(path, endpoint)])


def test_trades_add_up_to_the_bars():
    window = Window.of_days(date(2024, 10, 18), date(2024, 10, 19))
    with client(symbols="BTC,UNI") as http:
        bars, minutes = binance_candles.fetch(window, http), binance_trades.fetch(window, http)
    hours = (
        minutes.sort("symbol", "ts")
        .group_by("symbol", pl.col("ts").dt.truncate("1h"), maintain_order=True)
        .agg(
            pl.col("trades", "volume", "taker_buy_volume").sum(),
            pl.col("high").max(),
            pl.col("low").min(),
            pl.col("close").last(),
        )
    )
    assert_frame_equal(hours, bars.sort("symbol", "ts").select(hours.columns), check_exact=False, rel_tol=1e-12, abs_tol=1e-6)
    worth = minutes.filter((pl.col("vwap") - pl.col("quote_volume_usd") / pl.col("volume")).abs() > 1e-6 * pl.col("vwap"))
    assert worth.is_empty()
    assert minutes.filter(pl.col("vwap").is_between("low", "high").not_()).is_empty()


def test_more_trades_than_a_page_come_whole_and_the_open_minute_is_left_out():
    clock = Clock(NOW + timedelta(seconds=30))
    with client(clock, symbols="BTC") as http:
        rows = binance_trades.fetch(TODAY, http)
        assert_frame_equal(rows, truth(binance_trades.SOURCE, TODAY, clock.now, http), check_exact=True)
        queries = [query for path, query in http.seen if path.endswith("aggTrades")]
    assert len(queries) > 3
    assert ["fromId" in query for query in queries] == [False] + [True] * (len(queries) - 1)
    assert rows["ts"].max() < NOW


def test_trades_of_a_renamed_coin():
    with client(symbols="POL") as http:
        rows = binance_trades.fetch(RENAME, http)
        assert_frame_equal(rows, truth(binance_trades.SOURCE, RENAME, NOW, http), check_exact=True)
        assert {path.split("/")[6] for path, _ in http.seen} == {"MATICUSDT", "POLUSDT"}


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([{**TRADE, "p": "x"}], "field 'p' must be: A number; found 'x'"),
        ([{**TRADE, "q": None}], "field 'q' must be: A number; found None"),
        ([{k: v for k, v in TRADE.items() if k != "l"}], "field 'l' must be: A whole number; found None"),
        ([{**TRADE, "m": "perhaps"}], "field 'm' must be: True or False"),
        ([{**TRADE, "p": [1]}], r"expected \['a', 'p', 'q', 'f', 'l', 'T', 'm'\] in each row"),
        ([[1, 2, 3]], r"publicGetAggTrades BTCUSDT: "),
        ({"rows": []}, "expected a list, found dict"),
        ([{**TRADE, "a": n} for n in range(1000)], "expected ids from 1000, found 0"),
    ],
)
def test_trades_of_another_shape_are_named(rows, said: str):
    application = answering("/binance_spot/api/v3/aggTrades", rows)
    with client(application=application, symbols="BTC") as http, pytest.raises(BadPayloadError, match=said):
        binance_trades.fetch(TODAY, http)


def test_minutes_by_hand():
    ts = [datetime(2024, 1, 1, 0, 0, s, tzinfo=UTC) for s in (50, 5, 59)] + [datetime(2024, 1, 1, 0, 1, tzinfo=UTC)]
    trades = pl.DataFrame(
        {
            "id": [2, 1, 3, 4],
            "price": [11.0, 10.0, 9.0, 9.5],
            "quantity": [1.0, 2.0, 1.0, 5.0],
            "first_id": [20, 17, 21, 22],
            "last_id": [20, 19, 21, 22],
            "ts": ts,
            "is_buyer_maker": [True, False, False, True],
        }
    )
    first = binance_trades.minutes(trades).row(0, named=True)
    assert first == {
        "ts": datetime(2024, 1, 1, tzinfo=UTC),
        **{"trades": 5, "volume": 4.0, "quote_volume_usd": 40.0, "taker_buy_volume": 3.0, "vwap": 10.0},
        **{"high": 11.0, "low": 9.0, "close": 9.0},
    }
    assert binance_trades.minutes(trades).height == 2


def test_open_interest_beyond_30_days_comes_from_the_files_alone():
    window = Window.of_days(date(2024, 9, 15), date(2024, 9, 25))
    with client(symbols="BTC") as http:
        rows = binance_open_interest.fetch(window, http)
        assert_frame_equal(rows, truth(binance_open_interest.SOURCE, window, NOW, http), check_exact=True)
        assert not [path for path, _ in http.seen if "/futures/data/" in path]
        assert binance_open_interest.fetch(Window.of_days(date(2022, 5, 1), date(2022, 5, 2)), http).is_empty()


def test_open_interest_of_today_takes_five_calls_a_coin():
    with client(symbols="BTC") as http:
        rows = binance_open_interest.fetch(TODAY, http)
        assert len(http.seen) == 5
        http.call("binance_futures", "fapiDataGetOpenInterestHist", {"symbol": "BTCUSDT", "period": "1h", "limit": 3})
        early = {"symbol": "BTCUSDT", "period": "5m", "startTime": int((NOW - timedelta(days=31)).timestamp() * 1000)}
        with pytest.raises(BadPayloadError, match="startTime"):
            http.call("binance_futures", "fapiDataGetOpenInterestHist", early)
    assert rows["ts"].to_list() == [TODAY.start + n * HOUR for n in range(12)]


def test_an_hours_value_is_the_last_that_is_known_of_each_column():
    known = market().candles("BTC", "perp", TODAY.start, TODAY.end)
    with client(symbols="BTC") as http:
        rows = binance_open_interest.fetch(TODAY, http)
    price = (rows["open_interest_usd"] / rows["open_interest"]).to_numpy()
    np.testing.assert_allclose(price, known["open"].head(12).to_numpy(), rtol=1e-6)


def test_bands_since_2026_have_the_narrow_ones_too():
    window = Window.of_days(date(2026, 1, 14), date(2026, 1, 15))
    clock = Clock(datetime(2026, 1, 17, tzinfo=UTC))
    with client(clock, symbols="BTC") as http:
        rows = binance_depth.fetch(window, http)
        assert_frame_equal(rows, truth(binance_depth.SOURCE, window, clock.now, http), check_exact=True)
    counts = rows.group_by(pl.col("ts").dt.date()).agg(pl.col("band_pct").n_unique()).sort("ts")
    assert counts["band_pct"].to_list() == [10, 12]
    worth = rows.filter(pl.col("band_pct") > 0).sort("ts", "band_pct").group_by("ts", maintain_order=True).agg("notional_usd")
    assert all(sorted(band) == band for band in worth["notional_usd"].to_list())


def test_the_basis_is_the_perpetual_over_spot():
    window = Window.of_days(date(2024, 10, 18), date(2024, 10, 18))
    with client(symbols="BTC") as http:
        basis, spot, perp = (s.fetch(window, http) for s in (binance_basis, binance_candles, binance_perp_candles))
    ratio = (perp["close"] / spot["close"] - 1).to_numpy()
    np.testing.assert_allclose(basis["basis"].to_numpy(), ratio, atol=1e-8)


def test_depth_by_hand():
    bids = np.array([[99.99, 10.0], [99.6, 20.0], [99.01, 5.0], [98.9, 7.0]])
    asks = np.array([[100.01, 30.0], [100.4, 1.0], [100.6, 1.0]])
    found = binance_book.summary(bids, asks)
    assert found["spread_bps"] == pytest.approx(2.0)
    assert found["bid_10bps_usd"] == pytest.approx(999.9)
    assert found["bid_50bps_usd"] == pytest.approx(999.9 + 1992)
    assert found["bid_100bps_usd"] == pytest.approx(999.9 + 1992 + 495.05)
    assert found["ask_50bps_usd"] == pytest.approx(3000.3 + 100.4)
    assert found["ask_100bps_usd"] is None  # the answer ends at 60 bps
    assert found["imbalance"] == pytest.approx((999.9 - 3000.3) / (999.9 + 3000.3))


SIDES = {"lastUpdateId": 1, "bids": [["10.0", "1"], ["9.9", "2"]], "asks": [["10.1", "1"], ["10.2", "2"]]}


@pytest.mark.parametrize(
    ("body", "error", "said"),
    [
        ({**SIDES, "bids": []}, NotPublishedYetError, "expected bids, found an empty list"),
        ([], NotPublishedYetError, "expected bids"),
        ({"asks": []}, BadPayloadError, "field 'bids'"),
        ({**SIDES, "asks": [["10.2", "1"], ["10.1", "1"]]}, BadPayloadError, "asks from the best on"),
        ({**SIDES, "asks": [["x", "1"]]}, BadPayloadError, "field 'price' must be"),
        ({**SIDES, "asks": [["1"]]}, BadPayloadError, "no field 'quantity'"),
    ],
)
def test_books_of_another_shape_are_named(body, error: type[SourceError], said: str):
    application = answering("/binance_spot/api/v3/depth", body)
    with client(application=application, symbols="BTC") as http, pytest.raises(error, match=f"publicGetDepth BTCUSDT.*{said}"):
        binance_book.fetch(PRESENT, http)


@pytest.mark.parametrize("source", [binance_book.SOURCE, binance_ticker.SOURCE], ids=lambda s: s.name)
def test_a_snapshot_is_of_the_minute_and_lies_in_no_other_window(source):
    clock = Clock(NOW + timedelta(seconds=42))
    with client(clock) as http:
        rows = source.fetch(PRESENT, http)
        assert rows["ts"].unique().to_list() == [NOW]
        assert set(rows["symbol"]) == set(http.universe.symbols)
        assert quarantine.split(source.table, rows).bad.is_empty()
        assert source.fetch(Window.of_days(date(2024, 10, 1), date(2024, 10, 2)), http).is_empty()


def test_all_tickers_come_in_one_call():
    with client() as http:
        binance_ticker.fetch(PRESENT, http)
        assert len(http.seen) == 1


@pytest.mark.parametrize(
    ("body", "said"), [([{"symbol": "XRPUSDT"}], "lastPrice"), ([{}], "lastPrice"), ({"code": 0}, "expected a list")]
)
def test_tickers_of_another_shape_are_named(body, said: str):
    application = answering("/binance_spot/api/v3/ticker/24hr", body)
    with client(application=application, symbols="BTC") as http, pytest.raises(BadPayloadError, match=said):
        binance_ticker.fetch(PRESENT, http)
