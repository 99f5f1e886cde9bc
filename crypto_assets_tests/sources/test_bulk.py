"""Files of the exchange's archive: checksums, their many formats, when they are there, and what happens when they are not."""

import hashlib
import io
import zipfile
from datetime import UTC, date, datetime, timedelta

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from crypto_assets.market.errors import BadPayloadError, GeoBlockedError, NotPublishedYetError, UnavailableError
from crypto_assets.market.time import DAY, Window, midnight
from crypto_assets.sandbox.server import app
from crypto_assets.sources import _bulk as bulk
from crypto_assets.sources import (
    binance_basis,
    binance_candles,
    binance_depth,
    binance_funding,
    binance_open_interest,
    binance_perp_candles,
    binance_trades,
)
from crypto_assets.sources._binance import KLINES
from crypto_assets_tests.sources.loopback import NOW, Clock, client, market, truth

BARS = [binance_candles.SOURCE, binance_perp_candles.SOURCE, binance_basis.SOURCE]
LONG = Window.of_days(date(2024, 7, 20), date(2024, 10, 19))
"""Four months, three of them closed, with the change of MATIC to POL."""
SPAN = Window(midnight(date(2025, 1, 1)), midnight(date(2025, 1, 2)))
FILE = bulk.File("spot", "daily", "klines", "BTCUSDT", SPAN, "1h")
ROW = "1735689600000,1.5,2,1,1.75,10,1735693199999,15,3,4,6,0"


class Tampered:
    """A server some of whose answers are replaced: `change(path, body)` gives (status, body), or None to leave it."""

    def __init__(self, change, clock=None) -> None:
        self.inner, self.change = app(market(), clock or Clock(NOW)), change

    async def __call__(self, scope, receive, send) -> None:
        sent = []

        async def keep(message) -> None:
            sent.append(message)

        if scope["type"] != "http":
            return await self.inner(scope, receive, send)
        await self.inner(scope, receive, keep)
        body = b"".join(m.get("body", b"") for m in sent[1:])
        changed = self.change(scope["path"], body)
        if changed is None:
            for message in sent:
                await send(message)
            return None
        headers = [(b"content-length", str(len(changed[1])).encode())]
        await send({"type": "http.response.start", "status": changed[0], "headers": headers})
        return await send({"type": "http.response.body", "body": changed[1]})


def zipped(text: str, name: str = FILE.name) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(f"{name}.csv", text)
    return buffer.getvalue()


def asked(http, part: str) -> list[str]:
    return [path for path, _ in http.seen if part in path]


@pytest.mark.parametrize("source", BARS, ids=lambda s: s.name)
def test_rows_are_the_same_on_both_roads(source):
    with client(symbols="BTC,POL") as http:
        fast = source.fetch(LONG, http)
        assert len(asked(http, "/monthly/")) == 2 * (3 + 3 + 1)  # POL's September under both names
        assert len(http.seen) - len(asked(http, "/monthly/")) == 2
        http.seen.clear()
        slow = pl.concat([source.fetch(week, http) for week in LONG.chunks(7)]).sort(source.table.key)
        assert not asked(http, "/binance_archive/")
        assert_frame_equal(fast, slow, check_exact=True)
        assert_frame_equal(fast, truth(source, LONG, NOW, http), check_exact=True)


@pytest.mark.parametrize("source", [binance_trades.SOURCE, binance_open_interest.SOURCE], ids=lambda s: s.name)
def test_days_are_the_same_on_both_roads(source):
    window = Window.of_days(date(2024, 10, 12), date(2024, 10, 13))
    with client(symbols="POL") as http:
        fast = source.fetch(window, http)
        assert not [path for path, _ in http.seen if "/binance_archive/" not in path]
    with client(
        application=Tampered(lambda path, _: (404, b"") if "/binance_archive/" in path else None), symbols="POL"
    ) as http:
        slow = source.fetch(window, http)
    assert_frame_equal(fast, slow, check_exact=True)


