"""History lived through again on the wire: a sandbox in replay, the real stream into a past lake's hot store, a paper
account.

The sandbox's clock is walked minute by minute, at `speed`, to each hour's close, where it runs at real time until the stream
has closed the hour and the hour has been traded: all of the stream's work (sockets, messages, repairs, marks) happens in
every hour, and a slow machine takes longer and sees the same. Slow tables are asked once an hour, at its close.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from crypto_assets.evaluation.paper import Trader
from crypto_assets.evaluation.replayed import PastLake
from crypto_assets.lake.hot import HotStore
from crypto_assets.market.errors import StaleDataError
from crypto_assets.market.time import HOUR
from crypto_assets.settings import Settings, load
from crypto_assets.sources import Source, discover
from crypto_assets.sources._http import Http
from crypto_assets.sources.stream import polling
from crypto_assets.sources.stream.service import PROVIDERS, Stream
from crypto_assets.sources.stream.writer import closed_hours
from crypto_assets.trading.paper import Hour

SPEED = 3600.0
"""An hour a second."""
STRIDE = timedelta(minutes=1)
"""How far the clock is put forward at a time; a message from further ahead than 90 s would be doubted by the stream."""
AFTER = timedelta(seconds=6)
"""From so long after an hour's close the clock runs at real time: bars that have not come are asked for after five seconds."""
EARLY = timedelta(minutes=5)
"""The stream begins so long before the first close."""
PATIENCE_S = 60.0
"""An hour that has not closed in the hot store after so many seconds at real time will not."""
LOOK_S = 0.02
POLLS = 3


class Replayed:
    """The sandbox at `url`, and the stream that listens to it. Raises StaleDataError when the stream ends or falls silent."""

    def __init__(self, url: str, past: PastLake, hot: HotStore, symbols: Sequence[str], speed: float = SPEED) -> None:
        import httpx

        self.settings: Settings = load(world="sandbox", sandbox_url=url, lake=past.lake.root, symbols=",".join(symbols))
        self.settings = self.settings.with_sandbox_keys()
        self.past, self.hot, self.speed = past, hot, speed
        self.http = Http.of(self.settings, now=self.now)
        self._client = httpx.Client(base_url=url, timeout=30, trust_env=False)
        shown = set(self._ask("GET", "/health")["providers"])
        built = [s for s in discover().values() if past.whole.days(s.table.name) and s.name not in polling.STREAMED]
        every = [s for s in built if s.provider in shown]
        self._slow: list[Source] = [s for s in every if s.history.kind != "none" and s.provider not in PROVIDERS]
        self.stream = Stream(
            self.settings, hot, channels=("klines",), sources=[s for s in every if s.is_core and s.provider in PROVIDERS]
        )
        self._polled: set[str] = set()
        self._loop = asyncio.new_event_loop()
        self._stopping = asyncio.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="stream", daemon=True)

    def __enter__(self) -> Replayed:
        self._thread.start()
        self._wait(lambda: self.stream.stats.total("connects") >= len(PROVIDERS), "connected to the sandbox")
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join(30)
        self.http.close()
        self._client.close()

    def now(self) -> datetime:
        """The sandbox's time."""
        return datetime.fromisoformat(self._ask("GET", "/health")["now"])

    def until(self, at: datetime) -> None:
        """Live up to the close of the hour `at`, and past it as far as the stream needs to bring all of it."""
        self._ask("POST", "/clock", {"speed": 0.0})
        now = self.now()
        while now < at + AFTER:
            began, ahead = time.monotonic(), min(now + STRIDE, at + AFTER)
            self._ask("POST", "/clock", {"now": ahead.isoformat()})
            self._look()
            time.sleep(max((ahead - now).total_seconds() / self.speed - (time.monotonic() - began), 0.0))
            now = ahead
        self._ask("POST", "/clock", {"speed": 1.0})
        self._wait(lambda: closed_hours(self.hot)[-1:] >= [at], f"closed the hour {at}")
        for source in (*self._slow, *self.stream.sources):
            self._poll(source)

    def _poll(self, source: Source) -> None:
        """Ask a slow table, again where it refused: an hour is traded with everything that was published by its close."""
        for _ in range(POLLS):
            said = polling.poll(source, self.http, self.past.lake, source.name not in self._polled)
            if not said.startswith("refused"):
                self._polled.add(source.name)
                return

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self.stream.run(self._stopping))
        except BaseException as error:  # told in the thread that waits for it
            self._failure = error
        finally:
            self._loop.close()

    def _wait(self, is_so: Any, what: str) -> None:
        late = time.monotonic() + PATIENCE_S
        while not is_so():
            self._look()
            if time.monotonic() > late:
                raise StaleDataError(f"the stream has not {what} in {PATIENCE_S:g} s: try a lower --speed")
            time.sleep(LOOK_S)

    def _look(self) -> None:
        if self._failure is not None:
            raise StaleDataError(f"the stream ended: {self._failure}") from self._failure

    def _ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        import httpx

        try:
            answer = self._client.request(method, path, json=body)
            answer.raise_for_status()
        except httpx.HTTPError as error:
            raise StaleDataError(f"the sandbox does not answer ({error}): start the replay again, it goes on") from error
        return answer.json()


def live_through(replayed: Replayed, trader: Trader, until: datetime) -> Iterator[Hour]:
    """Every hour from the account's to `until`, as it closes on the wire; days that are over are revealed."""
    while trader.at < until:
        at = trader.at + HOUR
        replayed.until(at)
        yield from trader.follow(at)
        replayed.past.reveal(at)


def starts_at(trader_at: datetime) -> datetime:
    """Where the sandbox's clock begins for an account that stands at `trader_at`."""
    return trader_at + HOUR - EARLY


def folder_of(root: Path, name: str) -> Path:
    """The past lake of a replay of the lake at `root`; it may be deleted at any time."""
    return root / "paper" / f"{name}.past"
