"""A lake's history served again: what the sources fetch is what was imported, and time inside its bars adds up to them."""

from datetime import UTC, datetime, timedelta

import httpx
import polars as pl
import pytest

from crypto_assets.lake import Lake
from crypto_assets.market.errors import SettingsError
from crypto_assets.market.time import DAY, HOUR, Window
from crypto_assets.sandbox import microstructure as micro
from crypto_assets.sandbox.clock import Clock
from crypto_assets.sandbox.replay import PROVIDERS, ReplayMarket
from crypto_assets.sandbox.server import app, running
from crypto_assets.sources import _archive as archive
from crypto_assets.sources._spec import discover
from crypto_assets_tests.sandbox.sockets import sandbox
from crypto_assets_tests.sources.loopback import Clock as Now
from crypto_assets_tests.sources.loopback import client, market

FIRST, LAST = datetime(2024, 9, 1, tzinfo=UTC), datetime(2024, 9, 13, tzinfo=UTC)
NOW = LAST + 3 * DAY
SYMBOLS = ("BTC", "ETH", "POL")


@pytest.fixture(scope="module")
def tables():
    """Twelve days around the day MATIC became POL; the yields of the whole year, since a file holds a year."""
    year = market().tables(datetime(2023, 12, 28, tzinfo=UTC), LAST, ("BTC",))
    return market().tables(FIRST, LAST, SYMBOLS) | {"raw/treasury_10y": year["raw/treasury_10y"]}


@pytest.fixture(scope="module")
def root(tmp_path_factory, tables):
    """A lake into which these tables were imported; POL trades on spot only, and ends two days early."""
    folder = tmp_path_factory.mktemp("replay")
    lake = Lake(folder / "lake")
    for name, frame in tables.items():
        if name == "raw/binance_perp_candles":
            frame = frame.filter(pl.col("symbol") != "POL")
        file = folder / f"{name.removeprefix('raw/')}.parquet"
        frame.write_parquet(file)
        archive.stage(name, [file], lake)
    return lake.root


@pytest.fixture(scope="module")
def replay(root):
    return ReplayMarket(root)


@pytest.mark.parametrize("name", sorted(PROVIDERS))
def test_a_source_fetches_from_a_replay_what_was_imported(replay, tables, name):
    source = discover()[name]
    window = Window(FIRST + 3 * DAY, LAST - 2 * DAY)
    with client(Now(NOW), application=app(replay, Clock(NOW)), symbols=SYMBOLS) as http:
        found = source.table.shape(source.fetch(window, http))
    true = tables[f"raw/{name}"].filter(pl.col("ts") >= window.start, pl.col("ts") < window.end)
    if name == "binance_perp_candles":
        true = true.filter(pl.col("symbol") != "POL")
    if name == "news":
        true = true.filter(pl.col("id").is_in(found["id"].implode()))
        assert true.height > 100
    key = [*source.table.key, "available_at"]
    assert found.sort(key).equals(source.table.shape(true).sort(key))


def test_days_and_coins_that_are_not_there_are_not_listed(replay):
    assert replay.symbols == SYMBOLS
    assert (replay.start, replay.end) == (FIRST, LAST)
    with sandbox(FIRST + 12 * HOUR, of=replay) as server:
        listed = {s["symbol"] for s in server.get("/binance_spot/api/v3/exchangeInfo")["symbols"]}
        assert listed == {"BTCUSDT", "ETHUSDT", "MATICUSDT"}
        asked = {"interval": "1h", "startTime": 0, "limit": 1000}
        assert len(server.get("/binance_spot/api/v3/klines", symbol="BTCUSDT", **asked)) == 12
        assert server.get("/binance_spot/api/v3/klines", symbol="DOTUSDT", **asked)["code"] == -1121
        assert "kraken" not in server.get("/health")["providers"]
        assert httpx.get(f"{server.url}/kraken/0/public/OHLC", trust_env=False).status_code == 404


