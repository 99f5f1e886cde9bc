"""`stream`: the real-time stream with its metrics and a live view; quiet where the output is no terminal."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table

from crypto_assets.market.errors import SettingsError
from crypto_assets.settings import Settings, load

POLLS = ("core", "all", "none")
REFRESH_S = 1.0
screen = Console(stderr=True)


def run(
    *,
    world: str | None,
    symbols: str | None,
    minutes: float | None,
    metrics_port: int | None,
    poll: str,
    lake: Path | None,
) -> dict[str, Any]:
    """Stream until Ctrl-C, SIGTERM or for so many minutes; returns what was counted."""
    from crypto_assets.lake import Lake
    from crypto_assets.lake import world as worlds
    from crypto_assets.lake.hot import open_hot
    from crypto_assets.orchestration.access import adopt, stamp
    from crypto_assets.sources import discover
    from crypto_assets.sources.stream import polling, stats
    from crypto_assets.sources.stream.service import Stream

    if poll not in POLLS:
        raise SettingsError(f"--poll {poll!r}: choose one of {', '.join(POLLS)}")
    settings = adopt(load(world=world, lake=lake, symbols=symbols))
    if settings.world == "archive":
        raise SettingsError("this lake is of world archive, which has no present: stream into a lake of world live or sandbox")
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    with reachable(settings) as ready:
        worlds.claim(Lake(ready.lake), stamp(ready))
        hot = open_hot(ready)
        try:
            stream = Stream(ready, hot, sources=polling.pollable(discover().values(), ready, poll))
            with metrics(stream.stats, metrics_port, stats.serve):
                asyncio.run(_until_stopped(stream, minutes, Path(ready.lake)))
        finally:
            hot.close()
    summary = stream.stats.summary()
    screen.print(_line(summary), highlight=False, soft_wrap=True)
    return summary


@contextmanager
def reachable(settings: Settings) -> Iterator[Settings]:
    """The settings with a sandbox that runs, where one is wanted: the one that was named, else one of our own."""
    from crypto_assets.cli.build import served

    with nullcontext(settings) if "sandbox_url" in settings.model_fields_set else served(settings) as ready:
        yield ready


@contextmanager
def metrics(found: Any, port: int | None, serve: Any) -> Iterator[None]:
    """Prometheus metrics on a port of this machine, where one is asked for."""
    if port is None:
        yield
        return
    number, stop = serve(found, port)
    screen.print(f"metrics    http://127.0.0.1:{number}/metrics", highlight=False)
    try:
        yield
    finally:
        stop()


async def _until_stopped(stream: Any, minutes: float | None, lake: Path) -> None:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopping.set)
    if minutes is not None:
        loop.call_later(60 * minutes, stopping.set)
    coins = " ".join(stream.settings.symbols)
    screen.print(f"stream     {coins} of {', '.join(stream.providers)} into {lake.resolve()}; Ctrl-C stops", highlight=False)
    job = asyncio.ensure_future(stream.run(stopping))
    with Live(console=screen, auto_refresh=False, transient=True) if screen.is_terminal else nullcontext() as live:
        before: dict[tuple[str, str], int] = {}
        while not job.done():
            await asyncio.wait([job], timeout=REFRESH_S)
            if live is not None:
                live.update(view(stream.stats, before), refresh=True)
    job.result()


def view(stats: Any, before: dict[tuple[str, str], int]) -> Group:
    """Channels, coins and slow tables as they are now; `before` holds the messages at the last look."""
    channels = Table(title=_line(stats.summary()), title_justify="left", box=None)
    for name in ("", "messages", "a second", "reconnects", "gaps", "repaired", "duplicates", "lag s"):
        channels.add_column(name, justify="left" if not name else "right")
    for provider, channel in sorted({(p, c) for (what, p, c) in stats.counts if what == "connects"}):
        n = stats.counts["messages", provider, channel]
        rate = (n - before.get((provider, channel), n)) / REFRESH_S
        before[provider, channel] = n
        others = [str(stats.counts[what, provider, channel]) for what in ("reconnects", "gaps", "repaired", "duplicates")]
        lag = f"{stats.lag_ms.get(provider, 0) / 1000:.2f}" if channel != "depth" else ""
        channels.add_row(f"{provider} {channel}", f"{n:,}", f"{rate:,.0f}", *others, lag)
    coins = Table(box=None)
    for name in ("", *sorted({provider for provider, _ in stats.prices})):
        coins.add_column(name, justify="right" if name else "left")
    for symbol in sorted({symbol for _, symbol in stats.prices}):
        found = [stats.prices.get((column.header, symbol)) for column in coins.columns[1:]]
        coins.add_row(symbol, *("" if price is None else f"{price:,.6g}" for price in found))
    polled = Table(box=None, show_header=False)
    for name, said in sorted(stats.polled.items()):
        polled.add_row(name, said)
    return Group(channels, coins, polled)


def _line(summary: dict[str, Any]) -> str:
    late = summary["delay_p99_s"]
    return (
        f"{summary['seconds']:,.0f} s, {summary['messages']:,} messages, {summary['rows']:,} rows stored, "
        f"p99 to the store {'-' if late is None else f'{late:.2f} s'}, {summary['reconnects']} reconnects, "
        f"{summary['repaired']} repaired, {summary['absent']} absent"
    )
