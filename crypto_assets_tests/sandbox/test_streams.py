"""The WebSocket streams: what they add up to, how they are asked for, and that ccxt.pro understands them."""

import asyncio
import itertools
import json
from datetime import UTC, datetime, timedelta

import pytest
from websockets.exceptions import ConnectionClosed

from crypto_assets.market.time import HOUR
from crypto_assets.sandbox import book as books
from crypto_assets.sandbox import microstructure as micro
from crypto_assets_tests.sandbox.sockets import ask, sandbox
from crypto_assets_tests.sources.loopback import market

AT = datetime(2024, 10, 20, 12, 0, tzinfo=UTC)
MS = int(AT.timestamp() * 1000)


@pytest.fixture
def server():
    with sandbox(AT) as found:
        yield found


def _data(messages, stream):
    return [m["data"] for m in messages if m["stream"] == stream]


def test_closed_bars_are_those_of_rest_and_each_comes_once(server):
    streams = ["btcusdt@kline_1m", "ethusdt@kline_1h", "ethusdt@kline_1m"]
    found = server.told("/binance_spot/stream", streams, 3600, "ethusdt@kline_1h")
    for name, symbol, interval in (("btcusdt@kline_1m", "BTCUSDT", "1m"), ("ethusdt@kline_1h", "ETHUSDT", "1h")):
        rows = server.get("/binance_spot/api/v3/klines", symbol=symbol, interval=interval, startTime=MS)
        closed = [k for k in (m["k"] for m in _data(found, name)) if k["x"]]
        told = [[k["t"], *(k[c] for c in "ohlcv"), k["T"], k["q"], k["n"], k["V"], k["Q"], "0"] for k in closed]
        assert told == [row for row in rows if row[6] < MS + 3_600_000]
        assert len(told) == (60 if interval == "1m" else 1)
    assert [m["data"]["E"] for m in found] == sorted(m["data"]["E"] for m in found)


def test_an_open_bar_is_told_as_far_as_it_has_come(server):
    found = server.told("/binance_spot/stream", ["btcusdt@kline_1h"], 100, "btcusdt@kline_1h")
    bar = found[-1]["data"]["k"]
    trades = micro.trades(market(), "BTC", "spot", AT, AT + timedelta(seconds=100, milliseconds=1))
    assert not bar["x"]
    assert (float(bar["o"]), float(bar["c"])) == (trades["price"][0], trades["price"][-1])
    assert (float(bar["h"]), float(bar["l"])) == (trades["price"].max(), trades["price"].min())
    assert float(bar["v"]) == pytest.approx(trades["quantity"].sum())
    assert (bar["f"], bar["L"]) == (trades["first_trade"][0], trades["last_trade"][-1])


@pytest.mark.parametrize(
    ("path", "rest"), [("/binance_spot", "/binance_spot/api/v3"), ("/binance_futures/market", "/binance_futures/fapi/v1")]
)
def test_trades_are_those_of_rest_without_a_gap(server, path, rest):
    found = server.told(f"{path}/stream", ["solusdt@aggTrade", "solusdt@kline_1m"], 600, "solusdt@kline_1m")
    told = [[d[k] for k in ("a", "p", "q", "f", "l", "T", "m")] for d in _data(found, "solusdt@aggTrade")]
    rows = server.get(f"{rest}/aggTrades", symbol="SOLUSDT", fromId=told[0][0], limit=1000)
    assert told == [[row[k] for k in ("a", "p", "q", "f", "l", "T", "m")] for row in rows]
    by_time = server.get(f"{rest}/aggTrades", symbol="SOLUSDT", startTime=MS + 1, endTime=MS + 600_000)
    assert by_time == rows
    newest = server.get(f"{rest}/aggTrades", symbol="SOLUSDT", limit=5)
    assert newest == rows[-5:]


def test_single_trades_add_up_to_the_aggregates(server):
    found = server.told(
        "/binance_spot/stream", ["uniusdt@trade", "uniusdt@aggTrade", "uniusdt@kline_1m"], 60, "uniusdt@kline_1m"
    )
    single, whole = _data(found, "uniusdt@trade"), _data(found, "uniusdt@aggTrade")
    assert [d["t"] for d in single] == list(range(whole[0]["f"], whole[-1]["l"] + 1))
    for aggregate in whole:
        part = [float(d["q"]) for d in single if aggregate["f"] <= d["t"] <= aggregate["l"]]
        assert sum(part) == pytest.approx(float(aggregate["q"]))


