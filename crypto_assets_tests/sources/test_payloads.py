"""Answers of another shape than documented: the error names the field and what was found."""

import io
import zipfile
from datetime import date

import polars as pl
import pytest
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route

from crypto_assets.market.errors import BadPayloadError, GeoBlockedError, PlanRestrictedError
from crypto_assets.market.time import Window
from crypto_assets.sources import discover
from crypto_assets_tests.sources.loopback import client

SOURCES = discover()
DAY = Window.of_days(date(2024, 10, 7), date(2024, 10, 7))
KLINE = '[1728259200000,"1.0","2.0","0.5","1.5","10.0",1728262799999,"15.0",3,"4.0","6.0","0"]'
TREASURY = 'Date,"2 Yr","10 Yr"\n'


def with_kline(old: str, new: str) -> str:
    return f"[{KLINE.replace(old, new)}]"


def zipped(*files: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for n, text in enumerate(files):
            archive.writestr(f"{n}.csv", text)
    return buffer.getvalue()


def answering(body: bytes | str, status: int = 200, media_type: str = "application/json") -> Starlette:
    async def endpoint(_):
        return Response(body, status, media_type=media_type)

    return Starlette(routes=[Route("/{rest:path}", endpoint)])


CASES = {
    "kline that is no list": ("binance_candles", '[{"open": 1}]', "'ts'"),
    "kline that is short": ("binance_candles", "[[1728259200000]]", "'open'"),
    "price that is no number": ("binance_candles", with_kline('"2.0"', '"two"'), "'high'"),
    "price that is null": ("binance_perp_candles", with_kline('"1.5"', "null"), "'close'"),
    "trades with a fraction": ("binance_candles", with_kline(",3,", ",3.5,"), "'trades'"),
    "time in seconds": ("binance_candles", with_kline("1728259200000", "1728259200"), "'ts'"),
    "object for a list": ("binance_candles", '{"rows": []}', "expected a list"),
    "error body with HTTP 200": ("binance_candles", '{"code": -1100, "msg": "Illegal"}', "-1100"),
    "funding without a rate": ("binance_funding", '[{"fundingTime": 1728259200000}]', "'fundingRate'"),
    "funding without a time": ("binance_funding", '[{"fundingRate": "0.1"}]', "'fundingTime'"),
    "index without data": ("fear_greed", '{"metadata": {"error": null}}', "'data'"),
    "index with an error": ("fear_greed", '{"data": [], "metadata": {"error": "out of order"}}', "out of order"),
    "value that is no number": ("fear_greed", '{"data": [{"value": "high", "timestamp": "1728259200"}]}', "'value'"),
    "value that is true": ("fear_greed", '{"data": [{"value": true, "timestamp": "1728259200"}]}', "'value'"),
    "metrics without a time": ("coinmetrics_onchain", '{"data": [{"asset": "btc"}]}', "'time'"),
    "time that is none": ("coinmetrics_onchain", '{"data": [{"asset": "btc", "time": "today"}]}', "'time'"),
    "asset nobody asked for": (
        "coinmetrics_onchain",
        '{"data": [{"asset": "doge", "time": "2024-10-07T00:00:00Z"}]}',
        "'asset'",
    ),
    "next page elsewhere": (
        "coinmetrics_onchain",
        '{"data": [], "next_page_url": "http://169.254.169.254/latest"}',
        "next_page_url",
    ),
    "value locked as a word": ("defillama_tvl", '[{"date": 1728259200, "tvl": "much"}]', "'tvl'"),
    "value locked without a date": ("defillama_tvl", '[{"tvl": 1.0}]', "'date'"),
    "curve without the tenor": ("treasury_10y", 'Date,"2 Yr"\n10/07/2024,4.0\n', "10 Yr"),
    "yield that is no number": ("treasury_10y", TREASURY + "10/07/2024,4.0,four\n", "'10 Yr'"),
    "date of another order": ("treasury_10y", TREASURY + "2024.10.07,4.0,4.1\n", "'Date'"),
    "index without a close": ("cboe_vix", "DATE,OPEN,HIGH,LOW\n10/07/2024,1,2,1\n", "CLOSE"),
    "close that is no number": ("cboe_vix", "DATE,OPEN,HIGH,LOW,CLOSE\n10/07/2024,1,2,1,n/a\n", "'CLOSE'"),
    "line that breaks off": ("cboe_vix", "DATE,OPEN,HIGH,LOW,CLOSE\n10/07/2024,1,2,1,1\n10/08/2024,1,2", "line 3"),
    "history that breaks off": ("cboe_vix", "DATE,OPEN,HIGH,LOW,CLOSE\n09/07/2024,1,2,1,1\n", "2024-09-07"),
    "year that breaks off": ("treasury_10y", TREASURY + "10/07/2024,4.0,4.1\n", "2024-01-01"),
    "no zip": ("news", b"PK but no zip", "expected a zip"),
    "zip of two files": ("news", zipped("a", "b"), "expected one file"),
    "columns of another format": ("news", zipped("a\tb\n" * 5), "27 columns"),
    "stamp that is none": ("news", zipped("\t".join(["id", "now", *[""] * 24, "<PAGE_TITLE>BTC</PAGE_TITLE>"])), "'V2.1DATE'"),
}


@pytest.mark.parametrize("case", CASES)
def test_the_field_is_named(case: str):
    name, body, named = CASES[case]
    with client(application=answering(body)) as http, pytest.raises(BadPayloadError) as caught:
        SOURCES[name].fetch(DAY, http)
    assert named in str(caught.value)
    assert str(caught.value).startswith(f"{SOURCES[name].provider}: ")


def test_unknown_keys_and_extra_columns_are_ignored():
    body = 'Date,"1.5 Mo","10 Yr","50 Yr"\n10/18/2024,1,4,2\n10/08/2024,1,,2\n10/07/2024,1,4.03,2\n01/02/2024,1,4,2\n'
    with client(application=answering(body, media_type="text/csv")) as http:
        rows = SOURCES["treasury_10y"].fetch(Window.of_days(date(2024, 10, 7), date(2024, 10, 8)), http)
    assert rows["yield_pct"].to_list() == [4.03]


def test_funding_is_floored_and_special_settlements_are_left_out():
    body = """[{"fundingTime": 1728259200003, "fundingRate": "0.0001", "markPrice": ""},
               {"fundingTime": 1728262800000, "fundingRate": "0.5", "markPrice": "1", "rateType": "Special"}]"""
    with client(application=answering(body), symbols="BTC") as http:
        rows = SOURCES["binance_funding"].fetch(DAY, http)
    assert rows["ts"].dt.epoch("ms").to_list() == [1728259200000]
    assert rows["mark_price"].to_list() == [None]


def test_titles_are_unescaped_and_other_news_is_left_out():
    def record(n: int, title: str, url: str) -> str:
        extras = f"<PAGE_TITLE>{title}</PAGE_TITLE>" if title else ""
        return "\t".join([f"20241007003000-{n}", "20241007003000", "1", "example.com", url, *[""] * 21, extras])

    lines = [
        record(1, "Solana &amp; friends&#x2019; rally", "https://example.com/1"),
        record(2, "Link between sleep and memory", "https://example.com/link/uni/dot"),
        record(3, "", "https://example.com/2024/bitcoin-holds-the-line.html"),
        record(4, "Traders eye $LINK", "https://example.com/4"),
    ]
    window = Window(DAY.start, DAY.start.replace(hour=1))
    with client(application=answering(zipped("\n".join(lines)))) as http:
        rows = SOURCES["news"].fetch(window, http)
    assert rows["title"].to_list() == ["Solana & friends’ rally", "bitcoin holds the line", "Traders eye $LINK"]
    assert rows.select((pl.col("available_at") - pl.col("ts")).dt.total_minutes()).to_series().unique().to_list() == [30]


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (451, '{"code": 0, "msg": "Service unavailable from a restricted location"}', GeoBlockedError),
        (403, "<html>Request blocked</html>", GeoBlockedError),
        (402, "payment required", PlanRestrictedError),
        (403, '{"error": {"type": "forbidden", "message": "not in your plan"}}', PlanRestrictedError),
    ],
)
@pytest.mark.parametrize("name", ["binance_perp_candles", "coinmetrics_onchain"])
def test_a_refusal_has_its_name(name: str, status: int, body: str, expected: type):
    with client(application=answering(body, status)) as http, pytest.raises(expected):
        SOURCES[name].fetch(DAY, http)
