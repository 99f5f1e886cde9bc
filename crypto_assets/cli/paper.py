"""`paper` and `parity`: a paper account on the stream, or on history lived through again, and the proof that both are the
batch.
"""

from __future__ import annotations

import re
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from rich.console import Console

from crypto_assets.market.errors import SettingsError, StaleDataError
from crypto_assets.market.time import DAY, HOUR, midnight
from crypto_assets.settings import Settings, load

MODEL, STRATEGY = "lightgbm", "relative_24h"
LOOK_S = 1.0
"""Seconds between two looks for a closed hour."""
LIMITS = ("none", "prudent")
MONTH = re.compile(r"\d{4}-\d\d")
screen = Console(stderr=True)


def run(
    *,
    name: str,
    model: str,
    strategy: str,
    capital: float,
    limits: str,
    lake: Path | None,
    symbols: str | None,
    minutes: float | None,
    until: datetime | None,
    replay: str | None,
    speed: float,
    metrics_port: int | None,
    files: tuple[str, ...] = (),
) -> dict[str, Any]:
    """Trade on paper until Ctrl-C, SIGTERM, `minutes` or `until`, or to the end of a replay; returns the account."""
    asked = {"model": model, "strategy": strategy, "capital_usd": capital, "limits": _limits(limits), "files": files}
    if replay is None:
        _check(asked)
        return _follow(_settings(lake, symbols), name, asked, minutes, until, metrics_port)
    if minutes is not None or until is not None:
        raise SettingsError(
            "--minutes and --until end a live account: a replay ends with its days, --replay 2024-11-05..2024-11-09"
        )
    first, last = days_of(replay)
    _check(asked)
    settings = _settings(lake, symbols)
    if MONTH.fullmatch(replay):
        first, last = _of_month(settings, model, first, last)
    return _replay(settings, name, asked, first, last, speed, metrics_port)


def parity(
    *,
    first: date,
    last: date,
    model: str,
    strategy: str,
    lake: Path | None,
    symbols: str | None,
    speed: float,
    in_process: bool,
    served: bool = False,
) -> dict[str, Any]:
    """Live through the days and compare with the batch; `served`: with the forecasts that the HTTP interface gives."""
    from crypto_assets.evaluation import parity as compared
    from crypto_assets.lake import Lake

    asked = {"model": model, "strategy": strategy}
    _check_days(first, last)
    _check(asked)
    settings = _settings(lake, symbols)
    whole = Lake(settings.lake)
    with (
        tempfile.TemporaryDirectory(prefix="parity-") as folder,
        _past(settings, Path(folder), "parity", asked, first, last, served=served) as lived,
    ):
        for hour in lived.through(midnight(last) + DAY, None if in_process else speed):
            _say(hour, lived.plan)
        rows = lived.past.lake.scan("forecasts/latest").collect()
        result = compared.compare(whole, rows, lived.ledger, lived.plan, midnight(last) + DAY, is_served=served)
    result["through"] = ("in process" if in_process else "sandbox, stream, hot store") + (
        ", served over HTTP" if served else ""
    )
    for found in result["differences"]:
        screen.print(found["text"], style="red", markup=False, highlight=False, soft_wrap=True)
    verdict = "parity" if not result["differences"] else "NO parity"
    screen.print(
        f"{verdict}: {result['forecasts']:,} forecasts of {model}, {result['trades']} fills of {strategy}, "
        f"{result['hours']} hours, "
        f"through {result['through']}; largest difference {max(result['largest'].values()):.3g}, "
        f"tolerance {result['tolerance']:g} of the value"
        + (f", of a forecast {result['tolerance_of_forecasts']:g}" if served else ""),
        highlight=False,
        soft_wrap=True,
    )
    return result