def _apply(side, rows):
    for price, quantity in rows:
        side.pop(price, None) if float(quantity) == 0 else side.__setitem__(price, quantity)


@pytest.mark.parametrize("stream", ["btcusdt@depth@100ms", "btcusdt@depth"])
def test_diffs_carry_a_snapshot_to_the_next_one(server, stream):
    """The exchange's recipe: buffer diffs, take a snapshot, drop what it holds, apply the rest; each begins where one ended."""
    with server.socket(f"/binance_spot/ws/{stream}") as socket:
        ask(socket, "LIST_SUBSCRIPTIONS")
        diffs = []
        for n in range(12):
            server.clock.set(advance_s=0.75)
            if n == 3:
                snapshot = server.get("/binance_spot/api/v3/depth", symbol="BTCUSDT", limit=5000)
        server.clock.set(advance_s=1.0)
        while not diffs or diffs[-1]["E"] < MS + 10_000:
            diffs.append(json.loads(socket.recv(10)))
    assert all(b["U"] == a["u"] + 1 for a, b in itertools.pairwise(diffs))
    rest = [d for d in diffs if d["u"] > snapshot["lastUpdateId"]]
    assert rest[0]["U"] <= snapshot["lastUpdateId"] + 1
    bids, asks = dict(snapshot["bids"]), dict(snapshot["asks"])
    for diff in rest:
        _apply(bids, diff["b"])
        _apply(asks, diff["a"])
    true = server.get("/binance_spot/api/v3/depth", symbol="BTCUSDT", limit=5000)
    assert true["lastUpdateId"] == diffs[-1]["u"]
    assert (bids, asks) == (dict(true["bids"]), dict(true["asks"]))


def test_futures_diffs_name_the_update_before(server):
    found = server.told("/binance_futures/public/stream", ["ethusdt@depth@100ms"], 2, "ethusdt@depth@100ms")
    diffs = _data(found, "ethusdt@depth@100ms")
    assert all(b["pu"] == a["u"] == b["U"] - 1 for a, b in itertools.pairwise(diffs))
    assert diffs[-1]["u"] == (MS + 2000) // books.TICK_MS