BREAKS = {
    "missing": lambda path, body: (404, b"<Error><Code>NoSuchKey</Code></Error>"),
    "another checksum": lambda path, body: (200, b"0" * 64 + b"  x.zip\n") if path.endswith("CHECKSUM") else None,
    "no checksum": lambda path, body: (404, b"") if path.endswith("CHECKSUM") else None,
    "truncated": lambda path, body: None if path.endswith("CHECKSUM") else (200, body[: len(body) // 2]),
    "a page": lambda path, body: (200, b"<!DOCTYPE html><html></html>"),
    "nothing": lambda path, body: (200, b""),
}


@pytest.mark.parametrize("how", BREAKS)
def test_a_file_that_cannot_be_used_is_made_up_for_by_rest(how: str, caplog):
    def change(path, body):
        return BREAKS[how](path, body) if "BTCUSDT-1h-2024-08" in path else None

    with client(application=Tampered(change), symbols="BTC") as http:
        rows = binance_candles.fetch(LONG, http)
        assert_frame_equal(rows, truth(binance_candles.SOURCE, LONG, NOW, http), check_exact=True)
        assert len(asked(http, "/api/v3/klines")) == 2  # August and October
    assert ("2024-08" in caplog.text) == (how != "missing")


def test_an_archive_that_is_down_is_made_up_for_by_rest(monkeypatch):
    monkeypatch.setattr("crypto_assets.sources._http.ATTEMPTS", 2)
    with client(faults=["binance_archive:500 always"], symbols="BTC") as http:
        rows = binance_perp_candles.fetch(LONG, http)
        assert_frame_equal(rows, truth(binance_perp_candles.SOURCE, LONG, NOW, http), check_exact=True)


def test_another_checksum_is_an_error_that_names_the_file_and_both_sums():
    body = zipped(ROW)
    found, told = hashlib.sha256(body).hexdigest(), "ab" * 32
    with pytest.raises(BadPayloadError) as caught:
        bulk.verified(FILE, body, f"{told}  {FILE.name}.zip\n".encode())
    assert all(part in str(caught.value) for part in (FILE.path, found, told))
    assert bulk.verified(FILE, body, f"{found.upper()}  x\n".encode()) == body
    with pytest.raises(NotPublishedYetError, match=r"2025-01-01\.zip"):
        bulk.verified(FILE, b"", None)


def test_a_table_without_another_road_raises():
    window = Window.of_days(date(2024, 10, 12), date(2024, 10, 12))
    with (
        client(application=Tampered(BREAKS["another checksum"]), symbols="BTC") as http,
        pytest.raises(BadPayloadError) as caught,
    ):
        binance_depth.fetch(window, http)
    assert "bookDepth/BTCUSDT/BTCUSDT-bookDepth-2024-10-12.zip" in str(caught.value)
    with client(symbols="EOS") as http, pytest.raises(NotPublishedYetError, match="EOS"):
        binance_depth.fetch(Window.of_days(date(2024, 7, 1), date(2024, 7, 1)), http)


HEADER = "open_time,open,high,low,close,volume,close_time,quote_volume,count,taker_buy_volume,taker_buy_quote_volume,ignore"


@pytest.mark.parametrize("text", [ROW, f"{HEADER}\n{ROW}\n", ROW.replace("1735689600000", "1735689600000000"), f"{ROW}\r\n"])
def test_headers_and_units_of_time_are_told_apart(text: str):
    row = bulk.parse(FILE, zipped(text), KLINES).row(0, named=True)
    assert row == {
        "ts": datetime(2025, 1, 1, tzinfo=UTC),
        **{"open": 1.5, "high": 2.0, "low": 1.0, "close": 1.75, "volume": 10.0},
        **{"quote_volume_usd": 15.0, "trades": 3, "taker_buy_volume": 4.0},
    }


def test_units_of_time_are_told_apart_value_by_value():
    rows = bulk.parse(FILE, zipped(f"{ROW}\n{ROW.replace('1735689600000', '1735693200000000')}"), KLINES)
    assert rows["ts"].to_list() == [SPAN.start, SPAN.start + timedelta(hours=1)]


def test_booleans_in_any_spelling():
    file = bulk.File("spot", "daily", "aggTrades", "BTCUSDT", SPAN)
    lines = [f"{n},1.5,2,{n},{n},1735689600000,{word},True" for n, word in enumerate(("True", "true", "False", "FALSE"))]
    rows = bulk.parse(file, zipped("\n".join(lines), file.name), binance_trades.LAYOUT)
    assert rows["is_buyer_maker"].to_list() == [True, True, False, False]


def test_blanks_are_null_where_the_files_have_them():
    file = bulk.File("futures/um", "daily", "metrics", "BTCUSDT", SPAN)
    header = ",".join(binance_open_interest.LAYOUT)
    text = f'{header}\n2025-01-01 00:55:00,BTCUSDT,,7.5,"",1.2,1.3,1.4\n2025-01-01 00:05:00,BTCUSDT,5,7,1.1,1.2,1.3,1.4\n'
    rows = bulk.parse(file, zipped(text, file.name), binance_open_interest.LAYOUT)
    assert rows["open_interest"].to_list() == [None, 5.0]
    last = binance_open_interest.last_of_hours(rows).row(0, named=True)
    assert (last["open_interest"], last["open_interest_usd"], last["top_account_ratio"]) == (5.0, 7.5, 1.1)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (zipped(ROW.replace("1.75", "x")), r"field 'close' must be: A number; found 'x'"),
        (zipped(ROW.replace("1.75", "")), r"field 'close' must be: A number; found None"),
        (zipped(ROW.replace(",15,3,", ",15,3.5,")), r"field 'count' must be: A whole number; found '3.5'"),
        (zipped("1735689600000,1.5,2"), r"expected the columns .* not found \['low'"),
        (zipped(f"{HEADER.replace('close,', 'last,')}\n{ROW}"), r"not found \['close'\]"),
        (zipped(""), "expected CSV"),
        (zipped(ROW, "other"), "expected a zip of BTCUSDT-1h-2025-01-01.csv"),
        (b"PK not a zip", "expected a zip"),
    ],
)
def test_another_format_is_an_error_that_names_file_and_field(body: bytes, said: str):
    with pytest.raises(BadPayloadError, match=said) as caught:
        bulk.parse(FILE, body, KLINES)
    assert str(caught.value).startswith(f"binance_archive: {FILE.path}: ")


