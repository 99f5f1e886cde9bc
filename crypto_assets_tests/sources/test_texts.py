"""Posts, headlines, attention and commits: what is special to their providers."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from types import SimpleNamespace

import polars as pl
import pytest
from polars.testing import assert_frame_equal
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from crypto_assets.curation.text_scores import score
from crypto_assets.lake import Lake
from crypto_assets.market.errors import (
    AuthFailedError,
    BadPayloadError,
    PlanRestrictedError,
    RateLimitedError,
    SourceError,
    UnavailableError,
)
from crypto_assets.market.handles import HANDLES
from crypto_assets.market.pseudonyms import pseudonym, without_names
from crypto_assets.market.time import DAY, HOUR, Window
from crypto_assets.orchestration.assets.tables import fetched
from crypto_assets.sandbox import posts
from crypto_assets.sources import _capture, discover
from crypto_assets_tests.sources.loopback import NOW, WEEK, Clock, client, market, span, truth

SOURCES = discover()
MONDAY = Window.of_days(WEEK.days[0], WEEK.days[0])
RECENT = Window.of_days(date(2024, 10, 18), date(2024, 10, 18))
PRESENT = Window(NOW - 10 * HOUR / 60, NOW + 10 * HOUR / 60)
SECRET = "s3cr3t-of-a-reader"
KEYED = {
    "newsapi_articles": {"newsapi_key": SECRET},
    "cryptopanic_posts": {"cryptopanic_key": SECRET},
    "reddit_posts": {"reddit_client_id": "reader", "reddit_client_secret": SECRET},
    "x_posts": {"x_bearer_token": SECRET},
    "x_counts": {"x_bearer_token": SECRET},
    "github_commits": {"github_token": SECRET},
}


def answering(answer: Callable[[Request], Response]) -> Starlette:
    """A provider that gives this answer to everything."""

    async def endpoint(request: Request) -> Response:
        return answer(request)

    return Starlette(routes=[Route("/{rest:path}", endpoint, methods=["GET", "POST"])])


def as_json(body: object, status: int = 200, **headers: str) -> Starlette:
    text = body if isinstance(body, str) else json.dumps(body)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return answering(lambda _: Response(text, status, named, "application/json"))


def day_of(name: str) -> Window:
    """A day that the provider still has."""
    whole = span(SOURCES[name])
    return whole if SOURCES[name].history.kind == "none" else Window.of_days(whole.days[0], whole.days[0])


# What the texts say


def test_a_post_expresses_the_level_of_the_next_decision_time():
    levels = {
        (s, ts): level
        for s, ts, level in market().truth(MONDAY.start, MONDAY.end + HOUR).select("symbol", "ts", "level").iter_rows()
    }
    found = [
        p for channel in ("reddit", "x") for s in ("BTC", "POL") for p in posts.between(market(), channel, s, *ends(MONDAY))
    ]
    assert len(found) > 150
    for post in found:
        decision = post.ts.replace(minute=0, second=0) + HOUR
        assert decision - HOUR < post.ts + timedelta(minutes=1) < decision
        assert score(post.title) == pytest.approx(0.4 * levels[post.symbol, decision], abs=0.11), post


def ends(window: Window) -> tuple[datetime, datetime]:
    return window.start, window.end


def test_every_coin_of_the_default_universe_has_handles():
    with client() as http:
        assert {c.symbol for c in http.universe} <= set(HANDLES)
    assert all(h.subreddit and h.search and h.repos for h in HANDLES.values())


# People


def test_a_pseudonym_tells_authors_apart_and_names_nobody():
    assert pseudonym("reddit", "alice") == pseudonym("reddit", "alice") != pseudonym("reddit", "bob")
    assert pseudonym("reddit", "alice") != pseudonym("x", "alice")
    assert pseudonym("reddit", "[deleted]") is pseudonym("reddit", None) is None
    assert len(pseudonym("reddit", "alice")) == 16


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("thanks @satoshi, says u/hal_f and /u/adam-b", "thanks @someone, says @someone and @someone"),
        ("mail me at hal@example.org or buy BTC @ 60k", "mail me at hal@example.org or buy BTC @ 60k"),
        ("two\nlines", "two lines"),
    ],
)
def test_names_are_taken_out_of_a_text(text: str, expected: str):
    assert without_names(text) == expected


@pytest.mark.parametrize("name", ["arctic_shift_posts", "reddit_posts", "x_posts", "github_commits"])
def test_no_row_names_a_person(name: str):
    with client() as http:
        rows = SOURCES[name].fetch(day_of(name), http)
    text = rows.write_csv()
    assert rows.height
    assert "holder_" not in text
    assert "developer-" not in text


# Keys


@pytest.mark.parametrize("name", KEYED)
@pytest.mark.parametrize("status", [200, 401, 403, 429, 500])
def test_a_key_is_in_no_error_and_no_log(name: str, status: int, caplog, monkeypatch):
    monkeypatch.setattr("crypto_assets.sources._http.ATTEMPTS", 1)
    caplog.set_level(logging.DEBUG)
    echo = answering(lambda r: Response(f"{r.url} {dict(r.headers)}", status))
    with client(application=echo, **KEYED[name]) as http, pytest.raises(SourceError) as caught:
        SOURCES[name].fetch(day_of(name), http)
    error = caught.value
    assert SECRET not in f"{error} {error!r} {error.__cause__!r}"
    assert SECRET not in "".join(r.getMessage() for r in caplog.records if r.name.startswith("crypto_assets"))


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


# Paging


@pytest.mark.parametrize(
    ("name", "constant", "size"),
    [
        ("arctic_shift_posts", "PAGE", 7),
        ("github_commits", "PAGE", 3),
        ("x_posts", "PAGE", 10),
        ("newsapi_articles", "MOST", 5),
    ],
)
def test_a_day_of_many_pages_comes_whole(name: str, constant: str, size: int, monkeypatch):
    monkeypatch.setattr(f"crypto_assets.sources.{name}.{constant}", size)
    window = day_of(name)
    with client(symbols=("BTC", "LINK")) as http:
        rows = SOURCES[name].fetch(window, http)
        assert len(http.seen) > 6
        assert_frame_equal(rows, truth(SOURCES[name], window, NOW, http))


def test_posts_of_one_second_on_two_pages_come_whole(monkeypatch):
    monkeypatch.setattr("crypto_assets.sources.arctic_shift_posts.PAGE", 3)
    written = [100, 100, 100, 100, 101, 101, 200]
    start = int(MONDAY.start.timestamp())

    def search(request: Request) -> Response:
        after = int(request.query_params["after"])
        rows = [{"id": f"p{n}", "created_utc": start + s, **rest} for n, s in enumerate(written) if start + s > after]
        return Response(json.dumps({"data": rows[:3]}))

    rest = {"title": "t", "author": "[deleted]", "score": 1, "num_comments": 0}
    with client(application=answering(search), symbols=("BTC",)) as http:
        rows = SOURCES["arctic_shift_posts"].fetch(MONDAY, http)
    assert {"p0", "p1", "p2", "p4", "p5", "p6"} <= set(rows["id"])
    assert rows["author_hash"].null_count() == rows.height


def test_reading_x_stops_at_the_budget_of_a_day(monkeypatch):
    monkeypatch.setattr("crypto_assets.sources.x_posts.PAGE", 10)
    monkeypatch.setattr("crypto_assets.sources.x_posts.MOST_A_DAY", 20)
    with client(symbols=("BTC",)) as http:
        rows = SOURCES["x_posts"].fetch(RECENT, http)
        every = truth(SOURCES["x_posts"], RECENT, NOW, http)
    assert rows.height == 20 < every.height
    assert len(http.seen) == 2
    assert set(rows["ts"]) == set(every.sort("ts")["ts"].tail(20))


def test_a_reddit_listing_is_read_no_further_than_needed():
    with client(symbols=("BTC",)) as http:
        SOURCES["reddit_posts"].fetch(Window.of_days(NOW.date(), NOW.date()), http)
        assert [path for path, _ in http.seen] == ["/reddit/www/api/v1/access_token", "/reddit/oauth/r/Bitcoin/new"]


def test_a_long_window_of_a_daily_series_costs_a_call_or_two_a_coin():
    half_a_year = Window.of_days(date(2024, 4, 1), date(2024, 9, 30))
    with client() as http:
        assert SOURCES["wikimedia_pageviews"].fetch(half_a_year, http).height > 7 * 183
        assert len(http.seen) == 8
        SOURCES["arctic_shift_counts"].fetch(half_a_year, http)
        assert len(http.seen) == 8 + 16


# What is missing is no error


def test_an_empty_repository_has_no_rows_and_a_quiet_one_has_zeros():
    with client(application=as_json({"message": "Git Repository is empty."}, 409), symbols=("BTC",)) as http:
        assert SOURCES["github_commits"].fetch(MONDAY, http).is_empty()
    with client(application=as_json([]), symbols=("BTC",)) as http:
        assert SOURCES["github_commits"].fetch(MONDAY, http).select("commits", "authors").rows() == [(0, 0)]


def test_commits_without_an_account_count_by_address():
    def commit(login: str | None, email: str) -> dict:
        person = {"email": email, "date": "2024-10-07T05:00:00Z"}
        return {"author": {"login": login} if login else None, "commit": {"author": person, "committer": person}}

    body = [commit("ann", "a@x"), commit("ann", "b@x"), commit(None, "c@x"), commit(None, "c@x"), commit(None, "d@x")]
    with client(application=as_json(body), symbols=("BTC",)) as http:
        assert SOURCES["github_commits"].fetch(MONDAY, http).select("commits", "authors").rows() == [(5, 3)]


def test_days_wikimedia_has_not_loaded_are_empty():
    with client(symbols=("BTC",)) as http:
        assert SOURCES["wikimedia_pageviews"].fetch(Window.of_days(date(2024, 10, 20), date(2024, 10, 21)), http).is_empty()
        rows = SOURCES["wikimedia_pageviews"].fetch(Window.of_days(date(2024, 10, 17), date(2024, 10, 21)), http)
    assert rows["ts"].dt.day().to_list() == [17, 18]


def test_days_without_a_view_are_left_out():
    with client(symbols=("UNI",)) as http:
        rows = SOURCES["wikimedia_pageviews"].fetch(Window.of_days(date(2024, 1, 1), date(2024, 9, 30)), http)
    assert 100 < rows.height < 274
    assert rows["views"].min() == 1


def test_removed_articles_are_left_out():
    articles = [{"title": t, "url": f"https://e.org/{t}", "publishedAt": "2024-10-07T05:00:00Z"} for t in ("[Removed]", "kept")]
    with client(application=as_json({"status": "ok", "totalResults": 2, "articles": articles}), newsapi_key=SECRET) as http:
        assert SOURCES["newsapi_articles"].fetch(MONDAY, http)["title"].to_list() == ["kept"]


def test_a_post_about_no_coin_of_ours_has_no_row():
    post = {"id": 1, "title": "t", "kind": "news", "published_at": "2024-10-18T05:00:00Z"}
    results = [{**post, "instruments": None}, {**post, "id": 2, "instruments": [{"code": "MATIC"}, {"code": "SHIB"}]}]
    with client(application=as_json({"next": None, "results": results}), cryptopanic_key=SECRET) as http:
        assert SOURCES["cryptopanic_posts"].fetch(RECENT, http).select("symbol", "id").rows() == [("POL", "2")]


def test_gdelt_answers_with_control_characters_or_with_nothing():
    raw = '{"query_details": {"title": "bit\x01coin\n"}, "timeline": [{"data": [{"date": "20241007T000000Z", "value": -0.4}]}]}'
    for body, expected in ((raw, [(-0.4, -0.4)]), ("{}", []), ('{"timeline": []}', [])):
        application = as_json(body.replace("-0.4", "0.4") if body == raw else body)
        with client(application=application, symbols=("BTC",)) as http:
            rows = SOURCES["gdelt_tone"].fetch(MONDAY, http).select("tone", "volume_pct").rows()
        assert rows == [tuple(abs(v) for v in row) for row in expected]


# Providers that may fail


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
        rows, reason = fetched(source, SimpleNamespace(settings=http.settings, http=http, lake=None), MONDAY)
    assert rows.schema == source.table.schema()
    assert rows.is_empty()
    assert f"and did: {source.provider}: " in reason


def test_other_providers_fail_their_step(monkeypatch):
    monkeypatch.setattr("crypto_assets.sources._http.ATTEMPTS", 1)
    source = SOURCES["wikimedia_pageviews"]
    with client(faults=["wikimedia:500 always"]) as http, pytest.raises(UnavailableError):
        fetched(source, SimpleNamespace(settings=http.settings, http=http, lake=None), MONDAY)


def test_a_row_of_google_trends_carries_its_request_and_is_known_after_it():
    with client(symbols=("BTC",)) as http:
        rows = SOURCES["google_trends"].fetch(Window.of_days(date(2024, 9, 30), date(2024, 10, 13)), http)
    assert rows.filter(pl.col("request_end") - pl.col("request_start") != 56 * DAY).is_empty()
    assert rows.filter(pl.col("available_at") < pl.col("request_end") + 2 * DAY).is_empty()
    assert rows.filter((pl.col("ts") < pl.col("request_end") - 7 * DAY) | (pl.col("ts") >= pl.col("request_end"))).is_empty()
    assert rows.height == 14


# Feeds


def feeds(answer: Callable[[Request, str], Response]) -> Starlette:
    return answering(lambda request: answer(request, request.url.path.split("/")[2]))


def rss(*items: tuple[str, str]) -> bytes:
    """A feed of (guid, pubDate)."""
    text = "".join(
        f"<item><title>BTC &amp; {g}</title><link>https://e.org/{g}</link><guid>{g}</guid><pubDate>{d}</pubDate></item>"
        for g, d in items
    )
    return f'<?xml version="1.0"?><rss version="2.0"><channel><title>N</title>{text}</channel></rss>'.encode()


def test_a_feed_that_fails_is_left_out_and_said(caplog, monkeypatch):
    monkeypatch.setattr("crypto_assets.sources._http.ATTEMPTS", 1)
    body = rss(("a", "Sun, 20 Oct 2024 12:00:00 GMT"), ("old", "Sat, 19 Oct 2024 12:00:00 GMT"), ("odd", "yesterday"))
    application = feeds(lambda _, host: Response(body) if host == "decrypt.co" else Response("down", 503))
    with client(application=application) as http:
        rows = SOURCES["rss_news"].fetch(PRESENT, http)
    assert rows.select("id", "title", "domain").rows() == [("a", "BTC & a", "decrypt.co"), ("odd", "BTC & odd", "decrypt.co")]
    assert rows["published_at"].to_list() == [datetime(2024, 10, 20, 12, tzinfo=UTC), None]
    assert "cointelegraph.com" in caplog.text


def test_entities_that_grow_are_refused():
    bomb = (
        b'<!DOCTYPE r [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;">]><rss><channel><item><title>&b;</title></item></channel></rss>'
    )
    with (
        client(application=answering(lambda _: Response(bomb))) as http,
        pytest.raises(BadPayloadError, match="EntitiesForbidden"),
    ):
        SOURCES["rss_news"].fetch(PRESENT, http)


def test_an_unchanged_feed_costs_no_body(monkeypatch):
    monkeypatch.setattr("crypto_assets.sources.rss_news.MAX_AGE", timedelta(0))
    sent = []

    def answer(request: Request, _: str) -> Response:
        sent.append(request.headers.get("if-none-match"))
        unchanged = sent[-1] == '"1"'
        body = b"" if unchanged else rss(("a", "Sun, 20 Oct 2024 12:00:00 GMT"))
        return Response(body, 304 if unchanged else 200, {"ETag": '"1"'})

    with client(application=feeds(answer)) as http:
        first, second = (SOURCES["rss_news"].fetch(PRESENT, http) for _ in range(2))
    assert sent == [None] * 4 + ['"1"'] * 4
    assert_frame_equal(first, second)


def test_an_item_counts_once_even_over_midnight(tmp_path):
    source, lake = SOURCES["rss_news"], Lake(tmp_path)
    clock = Clock(datetime(2024, 10, 19, 23, 50, tzinfo=UTC))
    with client(clock) as http:
        moments = [clock.now + n * timedelta(minutes=7) for n in range(6)]
        for moment in moments:
            with clock.at(moment):
                _capture.capture(source, http, lake)
        seen = [_capture.read(lake, source, Window.of_days(day, day)) for day in (date(2024, 10, 19), date(2024, 10, 20))]
    assert seen[0].height
    assert not set(seen[0]["id"]) & set(seen[1]["id"])
    assert seen[0]["id"].is_unique().all()
