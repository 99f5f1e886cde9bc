"""Headlines about the coins from NewsAPI.org; keyed (`CRYPTO_ASSETS_NEWSAPI_KEY`).

`GET /v2/everything?q=&searchIn=title,description&language=en&sortBy=publishedAt&from=&to=&pageSize=100` with the header
`X-Api-Key`. The free plan gives 100 calls a day, articles 24 hours late, at most a month back, the first 100 of an answer,
and is for development only; Business costs $449 a month. So one question names all coins, and a span with more than 100
articles is halved until each part has no more. An article counts as known 24 hours after it appeared, whatever the plan.
Removed articles are left out. Bodies are not kept.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import polars as pl

from crypto_assets.lake.tables import UTC_US, Field, RawTable
from crypto_assets.market import handles
from crypto_assets.market.coins import Coin
from crypto_assets.market.errors import AuthFailedError, BadPayloadError, RateLimitedError
from crypto_assets.market.time import DAY, Window
from crypto_assets.sources import _payload as payload
from crypto_assets.sources._providers import Provider, provide
from crypto_assets.sources._spec import History, Source

if TYPE_CHECKING:
    from crypto_assets.sources._http import Http

PROVIDER = provide(Provider("newsapi", "https://newsapi.org", rate=1, per=1, secret="newsapi_key", secret_header="X-Api-Key"))
PATH = "/v2/everything"
MOST = 100
DELAY = timedelta(hours=24)
REACH = 29 * DAY
SHORTEST = timedelta(minutes=1)
REMOVED = "[Removed]"


class RawNewsapiArticles(RawTable):
    """One row per article; `ts` is when it appeared."""

    name = "raw/newsapi_articles"
    key = ("url", "ts", "source")

    url: str = Field(meaning="address of the article")
    title: str = Field(meaning="headline")
    domain: str = Field(meaning="site it appeared on")


def fetch(window: Window, http: Http) -> pl.DataFrame:
    """Articles of `window` that name a coin. Raises a SourceError: PlanRestrictedError for days the plan does not reach."""
    start, end = max(window.start, http.now() - REACH), min(window.end, http.now() - DELAY)
    question = query(http.universe)
    rows = _articles(http, question, start, end) if question and start < end else []
    kept = [row for row in rows if row.get("title") != REMOVED]
    urls = payload.field(kept, "url", payload.text, PROVIDER.key, PATH)
    columns = {
        "url": urls,
        "ts": payload.field(kept, "publishedAt", payload.iso, PROVIDER.key, PATH),
        "title": [" ".join(t.split()) for t in payload.field(kept, "title", payload.text, PROVIDER.key, PATH)],
        "domain": [urlsplit(url).netloc for url in urls],
    }
    types = {"url": pl.String(), "ts": UTC_US, "title": pl.String(), "domain": pl.String()}
    return SOURCE.rows(pl.DataFrame(columns, schema=types).unique(["url", "ts"], keep="first"), window, http.now())


def query(coins: Iterable[Coin]) -> str:
    """The question in NewsAPI's grammar (at most 500 characters): any of the coins' names."""
    words = [names.search for _, names in handles.known(coins)]
    return " OR ".join(f"({w.removesuffix(' crypto')} AND crypto)" if w.endswith(" crypto") else f'"{w}"' for w in words)


def _articles(http: Http, question: str, start: datetime, end: datetime) -> list[Any]:
    """Every article of the span, newest first in each part."""
    params = {
        "q": question,
        "searchIn": "title,description",
        "language": "en",
        "sortBy": "publishedAt",
        "from": f"{start:%Y-%m-%dT%H:%M:%S}",
        "to": f"{end:%Y-%m-%dT%H:%M:%S}",
        "pageSize": MOST,
    }
    answer = http.get_json(PROVIDER.key, PATH, params)
    rows = payload.entries(_sound(answer), PROVIDER.key, PATH, "articles")
    total = payload.field([answer], "totalResults", payload.integer, PROVIDER.key, PATH)[0]
    if total <= MOST or end - start <= SHORTEST:
        return rows
    middle = (start + (end - start) / 2).replace(microsecond=0)
    return _articles(http, question, start, middle) + _articles(http, question, middle, end)


def _sound(answer: Any) -> Any:
    """The answer, if it is none of the errors that come with HTTP 200."""
    if not isinstance(answer, dict) or answer.get("status") == "ok":
        return answer
    code = answer.get("code")
    kind = {"rateLimited": RateLimitedError, "apiKeyInvalid": AuthFailedError}.get(str(code), BadPayloadError)
    raise kind(PROVIDER.key, f"{PATH}: expected status 'ok', found {code!r}: see newsapi.org/docs/errors")


SOURCE = Source(
    table=RawNewsapiArticles,
    fetch=fetch,
    provider=PROVIDER.key,
    available_at=pl.col("ts") + DELAY,
    pool=PROVIDER.key,
    keys=("newsapi_key",),
    history=History("days", REACH.days),
    freshness=timedelta(days=3),
    terms="NewsAPI terms; the free plan is for development only",
    substitute="the free plan is a day late; raw/news (GDELT) and raw/rss_news are the default",
)
