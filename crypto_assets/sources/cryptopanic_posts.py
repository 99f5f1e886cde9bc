"""Headlines about each coin as CryptoPanic collects them; keyed (`CRYPTO_ASSETS_CRYPTOPANIC_KEY`).

`GET /api/developer/v2/posts/?currencies=&kind=news&public=true` of cryptopanic.com, the key in `auth_token`; the plan's
name is part of the path. Newest first, 20 a page, the next one named by `next`, and no way to ask for a time: pages are
read until the window begins, so old days cost many calls and reach back only as far as the plan does. It is uncertain what
the free plan still gives. A post counts as known one hour after its `published_at`: a plan that is later than that shows it
late, never early. Votes keep changing, so they are not kept. Terms: cryptopanic.com/developers/api.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

import polars as pl

from crypto_assets.lake.tables import UTC_US, Field, RawTable
from crypto_assets.market.coins import resolve
from crypto_assets.market.errors import BadPayloadError
from crypto_assets.market.time import Window
from crypto_assets.sources import _payload as payload
from crypto_assets.sources._providers import Provider, provide
from crypto_assets.sources._spec import History, Source

if TYPE_CHECKING:
    from crypto_assets.sources._http import Http

PROVIDER = provide(
    Provider("cryptopanic", "https://cryptopanic.com", rate=1, per=2, secret="cryptopanic_key", secret_param="auth_token")
)
PATH = "/api/developer/v2/posts/"
MOST_PAGES = 500


class RawCryptopanicPosts(RawTable):
    """One row per post and coin it names; `ts` is when the article appeared."""

    name = "raw/cryptopanic_posts"
    key = ("symbol", "id", "ts", "source")

    symbol: str = Field(meaning="coin that the provider says it is about")
    id: str = Field(meaning="the provider's number of the post")
    title: str = Field(meaning="headline")
    kind: str = Field(meaning="news, media or blog")


def fetch(window: Window, http: Http) -> pl.DataFrame:
    """Posts of `window` about coins of the universe. Raises a SourceError for anything but the documented answer."""
    posts = _posts(http, window) if window.start < http.now() else []
    columns = {
        "id": [str(number) for number in payload.field(posts, "id", payload.integer, PROVIDER.key, PATH)],
        "ts": payload.field(posts, "published_at", payload.iso, PROVIDER.key, PATH),
        "title": [" ".join(text.split()) for text in payload.field(posts, "title", payload.text, PROVIDER.key, PATH)],
        "kind": payload.field(posts, "kind", payload.text, PROVIDER.key, PATH),
        "symbol": [_symbols(post, http) for post in posts],
    }
    types = {"id": pl.String(), "ts": UTC_US, "title": pl.String(), "kind": pl.String(), "symbol": pl.List(pl.String())}
    rows = pl.DataFrame(columns, schema=types).explode("symbol", empty_as_null=True).drop_nulls("symbol")
    return SOURCE.rows(rows.unique(["symbol", "id"], keep="first"), window, http.now())


def _posts(http: Http, window: Window) -> list[Any]:
    """Posts from the newest back to the first that is older than the window."""
    params = {"currencies": ",".join(http.universe.symbols), "kind": "news", "public": "true"}
    posts: list[Any] = []
    for _ in range(MOST_PAGES):
        answer = http.get_json(PROVIDER.key, PATH, params)
        posts += payload.entries(answer, PROVIDER.key, PATH, "results")
        following = answer.get("next")
        oldest = payload.field(posts[-1:], "published_at", payload.iso, PROVIDER.key, PATH)
        if not following or (oldest and oldest[0] < window.start):
            return posts
        if not isinstance(following, str) or urlsplit(following).path.rpartition("/v2/")[2] != PATH.rpartition("/v2/")[2]:
            raise BadPayloadError(PROVIDER.key, f"{PATH}: next must lead to {PATH}, found another place")
        params = {name: value for name, value in parse_qsl(urlsplit(following).query) if name != "auth_token"}
    raise BadPayloadError(PROVIDER.key, f"{PATH}: next leads on after {MOST_PAGES} pages: ask for newer days")


def _symbols(post: Any, http: Http) -> list[str]:
    """Our symbols of the coins it names; a post about none of them has an empty list."""
    named = post.get("instruments") or []
    codes = payload.field(payload.entries(named, PROVIDER.key, PATH), "code", payload.text, PROVIDER.key, PATH)
    return sorted({found for code in codes if (found := resolve(code)) in http.universe.symbols})


SOURCE = Source(
    table=RawCryptopanicPosts,
    fetch=fetch,
    provider=PROVIDER.key,
    available_at=pl.col("ts") + timedelta(hours=1),
    pool=PROVIDER.key,
    keys=("cryptopanic_key",),
    history=History("days", 14),
    freshness=timedelta(days=2),
    terms="CryptoPanic API terms, attribution",
    substitute="needs a key, free plan uncertain; raw/news (GDELT) and raw/rss_news are the default",
)