class _Lived:
    """A past lake with an account in it."""

    def __init__(self, past: Any, hot: Any, trader: Any) -> None:
        self.past, self.hot, self.trader, self.ledger, self.plan = past, hot, trader, trader.ledger, trader.plan

    def through(self, until: datetime, speed: float | None) -> Iterator[Any]:
        """Every hour to `until`: by a sandbox in replay and the stream, or, without a speed, fed in this process."""
        from crypto_assets.evaluation.lived import Replayed, live_through, starts_at
        from crypto_assets.evaluation.replayed import Feeder

        if speed is not None:
            from crypto_assets.sandbox.server import running

            if self.trader.at >= until:
                return
            with (
                running(replay=self.past.whole.root, at=starts_at(self.trader.at), speed=1.0) as url,
                Replayed(url, self.past, self.hot, self.plan.symbols, speed) as replayed,
            ):
                yield from live_through(replayed, self.trader, until)
            return
        feeder = Feeder(self.past, self.hot, self.plan.symbols)
        while self.trader.at < until:
            at = self.trader.at + HOUR
            feeder.feed(at)
            yield from self.trader.follow(at)
            self.past.reveal(at)


@contextmanager
def _past(
    settings: Settings,
    folder: Path,
    name: str,
    asked: dict[str, Any],
    first: date,
    last: date,
    *,
    root: Path | None = None,
    served: bool = False,
) -> Iterator[_Lived]:
    """The lake as of `first`, or as of the hour an account stands at, and the account (its ledger under `root`).

    Raises LakeError, before anything is written, where the lake has not all it takes to live from `first` to `last`.
    """
    from crypto_assets.evaluation.replayed import PastLake, check_livable, open_hot_of
    from crypto_assets.lake import Lake
    from crypto_assets.trading.paper import Plan
    from crypto_assets.trading.paper_ledger import PaperLedger, ledger_path

    whole = Lake(settings.lake)
    check_livable(whole, asked["model"], first, last)
    with ExitStack() as stack:
        ledger = PaperLedger(ledger_path(root or folder, name))
        stack.callback(ledger.close)
        plan = Plan(name=name, symbols=tuple(settings.symbols), begins=midnight(first), **asked)
        newest = ledger.newest()
        today = first if newest is None else max(first, newest["ts"].date())
        past = PastLake(whole, folder, today)
        hot = open_hot_of(past)
        stack.callback(hot.close)
        made = _served(past, hot, ledger, plan, first, last) if served else _trader(past, hot, ledger, plan)
        yield _Lived(past, hot, stack.enter_context(made))


@contextmanager
def _trader(past: Any, hot: Any, ledger: Any, plan: Any) -> Iterator[Any]:
    from crypto_assets.evaluation.paper import Trader

    with closing(Trader(past.lake, hot, ledger, plan, keeps=True)) as trader:
        yield trader


@contextmanager
def _served(past: Any, hot: Any, ledger: Any, plan: Any, first: date, last: date) -> Iterator[Any]:
    """A trader that asks the interface, served from the past lake."""
    from crypto_assets.serving.lived import Driven, ServedTrader, bundle_for, serving
    from crypto_assets.sources.stream.writer import closed_hours

    bundle = bundle_for(past.lake, plan.model, first, last)
    settings = load(lake=past.lake.root, symbols=",".join(plan.symbols)).model_copy(update={"redis_url": None})
    service = Driven(settings, bundle, clock=lambda: closed_hours(hot)[-1])
    with (
        serving(service) as url,
        closing(ServedTrader(service, url, bundle, past.lake, hot, ledger, plan, keeps=True)) as trader,
    ):
        yield trader


def _replay(
    settings: Settings, name: str, asked: dict[str, Any], first: date, last: date, speed: float, metrics_port: int | None
) -> dict[str, Any]:
    from crypto_assets.evaluation import paper_report
    from crypto_assets.evaluation.lived import folder_of
    from crypto_assets.evaluation.paper import summary

    folder = folder_of(settings.lake, name)
    with _past(settings, folder, name, asked, first, last, root=settings.lake) as lived, stopping() as stop:
        screen.print(f"paper      {first} to {last} lived through again; ledger {lived.ledger.path}", highlight=False)
        with _metrics(lived.ledger, lived.plan, lived.trader.newest, lambda: lived.trader.at, metrics_port):
            for hour in lived.through(midnight(last) + DAY, speed):
                _say(hour, lived.plan)
                paper_report.write_due(settings.lake, lived.ledger, lived.plan)
                if stop.is_set():
                    break
        paper_report.write_due(settings.lake, lived.ledger, lived.plan)
        result = summary(lived.ledger, lived.plan)
        is_done = lived.trader.at >= midnight(last) + DAY
    if is_done:
        shutil.rmtree(folder, ignore_errors=True)
    _conclude(settings, result, "over" if is_done else "stopped, the same command goes on")
    return result


