"""Posts, headlines and feeds: what they say, and of whom they say nothing."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta

import pytest
from polars.testing import assert_frame_equal
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response

from crypto_assets.curation.scorers.vader import score
from crypto_assets.lake import Lake
from crypto_assets.market.errors import (
    BadPayloadError,
)
from crypto_assets.market.handles import HANDLES
from crypto_assets.market.pseudonyms import pseudonym, without_names
from crypto_assets.market.time import HOUR, Window
from crypto_assets.sandbox import posts
from crypto_assets.sources import _capture
from crypto_assets_tests.sources.loopback import Clock, client, market
from crypto_assets_tests.sources.pretend import MONDAY, PRESENT, SOURCES, answering, day_of


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
