"""What providers of posts, headlines, attention and commits say instead of an answer: named, and without the key."""

from __future__ import annotations

import logging
from datetime import UTC, date, datetime
from types import SimpleNamespace

import polars as pl
import pytest
from starlette.responses import Response

from crypto_assets.market.errors import (
    AuthFailedError,
    BadPayloadError,
    PlanRestrictedError,
    RateLimitedError,
    SourceError,
    UnavailableError,
)
from crypto_assets.market.time import DAY, HOUR, Window
from crypto_assets.orchestration.assets.tables import fetched
from crypto_assets_tests.sources.loopback import client
from crypto_assets_tests.sources.pretend import KEYED, MONDAY, SECRET, SOURCES, answering, as_json, day_of


@pytest.mark.parametrize("name", KEYED)
@pytest.mark.parametrize("status", [200, 401, 403, 429, 500])
def test_a_key_is_in_no_error_and_no_log(name: str, status: int, caplog, monkeypatch):
    monkeypatch.setattr("crypto_assets.sources._http.ATTEMPTS", 1)
    caplog.set_level(logging.DEBUG)
    echo = answering(lambda r: Response(f"{r.url} {dict(r.headers)}", status))
    with client(application=echo, **KEYED[name]) as http, pytest.raises(SourceError) as caught:
        SOURCES[name].fetch(day_of(name), http)
    error = caught.value
    assert SECRET not in f"{error} {error!r} {error.__cause__!r} {caplog.text}"


