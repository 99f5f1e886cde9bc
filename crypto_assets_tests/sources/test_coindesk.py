"""CoinDesk Data: envelopes of both hosts, paging backwards, what of an article is kept, the key."""

import json
from datetime import date

import polars as pl
import pytest
from polars.testing import assert_frame_equal
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route

from crypto_assets.market.errors import (
    AuthFailedError,
    BadPayloadError,
    NotPublishedYetError,
    PlanRestrictedError,
    RateLimitedError,
    SourceError,
)
from crypto_assets.market.time import Window
from crypto_assets.settings import load
from crypto_assets.sources import coindesk_candles, coindesk_news, coindesk_social
from crypto_assets.sources._http import Http
from crypto_assets_tests.sources.loopback import NOW, client, truth
from crypto_assets_tests.sources.test_payloads import answering

CANDLES, NEWS, SOCIAL = coindesk_candles.SOURCE, coindesk_news.SOURCE, coindesk_social.SOURCE
ALL = pytest.mark.parametrize("source", [CANDLES, NEWS, SOCIAL], ids=["candles", "news", "social"])
ONE = Window.of_days(date(2024, 10, 7), date(2024, 10, 7))


def test_the_index_pages_backwards_by_2000_hours():
    window = Window.of_days(date(2024, 5, 1), date(2024, 10, 9))
    with client(symbols="BTC") as http:
        assert_frame_equal(CANDLES.fetch(window, http), truth(CANDLES, window, NOW, http))
    assert len(http.seen) == 2


def test_a_day_with_more_articles_than_a_page_comes_whole():
    with client() as http:
        rows = NEWS.fetch(ONE, http)
        assert rows.height > 2 * coindesk_news.PAGE
        assert_frame_equal(rows, truth(NEWS, ONE, NOW, http))
    assert len(http.seen) <= rows.height // coindesk_news.PAGE + 2


def test_of_an_article_only_what_is_needed_is_kept():
    with client() as http:
        rows = NEWS.fetch(ONE, http)
    assert set(rows.columns) == {"ts", "available_at", "id", "title", "url", "domain", "taken_in_at", "source"}
    assert not rows.select(pl.any_horizontal(pl.col(pl.String).str.contains("A. Writer|More on the site"))).to_series().any()
    assert (rows["available_at"] > rows["ts"]).all()


def article(n: int, **fields: object) -> dict[str, object]:
    base = {"ID": n, "PUBLISHED_ON": 1728300000, "CREATED_ON": 1728300060, "TITLE": "Bitcoin", "URL": "https://x.example/a"}
    return {**base, **fields}


def envelope(*rows: dict[str, object]) -> str:
    return json.dumps({"Data": list(rows), "Err": {}})


def test_deleted_articles_and_strange_addresses():
    body = envelope(article(1, STATUS="DELETED"), article(2, URL="https://[broken"), article(3, TITLE=" two\n lines "))
    with client(application=answering(body)) as http:
        rows = NEWS.fetch(ONE, http)
    assert rows.select("id", "title", "domain").rows() == [("2", "Bitcoin", ""), ("3", "two lines", "x.example")]


def test_a_page_of_one_second_is_an_error_instead_of_a_loss():
    full = envelope(*(article(n) for n in range(coindesk_news.PAGE)))
    with client(application=answering(full)) as http, pytest.raises(BadPayloadError, match="a second"):
        NEWS.fetch(Window(ONE.start, ONE.end), http)


LEGACY = {
    "rate limit by type": ("You are over your rate limit please upgrade your account!", 99, RateLimitedError),
    "rate limit by words": ("You are over your rate limit please upgrade your account!", 1, RateLimitedError),
    "no key": ("You need a valid auth key or api key to access this endpoint", 1, AuthFailedError),
    "plan": ("This endpoint is only available with a subscription", 2, PlanRestrictedError),
    "no data": ("There is no data for the symbol QQQ.", 2, NotPublishedYetError),
    "something else": ("limit is larger than max value.", 2, BadPayloadError),
}


