"""The running service: follows the hot store and the champion, publishes, answers. No HTTP here.

Two loops. One looks for a closed hour and makes its forecasts in a thread, and before that whatever of them does not hang on
its bars; one looks for another champion, loads it beside the
old one and puts it in its place for the same hour. What is served is one immutable `Published`; a request keeps the one it
began with, so a swap drops nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import difflib
import logging
import threading
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from crypto_assets.evaluation.model_registry import CHAMPION, ModelRegistry
from crypto_assets.evaluation.open_days import OpenDays
from crypto_assets.features import FeatureFamily
from crypto_assets.lake import Lake
from crypto_assets.lake.hot import open_hot
from crypto_assets.market.coins import resolve
from crypto_assets.market.errors import CheckpointError, CryptoAssetsError, SettingsError, StaleDataError
from crypto_assets.market.time import HOUR
from crypto_assets.serving import records
from crypto_assets.serving.answers import Record, moment
from crypto_assets.serving.batching import Batcher
from crypto_assets.serving.ensemble import Runtime
from crypto_assets.serving.metrics import Metrics
from crypto_assets.serving.published import Published, Question, answer_all
from crypto_assets.settings import Settings
from crypto_assets.sources.stream.writer import closed_hours

LOOK_S, WATCH_S = 0.1, 1.0
"""How often the hot store is asked for a closed hour, and the registry for a champion."""
PREPARE_S = 60.0
"""How often what the next hour will need is made ahead of it: a slow table may change until it closes."""
STALE = timedelta(hours=2)
"""Age of the last closed hour beyond which nothing is served: a bar is due every hour, and two minutes late at most."""
SPARK_HOURS = 48
Clock = Callable[[], datetime]
log = logging.getLogger(__name__)


class UnknownSymbolError(CryptoAssetsError):
    """A coin that is not served. `near` names some that are."""

    def __init__(self, symbol: str, near: Sequence[str], served: Sequence[str]) -> None:
        hint = f"did you mean {' or '.join(near)}?" if near else f"served are {', '.join(served)}"
        super().__init__(f"no forecasts of {symbol!r}: {hint}")
        self.near = list(near)


class Service:
    """Open it, `start` it in a running loop, `close` it."""

    def __init__(
        self, settings: Settings, *, clock: Clock | None = None, families: Sequence[FeatureFamily] | None = None
    ) -> None:
        self.settings, self.lake = settings, Lake(settings.lake)
        self._clock = clock or (lambda: datetime.now(UTC))
        self.metrics = Metrics(self.lake, self._clock)
        self.batcher: Batcher[Question, Record] = Batcher(answer_all)
        self.records = records.Records(self.lake.root)
        self.listeners: set[asyncio.Queue[dict[str, Any]]] = set()
        self._problems = {"follow": "starting"}
        self._hot = open_hot(settings)
        self._registry = ModelRegistry(settings)
        self._days = OpenDays(self.lake, self._hot, settings.symbols, families=families)
        self._published: Published | None = None
        self._runtime: tuple[int, Runtime] | None = None
        self._refused: tuple[str, str] = ("", "")
        self._prepared: tuple[datetime | None, float] = (None, 0.0)
        self._work = threading.Lock()
        self._tasks: list[asyncio.Task[None]] = []

    # what is asked

    @property
    def published(self) -> Published:
        """What is served now. Raises StaleDataError when there is nothing, or it is too old."""
        found = self._published
        if found is None:
            raise StaleDataError(f"nothing is served yet: {self.problem or 'the first hour is being forecast'}")
        if self.age() > STALE:
            raise StaleDataError(
                f"the newest closed hour is {found.at.isoformat()}, {self.age().total_seconds() / 3600:.1f} hours ago: "
                f"run `crypto-assets stream` for this lake"
            )
        return found

    @property
    def problem(self) -> str:
        """Why nothing newer, or nothing by the champion, is served; empty when all is well."""
        return "; ".join(said for said in self._problems.values() if said)

    def age(self) -> timedelta:
        """Since the close of the hour that is served; zero before there is one."""
        return self._clock() - self._published.at if self._published else timedelta(0)

    def served_at(self) -> datetime | None:
        """The closed hour that is served, however old."""
        return self._published.at if self._published else None

    def measure(self) -> None:
        """Bring the gauges up to date."""
        self.metrics.age.set(self.age().total_seconds())
        self.metrics.listeners.set(len(self.listeners))
        sizes = self.batcher.sizes
        self.metrics.batch.set(sum(sizes) / len(sizes) if sizes else 0)

    def known(self, symbol: str) -> str:
        """Our symbol of a coin that is served, by any provider's name. Raises UnknownSymbolError with near names."""
        served = self.symbols()
        found = resolve(symbol)
        if found in served:
            return found
        raise UnknownSymbolError(symbol, difflib.get_close_matches(symbol.upper(), served, n=3, cutoff=0.4), served)

    def symbols(self) -> list[str]:
        """The coins that are served."""
        found = self._published
        return list(found.runtime.bundle.symbols if found else self.settings.symbols)

    def body(self, symbol: str, timeframe: str) -> bytes:
        """The answer about the closed hour, ready to send. Raises UnknownSymbolError, StaleDataError."""
        published = self.published
        coin = self.known(symbol)
        try:
            return published.bodies[coin, timeframe]
        except KeyError:
            raise StaleDataError(f"{coin} has no bar at {published.at.isoformat()}: the stream has a gap") from None

    async def asked(self, symbol: str, timeframe: str, features: dict[str, float | None]) -> Record:
        """The answer about a row that takes the place of the coin's last one."""
        question = Question(self.published, self.known(symbol), timeframe, features)
        answer = await self.batcher.ask(question)
        self.records.add([answer], [features])
        return answer

    # what runs

    async def start(self) -> None:
        """Begin to follow the hot store and the champion."""
        loops = ((self.follow, LOOK_S), (self.watch, WATCH_S))
        self._tasks = [asyncio.create_task(self._forever(step, every)) for step, every in loops]

    async def close(self) -> None:
        """Stop everything."""
        for task in self._tasks:
            task.cancel()
        for task in self._tasks:
            with contextlib.suppress(asyncio.CancelledError):
                await task
        self.batcher.close()
        await asyncio.to_thread(self._end)

    def _end(self) -> None:
        with self._work:
            self._days.close()
            self.records.close()
            self._hot.close()

    async def _forever(self, step: Callable[[], Published | None], every: float) -> None:
        name = step.__name__
        while True:
            try:
                made = await asyncio.to_thread(step)
                if made is not None:
                    self._tell(made)
                self._problems[name] = ""
            except CryptoAssetsError as error:
                if str(error) != self._problems.get(name):
                    log.warning("%s", error)
                self._problems[name] = str(error)
            except Exception:
                log.exception("what follows the lake failed, and goes on")
                self._problems[name] = "an error of the server, see its log"
            await asyncio.sleep(max(every, 1.0) if self._problems[name] else every)

    def follow(self) -> Published | None:
        """Publish the newest closed hour when it is newer than what is served."""
        closed = closed_hours(self._hot)
        if not closed:
            raise StaleDataError("no hour has closed in the hot store: run `crypto-assets stream` for this lake")
        with self._work:
            if self._published is not None and closed[-1] <= self._published.at:
                self._prepare(self._published.at + HOUR)
                return None
            if self._runtime is None:
                self._runtime = self._champion()
            return self._publish(closed[-1])

    def _prepare(self, at: datetime) -> None:
        """Make ahead what can be made of the next hour; what fails here is said when the hour closes."""
        now = time.monotonic()
        if self._prepared[0] == at and now - self._prepared[1] < PREPARE_S:
            return
        with contextlib.suppress(CryptoAssetsError):
            self._days.ahead(at)
        self._prepared = at, now

    def watch(self) -> Published | None:
        """Load another champion when there is one, and publish the same hour with it."""
        found = self._registry.aliased(CHAMPION)
        with self._work:
            known = self._runtime
        if found is None or known is None or found.bundle == known[1].bundle.version:
            return None
        if found.bundle == self._refused[0]:
            raise CheckpointError(self._refused[1])
        try:
            fresh = self._champion()
            with self._work:
                before = self._published
                if before is None:
                    return None
                made = Published.make(self.lake, fresh[1], fresh[0], before.panel, before.closes)
                self._runtime = fresh
                self.metrics.swaps.inc()
                return self._keep(made)
        except CryptoAssetsError as error:
            said = f"champion {found.number} cannot be served, the one before goes on: {error}"
            self._refused = found.bundle, said
            raise CheckpointError(said) from error

    def _champion(self) -> tuple[int, Runtime]:
        found = self._registry.aliased(CHAMPION)
        if found is None:
            raise SettingsError("no champion is registered: train one with `crypto-assets build`")
        return found.number, Runtime.open(self._registry.load(found.number), self.lake.root / "cache" / "onnx")

    def _publish(self, at: datetime) -> Published:
        started = time.perf_counter()
        assert self._runtime is not None
        number, runtime = self._runtime
        panel = self._days.panel(at)
        made = Published.make(self.lake, runtime, number, panel, self._days.closes(at, SPARK_HOURS))
        self.metrics.close_seconds.observe(time.perf_counter() - started)
        return self._keep(made)

    def _keep(self, made: Published) -> Published:
        self._published = made
        self.records.add(list(made.answers.values()))
        return made

    def _tell(self, made: Published) -> None:
        said = self.message(made)
        for listener in self.listeners:
            if listener.full():
                listener.get_nowait()
            listener.put_nowait(said)

    def message(self, made: Published) -> dict[str, Any]:
        """What a listener is told of an hour."""
        return {
            "type": "predictions",
            "at": moment(made.at),
            "age_seconds": self.age().total_seconds(),
            "predictions": list(made.answers.values()),
            "closes": made.closes,
        }