def test_nothing_after_the_clock_is_shown(replay):
    with sandbox(FIRST + 5 * HOUR + timedelta(minutes=20), of=replay) as server:
        rows = server.get("/binance_spot/api/v3/klines", symbol="ETHUSDT", interval="1h", limit=1000)
        true = replay.candles("ETH", "spot", FIRST, FIRST + 6 * HOUR)
        assert [float(row[4]) for row in rows[:-1]] == true["close"][:-1].to_list()
        assert float(rows[-1][5]) < true["volume"][-1]
        assert server.get("/alternative_me/fng/", limit=0)["data"][0]["timestamp"] == str(int(FIRST.timestamp()))


def test_streams_of_a_replay_close_with_the_imported_bars(replay):
    with sandbox(FIRST, of=replay) as server:
        found = server.told("/binance_spot/stream", ["btcusdt@kline_1h", "btcusdt@kline_1m"], 3 * 3600, "btcusdt@kline_1m")
    hours = [m["data"]["k"] for m in found if m["stream"].endswith("1h") and m["data"]["k"]["x"]]
    minutes = [m["data"]["k"] for m in found if m["stream"].endswith("1m") and m["data"]["k"]["x"]]
    true = replay.candles("BTC", "spot", FIRST, FIRST + 3 * HOUR)
    for column, key in (("open", "o"), ("high", "h"), ("low", "l"), ("close", "c"), ("volume", "v"), ("quote_volume_usd", "q")):
        assert [float(k[key]) for k in hours] == true[column].to_list()
    assert len(minutes) == 180
    assert sum(float(k["v"]) for k in minutes) == pytest.approx(true["volume"].sum())
    assert sum(k["n"] for k in minutes) == true["trades"].sum()


def test_what_a_bar_lacks_is_made_up_and_adds_up(tmp_path, tables):
    bare = tables["raw/binance_candles"].filter(symbol="BTC").with_columns(
        quote_volume_usd=None, trades=None, taker_buy_volume=None
    )  # fmt: skip
    bare.write_parquet(tmp_path / "bare.parquet")
    archive.stage("binance_candles", [tmp_path / "bare.parquet"], Lake(tmp_path / "lake"))
    found = ReplayMarket(tmp_path / "lake")
    bars = found.candles("BTC", "spot", FIRST, FIRST + DAY)
    assert bars.null_count().sum_horizontal().item() == 0
    trades = micro.trades(found, "BTC", "spot", FIRST, FIRST + DAY)
    assert trades["quantity"].sum() == pytest.approx(bars["volume"].sum())
    assert (trades["last_trade"] - trades["first_trade"] + 1).sum() == bars["trades"].sum()
    assert found.providers == {"binance_spot", "binance_archive"}


def test_the_newest_version_of_a_row_is_served(tmp_path, tables):
    rows = tables["raw/binance_candles"].filter(symbol="BTC")
    revised = rows.head(1).with_columns(pl.col("available_at") + DAY, pl.col("volume") * 2)
    folder = tmp_path / "lake" / "imports" / "binance_candles"
    folder.mkdir(parents=True)
    pl.concat([revised, rows]).write_parquet(folder / "a.parquet")
    found = ReplayMarket(tmp_path / "lake").candles("BTC", "spot", FIRST, FIRST + 2 * HOUR)
    assert found["volume"].to_list() == [2 * rows["volume"][0], rows["volume"][1]]


def test_an_ingested_lake_is_replayed_too(tmp_path, tables):
    source = discover()["binance_perp_candles"]
    Lake(tmp_path).write(source.table, tables["raw/binance_perp_candles"], Window(FIRST, LAST))
    found = ReplayMarket(tmp_path)
    assert found.candles("ETH", "perp", FIRST, LAST).equals(market().candles("ETH", "perp", FIRST, LAST))
    assert found.providers == {"binance_futures", "binance_archive"}


def test_a_lake_without_candles_cannot_be_replayed(tmp_path):
    with pytest.raises(SettingsError, match="nothing to replay"):
        ReplayMarket(tmp_path)


def test_a_process_replays_from_the_first_bar_at_any_speed(root):
    with running(replay=root, speed=600.0) as url:
        health = httpx.get(f"{url}/health", trust_env=False).json()
    assert (health["market"], health["speed"]) == ("replay", 600.0)
    assert FIRST <= datetime.fromisoformat(health["now"]) < FIRST + 6 * HOUR
