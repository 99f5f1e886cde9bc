"""Posts, headlines, attention and commits: pages that belong together, and what is missing without being wrong."""

from __future__ import annotations

import json
from datetime import date

import pytest
from polars.testing import assert_frame_equal
from starlette.requests import Request
from starlette.responses import Response

from crypto_assets.market.time import Window
from crypto_assets_tests.sources.loopback import NOW, client, truth
from crypto_assets_tests.sources.pretend import MONDAY, RECENT, SECRET, SOURCES, answering, as_json, day_of


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