def _follow(
    settings: Settings,
    name: str,
    asked: dict[str, Any],
    minutes: float | None,
    until: datetime | None,
    metrics_port: int | None,
) -> dict[str, Any]:
    from crypto_assets.evaluation import paper_report
    from crypto_assets.evaluation.paper import Trader, summary
    from crypto_assets.lake import Lake
    from crypto_assets.lake.hot import open_hot
    from crypto_assets.trading.paper_ledger import PaperLedger, ledger_path

    if settings.world == "archive":
        raise SettingsError("this lake is of world archive, which has no present: live through its past with --replay 2024-11")
    lake = Lake(settings.lake)
    with ExitStack() as stack:
        hot = open_hot(settings)
        stack.callback(hot.close)
        ledger = PaperLedger(ledger_path(lake.root, name))
        stack.callback(ledger.close)
        plan = _live_plan(settings, hot, ledger, name, asked)
        now = _now(settings)
        trader = Trader(lake, hot, ledger, plan, now=now)
        stack.callback(trader.close)
        stack.enter_context(_metrics(ledger, plan, trader.newest, now, metrics_port))
        stop = stack.enter_context(stopping())
        screen.print(f"paper      {strategy_line(plan)}; ledger {ledger.path}; Ctrl-C stops", highlight=False, soft_wrap=True)
        late = None if minutes is None else time.monotonic() + 60 * minutes
        while True:
            for hour in trader.follow(until):
                _say(hour, plan)
                paper_report.write_due(lake.root, ledger, plan)
                if stop.is_set():
                    break
            is_over = until is not None and trader.at + HOUR > until
            if is_over or stop.is_set() or (late is not None and time.monotonic() >= late):
                break
            stop.wait(LOOK_S)
        paper_report.write_due(lake.root, ledger, plan)
        result = summary(ledger, plan)
        _conclude(settings, result, "stopped, the same command goes on")
        return result


def _conclude(settings: Settings, result: dict[str, Any], how: str) -> None:
    """Say where the account stands."""
    from crypto_assets.evaluation.paper_report import reports_folder

    gain = result["equity_usd"] / result["capital_usd"] - 1
    screen.print(
        f"{how}: equity {result['equity_usd']:,.2f} ({gain:+.2%}) after {result['hours']} hours, {result['fills']} fills, "
        f"{result['limited']} orders cut by a limit, {result['complaints']} complaints; "
        f"days in {reports_folder(settings.lake, result['name'])}",
        highlight=False,
        soft_wrap=True,
    )


def _live_plan(settings: Settings, hot: Any, ledger: Any, name: str, asked: dict[str, Any]) -> Any:
    """The account that is there, or a new one that begins with the newest closed hour."""
    from dataclasses import replace

    from crypto_assets.sources.stream.writer import closed_hours
    from crypto_assets.trading.paper import Plan

    found = ledger.plan()
    if found is not None:
        return replace(found, **asked)
    marks = closed_hours(hot)
    if not marks:
        raise StaleDataError(
            "no hour has closed in the hot store: run `crypto-assets stream` for this lake, in another terminal"
        )
    return Plan(name=name, symbols=tuple(settings.symbols), begins=marks[-1], **asked)


def strategy_line(plan: Any) -> str:
    """What is traded, in words."""
    begins = f"{plan.begins:%Y-%m-%d %H:%M}"
    return f"{plan.strategy} on {plan.model}, {len(plan.symbols)} coins, {plan.capital_usd:,.0f} USD from {begins}"