REFUSALS = {
    "reddit 401": ("reddit_posts", as_json({"message": "Unauthorized", "error": 401}, 401), AuthFailedError),
    "reddit unsupported": ("reddit_posts", as_json({"error": "unsupported_grant_type"}), AuthFailedError),
    "reddit token of another shape": ("reddit_posts", as_json({"token": "x"}), BadPayloadError),
    "reddit page": ("reddit_posts", answering(lambda _: Response("<html>", media_type="text/html")), BadPayloadError),
    "x 401": ("x_posts", as_json({"title": "Unauthorized", "status": 401}, 401), AuthFailedError),
    "x without credit": ("x_posts", as_json({"title": "CreditsDepleted"}, 402), PlanRestrictedError),
    "x not enrolled": ("x_counts", as_json({"title": "Client Forbidden"}, 403), PlanRestrictedError),
    "x without meta": ("x_counts", as_json({"data": []}), BadPayloadError),
    "x text of a number": ("x_posts", as_json({"data": [{"id": "1", "text": 5}], "meta": {}}), BadPayloadError),
    "newsapi key": ("newsapi_articles", as_json({"status": "error", "code": "apiKeyInvalid"}, 401), AuthFailedError),
    "newsapi too far back": (
        "newsapi_articles",
        as_json({"status": "error", "code": "parameterInvalid"}, 426),
        PlanRestrictedError,
    ),
    "newsapi limit in 200": ("newsapi_articles", as_json({"status": "error", "code": "rateLimited"}), RateLimitedError),
    "newsapi other in 200": ("newsapi_articles", as_json({"status": "error", "code": "odd"}), BadPayloadError),
    "newsapi without a time": (
        "newsapi_articles",
        as_json({"status": "ok", "totalResults": 1, "articles": [{"url": "u", "title": "t"}]}),
        BadPayloadError,
    ),
    "cryptopanic key": (
        "cryptopanic_posts",
        as_json({"status": "api_error", "info": "Token is missing"}, 401),
        AuthFailedError,
    ),
    "cryptopanic elsewhere": (
        "cryptopanic_posts",
        as_json({"results": [{"published_at": "2024-10-20T00:00:00Z"}], "next": "http://169.254.169.254/latest"}),
        BadPayloadError,
    ),
    "cryptopanic null title": (
        "cryptopanic_posts",
        as_json({"next": None, "results": [{"id": 1, "published_at": "2024-10-20T00:00:00Z", "title": None, "kind": "news"}]}),
        BadPayloadError,
    ),
    "github bad token": ("github_commits", as_json({"message": "Bad credentials"}, 401), AuthFailedError),
    "github limit": ("github_commits", as_json({"message": "rate limit"}, 403, x_ratelimit_remaining="0"), RateLimitedError),
    "github second limit": ("github_commits", as_json({"message": "secondary"}, 403, retry_after="0.01"), RateLimitedError),
    "github object": ("github_commits", as_json({"commits": []}), BadPayloadError),
    "github commit without a date": (
        "github_commits",
        as_json([{"author": None, "commit": {"author": {}, "committer": {}}}]),
        BadPayloadError,
    ),
    "wikimedia without views": ("wikimedia_pageviews", as_json({"items": [{"timestamp": "2024100700"}]}), BadPayloadError),
    "wikimedia stamp": ("wikimedia_pageviews", as_json({"items": [{"timestamp": "today", "views": 1}]}), BadPayloadError),
    "arctic error": ("arctic_shift_posts", as_json({"data": None, "error": "Invalid"}, 400), BadPayloadError),
    "arctic busy": ("arctic_shift_posts", as_json({"error": "Timeout. Maybe slow down a bit"}, 422), UnavailableError),
    "arctic null count": ("arctic_shift_counts", as_json({"data": [{"date": 1728259200, "value": None}]}), BadPayloadError),
    "gdelt phrase": ("gdelt_tone", answering(lambda _: Response("The specified phrase is too short.")), BadPayloadError),
    "gdelt text": (
        "gdelt_tone",
        as_json({"timeline": [{"data": [{"date": "20241007T000000Z", "value": "n/a"}]}]}),
        BadPayloadError,
    ),
    "trends 404": ("google_trends", answering(lambda _: Response("gone", 404)), SourceError),
    "trends nonsense": ("google_trends", as_json(")]}'\n{}"), BadPayloadError),
    "rss page": ("rss_news", answering(lambda _: Response("<html><body/></html>")), BadPayloadError),
    "rss cut off": ("rss_news", answering(lambda _: Response("<rss><channel>")), BadPayloadError),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_a_refusal_has_its_name(case: str, monkeypatch):
    monkeypatch.setattr("crypto_assets.sources._http.ATTEMPTS", 1)
    name, application, expected = REFUSALS[case]
    with client(application=application, **KEYED.get(name, {})) as http, pytest.raises(expected) as caught:
        SOURCES[name].fetch(day_of(name), http)
    assert str(caught.value).startswith(f"{SOURCES[name].provider}: ")
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(("name", "header"), [("github_commits", "x-ratelimit-reset"), ("x_counts", "x-rate-limit-reset")])
def test_a_limit_that_ends_at_a_moment_is_not_waited_for_in_vain(name: str, header: str):
    end = int((datetime.now(UTC) + HOUR).timestamp())
    application = answering(lambda _: Response("{}", 429, {header: str(end)}))
    with client(application=application, **KEYED[name]) as http, pytest.raises(RateLimitedError) as caught:
        SOURCES[name].fetch(day_of(name), http)
    assert 3500 < caught.value.retry_after <= 3600
    assert len(http.seen) == 1


def test_gdelt_is_asked_three_times_and_no_more():
    with client(faults=["gdelt_doc:429=0 always"]) as http, pytest.raises(RateLimitedError):
        SOURCES["gdelt_tone"].fetch(MONDAY, http)
    assert len(http.seen) == 3


@pytest.mark.parametrize("fault", ["429 always", "500 always", "html always", "truncated always"])
@pytest.mark.parametrize("name", ["google_trends", "gdelt_tone"])
def test_a_provider_that_may_fail_leaves_an_empty_table_and_a_reason(name: str, fault: str, monkeypatch):
    source = SOURCES[name]
    assert source.may_fail
    monkeypatch.setattr(type(source.history), "before", lambda *_: None)
    with client(faults=[f"{source.provider}:{fault}"]) as http:
        rows, reason = fetched(source, SimpleNamespace(settings=http.settings, http=http, lake=None, now=http.now), MONDAY)
    assert rows.schema == source.table.schema()
    assert rows.is_empty()
    assert f"and did: {source.provider}: " in reason


def test_other_providers_fail_their_step(monkeypatch):
    monkeypatch.setattr("crypto_assets.sources._http.ATTEMPTS", 1)
    source = SOURCES["wikimedia_pageviews"]
    with client(faults=["wikimedia:500 always"]) as http, pytest.raises(UnavailableError):
        fetched(source, SimpleNamespace(settings=http.settings, http=http, lake=None, now=http.now), MONDAY)


def test_a_row_of_google_trends_carries_its_request_and_is_known_after_it():
    with client(symbols=("BTC",)) as http:
        rows = SOURCES["google_trends"].fetch(Window.of_days(date(2024, 9, 30), date(2024, 10, 13)), http)
    assert rows.filter(pl.col("request_end") - pl.col("request_start") != 56 * DAY).is_empty()
    assert rows.filter(pl.col("available_at") < pl.col("request_end") + 2 * DAY).is_empty()
    assert rows.filter((pl.col("ts") < pl.col("request_end") - 7 * DAY) | (pl.col("ts") >= pl.col("request_end"))).is_empty()
    assert rows.height == 14