def test_files_are_asked_for_when_they_can_be_there():
    window = Window.of_days(date(2024, 8, 30), date(2024, 10, 2))
    monday = midnight(date(2024, 10, 7))

    def names(now):
        return [f.name for f in bulk.months("spot", "klines", "BTCUSDT", window, now, "1h")]

    assert names(monday + timedelta(hours=7)) == ["BTCUSDT-1h-2024-08"]
    assert names(monday + timedelta(hours=8)) == ["BTCUSDT-1h-2024-08", "BTCUSDT-1h-2024-09"]
    days = bulk.days("futures/um", "metrics", "BTCUSDT", window, midnight(date(2024, 9, 2)) + timedelta(hours=8))
    assert [f.path for f in days] == [
        f"/data/futures/um/daily/metrics/BTCUSDT/BTCUSDT-metrics-2024-{stamp}.zip" for stamp in ("08-30", "08-31", "09-01")
    ]


@pytest.mark.parametrize(("minute", "status"), [(34, 404), (36, 200)])
def test_the_sandboxs_files_appear_as_late_as_the_exchanges(minute: int, status: int):
    path = "/data/spot/daily/aggTrades/BTCUSDT/BTCUSDT-aggTrades-2024-10-18.zip"
    with client(Clock(datetime(2024, 10, 19, 8, minute, tzinfo=UTC))) as http:
        found = list(http.get_many_bytes("binance_archive", [path, f"{path}.CHECKSUM"]))
    assert [body is not None for body in found] == [status == 200] * 2


def refused(path: str, _: bytes):
    body = b'{"code":0,"msg":"Service unavailable from a restricted location"}'
    return (451, body) if path.startswith("/binance_futures/") else None


def test_where_the_exchange_does_not_serve_the_archive_does():
    window = Window.of_days(date(2024, 9, 9), date(2024, 9, 11))
    with client(application=Tampered(refused), symbols="BTC,POL") as http:
        rows = binance_perp_candles.fetch(window, http)
        assert_frame_equal(rows, truth(binance_perp_candles.SOURCE, window, NOW, http), check_exact=True)
        with pytest.raises(GeoBlockedError, match="451"):
            binance_perp_candles.fetch(Window.of_days(date(2024, 10, 18), date(2024, 10, 20)), http)


def test_settlements_where_the_exchange_does_not_serve_lack_the_mark_price():
    window = Window.of_days(date(2024, 8, 20), date(2024, 9, 20))
    with client(application=Tampered(refused), symbols="BTC,POL") as http:
        rows = binance_funding.fetch(window, http)
        known = truth(binance_funding.SOURCE, window, NOW, http)
        assert_frame_equal(rows, known.with_columns(mark_price=pl.lit(None, pl.Float64)), check_exact=True)
        with pytest.raises(GeoBlockedError, match="451"):
            binance_funding.fetch(Window.of_days(date(2024, 9, 20), date(2024, 10, 2)), http)


@pytest.mark.parametrize(
    ("covered", "left"),
    [([], [(0, 9)]), ([(2, 4)], [(0, 2), (4, 9)]), ([(5, 9), (-3, 2)], [(2, 5)]), ([(-1, 20)], []), ([(0, 5), (3, 9)], [])],
)
def test_gaps(covered, left):
    def spans(pairs):
        return [Window(NOW + a * DAY, NOW + b * DAY) for a, b in pairs]

    assert bulk.gaps(*spans([(0, 9)]), spans(covered)) == spans(left)


def test_trouble_on_both_roads_is_the_exchanges(monkeypatch):
    monkeypatch.setattr("crypto_assets.sources._http.ATTEMPTS", 2)
    with client(faults=["*:500 always"], symbols="BTC") as http, pytest.raises(UnavailableError, match="binance_spot: "):
        binance_trades.fetch(Window.of_days(date(2024, 10, 7), date(2024, 10, 7)), http)