def days_of(text: str) -> tuple[date, date]:
    """First and last day of `2024-11`, `2024-11-05` or `2024-11-05..2024-11-09`. Raises SettingsError for anything else."""
    try:
        if MONTH.fullmatch(text):
            first = date.fromisoformat(f"{text}-01")
            return first, (first + timedelta(days=32)).replace(day=1) - DAY
        begin, _, end = text.partition("..")
        days = date.fromisoformat(begin), date.fromisoformat(end or begin)
    except ValueError as error:
        raise SettingsError(f"--replay {text!r}: write a month 2024-11, a day 2024-11-05, or 2024-11-05..2024-11-09") from error
    _check_days(*days)
    return days


def _of_month(settings: Settings, model: str, first: date, last: date) -> tuple[date, date]:
    """Those days of a month that the lake and the model have. Raises LakeError where there is none."""
    from crypto_assets.evaluation.replayed import begun
    from crypto_assets.lake import Lake
    from crypto_assets.market.errors import LakeError

    whole = Lake(settings.lake)
    there, start = whole.days("curated/candles"), begun(whole, model)
    found = [day for day in there[1:] if max(first, start) <= day <= last]
    if not found:
        has = f"candles from {there[0]} to {there[-1]}" if there else "no candles"
        raise LakeError(f"{whole.root} has {has}, and {model} from {start} on, nothing of {first:%Y-%m}: name another month")
    if (found[0], found[-1]) != (first, last):
        screen.print(f"of {first:%Y-%m} there is {found[0]} to {found[-1]}", highlight=False)
    return found[0], found[-1]


def _check(asked: dict[str, Any]) -> None:
    """Refuse what no account can be, before anything is opened."""
    from crypto_assets.evaluation.closed_hour import members_of
    from crypto_assets.trading.paper import Plan

    Plan(name="asked", symbols=(), begins=datetime(2024, 1, 1, tzinfo=UTC), **asked)
    members_of(asked["model"])


def _check_days(first: date, last: date) -> None:
    if last < first:
        raise SettingsError(f"{first} is after {last}: swap the two dates")


def _settings(lake: Path | None, symbols: str | None) -> Settings:
    from crypto_assets.lake import Lake, world
    from crypto_assets.orchestration.access import adopt

    settings = adopt(load(lake=lake, symbols=symbols))
    if world.read(Lake(settings.lake)) is None:
        raise SettingsError(f"{settings.lake} is no lake yet: run `crypto-assets demo` or `build`, or name one with --lake")
    return settings.model_copy(update={"lake": Lake(settings.lake).root})


def _limits(name: str) -> Any:
    from crypto_assets.trading.limits import NO_LEVERAGE, PRUDENT

    if name not in LIMITS:
        raise SettingsError(f"--limits {name!r}: choose one of {', '.join(LIMITS)}")
    return PRUDENT if name == "prudent" else NO_LEVERAGE


def _now(settings: Settings) -> Any:
    """The time of the world: this machine's, or the sandbox's where one was named."""
    if settings.world == "live" or "sandbox_url" not in settings.model_fields_set:
        return lambda: datetime.now(UTC)
    from crypto_assets.sources._http import Http

    return Http.of(settings).now


@contextmanager
def _metrics(ledger: Any, plan: Any, newest: Any, now: Any, port: int | None) -> Iterator[None]:
    if port is None:
        yield
        return
    from crypto_assets.monitoring.paper_metrics import PaperMetrics, serve

    number, stop = serve(PaperMetrics(ledger, plan, newest, now), port)
    screen.print(f"metrics    http://127.0.0.1:{number}/metrics", highlight=False)
    try:
        yield
    finally:
        stop()


@contextmanager
def stopping() -> Iterator[threading.Event]:
    """Set by Ctrl-C and SIGTERM: the hour at hand is finished first."""
    stop = threading.Event()
    before = {number: signal.signal(number, lambda *_: stop.set()) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _say(hour: Any, plan: Any) -> None:
    from crypto_assets.evaluation.paper import line

    screen.print(line(hour, plan), highlight=False, markup=False, soft_wrap=True)
