"""Governance activity: proposals and votes in the spaces of large DeFi protocols, from Snapshot.

`POST /graphql` of hub.snapshot.org, keyless, 60 to 100 requests a minute by address; at most 1000 rows a page, spaces in one
list. Pages are linked by time: the next one begins in the second of the last row, and rows already seen are dropped, so that
none of several rows of one second is lost. Votes and proposals count by `created`, which never changes; scores do, and are not
read. A day is complete when it ends and taken as known at 01:00 UTC of D+1. A proposal may be deleted later, with its votes.
Only votes off the chain; addresses are counted, not kept. Public votes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any

import polars as pl

from crypto_assets.lake.tables import Field, RawTable
from crypto_assets.market.errors import BadPayloadError, NotPublishedYetError
from crypto_assets.market.time import DAY, Window, midnight
from crypto_assets.sources import _payload as payload
from crypto_assets.sources._errors import snippet
from crypto_assets.sources._providers import Provider, provide
from crypto_assets.sources._spec import Source

if TYPE_CHECKING:
    from crypto_assets.sources._http import Http

PROVIDER = provide(Provider("snapshot", "https://hub.snapshot.org", 50, 60))
PATH = "/graphql"
SPACES = (
    *("aavedao.eth", "arbitrumfoundation.eth", "balancer.eth", "ens.eth", "gitcoindao.eth", "lido-snapshot.eth"),
    *("safe.eth", "uniswapgovernance.eth"),
)
PAGE_SIZE = 1000
QUERY = """query ($spaces: [String], $from: Int, $to: Int, $first: Int) {{
  {what}(first: $first, orderBy: "created", orderDirection: asc,
    where: {{space_in: $spaces, created_gte: $from, created_lt: $to}}) {{ id created {fields} space {{ id }} }}
}}"""
FIELDS = {"proposals": "", "votes": "voter"}


class RawSnapshotGovernance(RawTable):
    """One row per space and day, with zeros where nothing happened."""

    name = "raw/snapshot_governance"
    key = ("space", "ts", "source")

    space: str = Field(meaning="the provider's name of the organisation")
    proposals: int = Field(ge=0, meaning="proposals made on that day")
    votes: int = Field(ge=0, meaning="votes cast on that day")
    voters: int = Field(ge=0, meaning="different addresses that voted on that day")


def fetch(window: Window, http: Http) -> pl.DataFrame:
    """One row per space and day in `window`. Raises a SourceError for anything but the documented answer."""
    now = http.now()
    if window.start >= now:
        return RawSnapshotGovernance.empty()
    span = Window(midnight(window.days[0]), min(midnight(window.days[-1]) + DAY, now))
    made, cast = list(_events(http, "proposals", span)), list(_events(http, "votes", span))
    counts = {
        "proposals": Counter((space, day) for space, day, _ in made),
        "votes": Counter((space, day) for space, day, _ in cast),
        "voters": Counter((space, day) for space, day, _ in set(cast)),
    }
    slots = [(space, day) for space in SPACES for day in window.days]
    columns: dict[str, list[Any]] = {"space": [space for space, _ in slots], "ts": [midnight(day) for _, day in slots]}
    frame = payload.frame_of({**columns, **{name: [found[slot] for slot in slots] for name, found in counts.items()}})
    return SOURCE.rows(frame, window, now)


def _events(http: Http, what: str, span: Window) -> Iterator[tuple[str, date, str]]:
    """(space, day, voter or proposal) of every row created in `span`, each row once."""
    first, end = _seconds(span.start), _seconds(span.end)
    seen: set[str] = set()
    while True:
        rows = _page(http, what, first, end)
        ids = payload.field(rows, "id", payload.text, PROVIDER.key, what)
        created = payload.field(rows, "created", payload.seconds, PROVIDER.key, what)
        spaces = payload.field(rows, "space", _id, PROVIDER.key, what)
        who = payload.field(rows, "voter", payload.text, PROVIDER.key, what) if what == "votes" else ids
        for identity, moment, space, person in zip(ids, created, spaces, who, strict=True):
            if identity not in seen:
                yield space, moment.date(), person
        if len(rows) < PAGE_SIZE:
            return
        if _seconds(created[-1]) <= first and seen.issuperset(ids):
            raise BadPayloadError(
                PROVIDER.key, f"{what}: more than {PAGE_SIZE} rows in the second {created[-1]}: cannot page on"
            )
        seen = set(ids)
        first = _seconds(created[-1])


def _page(http: Http, what: str, first: int, end: int) -> list[Any]:
    """One page of rows. Raises BadPayloadError with the first message of `errors`, NotPublishedYetError for no data at all."""
    query = QUERY.format(what=what, fields=FIELDS[what])
    variables = {"spaces": list(SPACES), "from": first, "to": end, "first": PAGE_SIZE}
    answer = http.post_json(PROVIDER.key, PATH, {"query": query, "variables": variables})
    if isinstance(answer, dict) and answer.get("errors"):
        raise BadPayloadError(PROVIDER.key, f"{PATH} {what}: refused, {snippet(str(answer['errors']))}")
    if not isinstance(answer, dict) or "data" not in answer:
        raise BadPayloadError(PROVIDER.key, f"{PATH} {what}: expected the field 'data', found {snippet(str(answer))}")
    if answer["data"] is None:
        raise NotPublishedYetError(PROVIDER.key, f"{PATH} {what}: expected data, found null: ask again later")
    return payload.entries(answer["data"], PROVIDER.key, f"{PATH} {what}", what)


def _id(value: Any) -> str:
    """An object with an id."""
    return payload.text(value["id"])


def _seconds(moment: datetime) -> int:
    return int(moment.timestamp())


SOURCE = Source(
    table=RawSnapshotGovernance,
    fetch=fetch,
    provider=PROVIDER.key,
    available_at=pl.col("ts") + timedelta(hours=25),
    pool="snapshot",
    freshness=timedelta(hours=54),
    terms="public votes of Snapshot",
)
