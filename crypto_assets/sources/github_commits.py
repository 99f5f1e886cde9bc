"""Commits a day in the repositories of each coin's protocol, from GitHub: the default measure of development, keyless.

`GET /repos/{owner}/{name}/commits?since=&until=&per_page=100` of api.github.com, pages linked by the `Link` header; 60
calls an hour, 5000 with `github_token`; full history. A commit counts on the day its committer date names. 409 is an empty
repository; 403 or 429 with nothing remaining is the limit. Dates are set by authors, and branches merged late bring older
ones: day D is taken as known 7 days after its end; what still comes becomes a further version. A repository that was asked
and has no commits on a day has a row of zeros. GitHub's terms.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

import polars as pl

from crypto_assets.lake.tables import UTC_US, Field, RawTable
from crypto_assets.market import handles
from crypto_assets.market.errors import BadPayloadError, SourceError
from crypto_assets.market.time import DAY, Window, midnight
from crypto_assets.sources import _payload as payload
from crypto_assets.sources._providers import Provider, provide
from crypto_assets.sources._spec import Source

if TYPE_CHECKING:
    from crypto_assets.sources._http import Http

PROVIDER = provide(
    Provider(
        "github",
        "https://api.github.com",
        rate=60,
        per=3600,
        keyed_rate=4500,
        secret="github_token",
        secret_header="Authorization",
        secret_format="Bearer {}",
    )
)
PATH = "/repos/{repo}/commits"
PAGE = 100
MOST_PAGES = 2_000
_NEXT = re.compile(r'<([^>]*)>;\s*rel="next"')


class RawGithubCommits(RawTable):
    """One row per coin, repository and day."""

    name = "raw/github_commits"
    key = ("symbol", "repo", "ts", "source")

    symbol: str = Field(meaning="our symbol")
    repo: str = Field(meaning="owner/name")
    commits: int = Field(ge=0, unit="a day", meaning="commits on the default branch")
    authors: int = Field(ge=0, unit="a day", meaning="different authors of them")

    @classmethod
    def rules(cls) -> dict[str, pl.Expr]:
        """Nobody commits without a commit."""
        return {"authors <= commits": pl.col("authors") <= pl.col("commits")}


def fetch(window: Window, http: Http) -> pl.DataFrame:
    """One row per coin, repository and day in `window`; an empty repository has none. Raises a SourceError."""
    rows: list[tuple[Any, ...]] = []
    settled = [day for day in window.days if midnight(day) + LAG <= http.now()]
    for coin, names in handles.known(http.universe):
        for repo in names.repos if settled else ():
            found = _commits(http, repo, settled[0], settled[-1])
            rows += [(coin.symbol, repo, midnight(day), *_counted(found, day)) for day in settled if found is not None]
    types = {"symbol": pl.String(), "repo": pl.String(), "ts": UTC_US, "commits": pl.Int64(), "authors": pl.Int64()}
    return SOURCE.rows(pl.DataFrame(rows, schema=types, orient="row"), window, http.now())


def _counted(commits: Sequence[tuple[date, str]], day: date) -> tuple[int, int]:
    """Number of commits of the day, and of their authors."""
    authors = [author for on, author in commits if on == day]
    return len(authors), len(set(authors))


def _commits(http: Http, repo: str, first: date, last: date) -> list[tuple[date, str]] | None:
    """Day and author of every commit from `first` to `last`; None for a repository without any commit at all."""
    path = PATH.format(repo=repo)
    params: dict[str, Any] = {"since": f"{first}T00:00:00Z", "until": f"{last + DAY}T00:00:00Z", "per_page": PAGE}
    rows: list[Any] = []
    for _ in range(MOST_PAGES):
        try:
            answer = http.get_response(PROVIDER.key, path, params)
        except SourceError as error:
            if error.status == 409:
                return None
            raise
        rows += payload.entries(http.parsed(PROVIDER.key, path, answer), PROVIDER.key, path)
        following = _NEXT.search(answer.headers.get("link", ""))
        if following is None:
            return _read(rows, path)
        params = dict(parse_qsl(urlsplit(following[1]).query))
    raise BadPayloadError(PROVIDER.key, f"{path}: the Link header leads on after {MOST_PAGES} pages: it goes in circles")


def _read(rows: list[Any], path: str) -> list[tuple[date, str]]:
    """The account tells authors apart, or where a commit has none, the address in it; neither is kept."""
    commits = payload.field(rows, "commit", _object, PROVIDER.key, path)
    people = [payload.field(commits, who, _object, PROVIDER.key, path) for who in ("committer", "author")]
    days = payload.field(people[0], "date", payload.iso, PROVIDER.key, path)
    accounts = payload.field(rows, "author", _object, PROVIDER.key, path)
    names = [account.get("login") or person.get("email") or "" for account, person in zip(accounts, people[1], strict=True)]
    return [(day.date(), name) for day, name in zip(days, names, strict=True)]


def _object(value: Any) -> dict[str, Any]:
    """An object or null."""
    if value is not None and not isinstance(value, dict):
        raise ValueError("an object")
    return value or {}


LAG = timedelta(days=8)

SOURCE = Source(
    table=RawGithubCommits,
    fetch=fetch,
    provider=PROVIDER.key,
    available_at=pl.col("ts") + LAG,
    pool=PROVIDER.key,
    freshness=timedelta(days=10),
    terms="GitHub Terms of Service, API section; authors are counted, not kept",
)