@pytest.mark.parametrize("case", LEGACY)
def test_legacy_errors_with_http_200_have_their_class(case: str):
    message, number, kind = LEGACY[case]
    body = json.dumps({"Response": "Error", "Message": message, "HasWarning": False, "Type": number, "Data": {}})
    with client(application=answering(body), symbols="BTC") as http, pytest.raises(SourceError) as caught:
        SOCIAL.fetch(ONE, http)
    assert type(caught.value) is kind
    assert str(caught.value).startswith("cryptocompare: ")
    assert message[:20] in str(caught.value)


@pytest.mark.parametrize(("status", "kind"), [(401, AuthFailedError), (429, RateLimitedError), (402, PlanRestrictedError)])
def test_an_error_envelope_with_http_200_has_the_class_of_its_status(status: int, kind: type[SourceError]):
    body = json.dumps({"Data": {}, "Err": {"type": 2, "message": "no", "http_status_code": status}})
    for source in (CANDLES, NEWS):
        with client(application=answering(body), symbols="BTC") as http, pytest.raises(kind):
            source.fetch(ONE, http)


CASES = {
    "index without a price": (CANDLES, '{"Data":[{"TIMESTAMP":1728259200}],"Err":{}}', "'OPEN'"),
    "index whose data is no list": (CANDLES, '{"Data":{"a":1},"Err":{}}', "'Data'"),
    "index that is a list": (CANDLES, "[]", "'Data'"),
    "index from the future": (CANDLES, '{"Data":[{"TIMESTAMP":1928259200}],"Err":{}}', "1928259200"),
    "article without a title": (NEWS, envelope({"ID": 1, "PUBLISHED_ON": 1728300000, "URL": ""}), "'TITLE'"),
    "article without a time": (NEWS, envelope({"ID": 1}), "'PUBLISHED_ON'"),
    "counts without envelope": (SOCIAL, "[]", "'Response'"),
    "coins that are a list": (SOCIAL, '{"Response":"Success","Data":[1]}', "an object of coins"),
    "coin without number": (SOCIAL, '{"Response":"Success","Data":{"BTC":{"Id":"x"}}}', "'Id'"),
    "a page": (NEWS, "<html></html>", "HTML"),
}


@pytest.mark.parametrize("case", CASES)
def test_nasty_payloads_are_named(case: str):
    source, body, named = CASES[case]
    with client(application=answering(body), symbols="BTC") as http, pytest.raises(BadPayloadError) as caught:
        source.fetch(ONE, http)
    assert named in str(caught.value)


@ALL
def test_without_a_key_the_sandbox_refuses_like_the_provider(source):
    with client(symbols="BTC") as http:
        bare = load(world="sandbox", sandbox_url=http.settings.sandbox_url, symbols="BTC")
        with Http.of(bare, lambda: NOW) as keyless, pytest.raises(AuthFailedError):
            source.fetch(ONE, keyless)


@ALL
def test_the_key_travels_in_the_header_and_is_never_shown(source):
    seen = []

    async def endpoint(request):
        seen.append((str(request.url), request.headers.get("authorization")))
        message = "api key S3cret-key is not known"
        body = {"Response": "Error", "Message": message, "Type": 2, "Data": {}, "Err": {"message": message}}
        return Response(json.dumps(body), media_type="application/json")

    application = Starlette(routes=[Route("/{rest:path}", endpoint)])
    with (
        client(application=application, symbols="BTC", coindesk_key="S3cret-key") as http,
        pytest.raises(SourceError) as caught,
    ):
        source.fetch(ONE, http)
    assert seen[0][1] == "Apikey S3cret-key"
    assert "S3cret-key" not in seen[0][0]
    assert "S3cret-key" not in str(caught.value)


def test_counts_that_are_not_filled_are_absent():
    with client(symbols="BTC,UNI") as http:
        rows = SOCIAL.fetch(ONE, http)
    by_coin = {symbol: set(part["metric"]) for (symbol,), part in rows.group_by("symbol")}
    assert by_coin["BTC"] - by_coin["UNI"] == {"code_repo_contributors"}
    assert by_coin["BTC"] == set(coindesk_social.METRICS)
    assert rows["value"].min() >= 0
