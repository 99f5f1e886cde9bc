"""The sandbox server in this process at a frozen time, and clients for it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from functools import cache

import polars as pl
from starlette.applications import Starlette
from starlette.types import Receive, Scope, Send

from crypto_assets.market.time import DAY, Window
from crypto_assets.sandbox import endpoints
from crypto_assets.sandbox.server import app, serving
from crypto_assets.sandbox.simulator import SimulatedMarket
from crypto_assets.settings import load
from crypto_assets.sources import Source
from crypto_assets.sources._http import Http
from crypto_assets.sources.news import Mention

NOW = datetime(2024, 10, 20, 12, 20, tzinfo=UTC)
"""A Sunday, some weeks after MATIC became POL."""

WEEK = Window.of_days(date(2024, 10, 7), date(2024, 10, 13))


def span(source: Source) -> Window:
    """The week, the last whole days of a provider that keeps fewer, or the present moment where one keeps no history."""
    if source.history.kind == "none":
        return Window(NOW - timedelta(minutes=10), NOW + timedelta(minutes=10))
    reach = NOW - timedelta(days=source.history.days or 10_000)
    return WEEK if reach <= WEEK.start else Window.of_days(reach.date() + DAY, NOW.date() - DAY)


@cache
def market() -> SimulatedMarket:
    return SimulatedMarket("standard", 7)


class Recorder:
    """Passes requests on and remembers their path and query."""

    def __init__(self, application) -> None:
        self.application = application
        self.seen: list[tuple[str, str]] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            self.seen.append((scope["path"], scope["query_string"].decode()))
        await self.application(scope, receive, send)


class Clock:
    """A time that stands still until it is moved."""

    def __init__(self, now: datetime) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now

    @contextlib.contextmanager
    def at(self, now: datetime) -> Iterator[datetime]:
        before, self.now = self.now, now
        yield now
        self.now = before


@contextlib.contextmanager
def client(
    clock: Clock | None = None,
    faults: Sequence[str] = (),
    timeout_s: float = 10.0,
    application: Starlette | None = None,
    **settings,
) -> Iterator[Http]:
    """A client of a server (ours, unless another `application` is given) at the clock's time; `seen` lists what was asked."""
    clock = clock or Clock(NOW)
    recorder = Recorder(application or app(market(), clock, faults))
    with serving(recorder) as url:
        known = load(world="sandbox", sandbox_url=url, **settings).with_sandbox_keys()
        with Http.of(known, clock, timeout_s) as http:
            http.seen = recorder.seen
            yield http


def truth(source: Source, window: Window, now: datetime, http: Http) -> pl.DataFrame:
    """What the simulator says the table holds at `now`; of a provider without history one snapshot, that of the minute."""
    if source.history.kind == "none":
        minute = now.replace(second=0, microsecond=0)
        if not window.start <= minute < window.end:
            return source.table.empty()
        window = Window(minute, minute + timedelta(minutes=1))
    served = endpoints.tables().get(source.name)
    if served is not None:
        frame = served(market(), window.start, window.end, http.universe.symbols).with_columns(source=pl.lit(source.provider))
        return source.table.shape(frame.filter(pl.col("available_at") <= now)).sort([*source.table.key, "available_at"])
    frame = market().tables(window.start, window.end, http.universe.symbols)[source.table.name]
    if source.name == "news":
        mention = Mention.of(http.universe)
        kept = [mention(title, url) for title, url in frame.select("title", "url").iter_rows()]
        frame = frame.filter(pl.Series(kept, dtype=pl.Boolean))
    return source.table.shape(frame.filter(pl.col("available_at") <= now)).sort([*source.table.key, "available_at"])