def test_partial_books_tickers_and_best_quotes_agree(server):
    with server.socket(
        "/binance_spot/stream?streams=btcusdt@depth5@100ms/btcusdt@bookTicker/btcusdt@ticker/btcusdt@miniTicker"
    ) as s:
        ask(s, "LIST_SUBSCRIPTIONS")
        server.clock.set(advance_s=20)
        found = {}
        while len(found) < 4:
            message = json.loads(s.recv(10))
            found[message["stream"].split("@")[1]] = message["data"]
    book, best, day = found["depth5"], found["bookTicker"], found["ticker"]
    assert (len(book["bids"]), len(book["asks"]), book["lastUpdateId"]) == (5, 5, (MS + 20_000) // 100)
    assert (best["b"], best["B"], best["a"], best["A"]) == (*book["bids"][0], *book["asks"][0])
    assert "e" not in best
    assert float(best["b"]) < float(day["c"]) <= float(best["a"])
    assert found["miniTicker"]["c"] == day["c"]
    rows = server.get("/binance_spot/api/v3/klines", symbol="BTCUSDT", interval="1m", endTime=MS + 20_000, limit=1000)
    assert float(day["h"]) >= max(float(row[2]) for row in rows)


def test_requests_are_answered_like_the_exchange_does(server):
    with server.socket("/binance_futures/market/ws/btcusdt@aggTrade") as socket:
        assert ask(socket, "SUBSCRIBE", "ethusdt@kline_1m", number=7) == {"result": None, "id": 7}
        assert ask(socket, "LIST_SUBSCRIPTIONS") == {"result": ["btcusdt@aggTrade", "ethusdt@kline_1m"], "id": 1}
        assert ask(socket, "UNSUBSCRIBE", "btcusdt@aggTrade")["result"] is None
        assert ask(socket, "LIST_SUBSCRIPTIONS")["result"] == ["ethusdt@kline_1m"]
        assert ask(socket, "SET_PROPERTY", "combined", True)["result"] is None
        assert ask(socket, "GET_PROPERTY", "combined")["result"] is True
        assert ask(socket, "SHOUT")["error"]["code"] == 2
        socket.send("{")
        assert json.loads(socket.recv(10))["error"]["code"] == 3
        server.clock.set(advance_s=60)
        assert json.loads(socket.recv(10))["stream"] == "ethusdt@kline_1m"


def test_too_many_requests_close_the_connection(server):
    with server.socket("/binance_spot/ws") as socket:
        for _ in range(6):
            socket.send('{"method": "LIST_SUBSCRIPTIONS", "id": 1}')
        with pytest.raises(ConnectionClosed) as closed:
            [socket.recv(10) for _ in range(6)]
        assert closed.value.rcvd.code == 1008


@pytest.mark.parametrize(
    ("path", "stream"),
    [
        ("/binance_futures/public", "btcusdt@kline_1m"),
        ("/binance_futures/market", "btcusdt@depth@100ms"),
        ("/binance_futures", "btcusdt@aggTrade"),
        ("/binance_spot", "nopeusdt@kline_1m"),
        ("/binance_spot", "btcusdt@nothing"),
        ("/binance_spot", "maticusdt@kline_1m"),
    ],
)
def test_what_a_route_does_not_carry_is_acknowledged_and_silent(server, path, stream):
    with server.socket(f"{path}/ws") as socket:
        assert ask(socket, "SUBSCRIBE", stream) == {"result": None, "id": 1}
        server.clock.set(advance_s=300)
        with pytest.raises(TimeoutError):
            socket.recv(0.3)


def test_a_clock_set_back_closes_the_streams(server):
    with server.socket("/binance_spot/ws/btcusdt@kline_1m") as socket:
        ask(socket, "LIST_SUBSCRIPTIONS")
        server.clock.set(now=AT - HOUR)
        with pytest.raises(ConnectionClosed) as closed:
            socket.recv(10)
    assert closed.value.rcvd.code == 1012


def test_ccxt_pro_gets_bars_trades_and_books_of_both_hosts():
    """Untouched ccxt.pro against a server five times as fast as time."""
    with sandbox(AT - timedelta(seconds=5), speed=5.0) as server:
        for name, kind, suffix in (("binance", "spot", ""), ("binanceusdm", "linear", ":USDT")):
            bars, trades, book, quotes = asyncio.run(
                _watched(server.url, name, kind, [f"BTC/USDT{suffix}", f"ETH/USDT{suffix}"])
            )
            symbol, intervals = next(iter(bars.items()))
            assert next(iter(intervals)) in ("1m", "1h")
            assert trades[-1]["symbol"] in (f"BTC/USDT{suffix}", f"ETH/USDT{suffix}")
            assert book["bids"][0][0] < book["asks"][0][0]
            assert len(book["bids"]) > 400
            assert next(iter(quotes.values()))["bid"] > 0
            assert symbol.endswith("USDT")


async def _watched(url, name, kind, symbols):
    import ccxt.pro

    key = {"spot": "binance_spot", "linear": "binance_futures"}[kind]
    exchange = getattr(ccxt.pro, name)({"options": {"fetchMarkets": {"types": [kind]}}})
    exchange.has["fetchCurrencies"] = False
    exchange.urls["api"] = {
        **{
            k: f"{url}/{key}{v.split('.com', 1)[1]}"
            for k, v in exchange.urls["api"].items()
            if isinstance(v, str) and ".com" in v
        },
        "ws": {kind: f"{url.replace('http', 'ws')}/{key}/ws"},
    }

    async def many(watch, times):
        return [await watch() for _ in range(times)][-1]

    try:
        return await asyncio.wait_for(
            asyncio.gather(
                many(lambda: exchange.watch_ohlcv_for_symbols([[s, i] for s in symbols for i in ("1m", "1h")]), 4),
                many(lambda: exchange.watch_trades_for_symbols(symbols, params={"name": "aggTrade"}), 2),
                many(lambda: exchange.watch_order_book_for_symbols(symbols), 30),
                many(lambda: exchange.watch_bids_asks(symbols), 2),
            ),
            30,
        )
    finally:
        await exchange.close()
