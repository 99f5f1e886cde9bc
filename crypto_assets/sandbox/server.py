"""The sandbox server: every provider's interface under its key, on loopback only, plus `/health` and `/clock`.

`serve` runs it in this process, `running` as a child process that ends with its parent, `serving` in a thread.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, cast

import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route

from crypto_assets.market.errors import CryptoAssetsError, SettingsError
from crypto_assets.sandbox import endpoints
from crypto_assets.sandbox.clock import Clock, Now, shown
from crypto_assets.sandbox.endpoints._wire import get, json_text
from crypto_assets.sandbox.faults import Fault, parse
from crypto_assets.sandbox.misbehaviour import FaultMiddleware
from crypto_assets.sandbox.replay import ReplayMarket

if TYPE_CHECKING:
    from crypto_assets.sandbox.simulator import SimulatedMarket

HOST = "127.0.0.1"
PORT = 8765
READY_S = 60.0
"""A server that is not up by then has failed."""
PING_S, PONG_S = 20.0, 60.0
"""A WebSocket is pinged so often, and closed when it has not answered after so long."""


def app(market: SimulatedMarket | ReplayMarket, now: Now | None = None, faults: Sequence[Fault | str] = ()) -> Starlette:
    """The application. It shows what is published by `now()` (the real time), and meets requests with `faults`.

    `POST /clock` sets the time if `now` is a `Clock`. A replay has the providers of its tables only.
    """
    now = now or Clock()
    world = endpoints.World(cast("SimulatedMarket", market), shown(now))  # a replay has what its own endpoints ask for
    modules = endpoints.discover()
    if isinstance(market, ReplayMarket):
        modules = {name: module for name, module in modules.items() if name in market.providers}
    rules = [parse(f, list(modules)) if isinstance(f, str) else f for f in faults]
    mounts = [Mount(f"/{name}", routes=module.routes(world)) for name, module in modules.items()]

    def health(_) -> object:
        found = {"status": "ok", "market": market.market, "seed": market.seed, "now": now().isoformat(), "speed": _speed(now)}
        return json_text(json.dumps({**found, "providers": list(modules)}))

    def empty(path: str) -> bytes:
        name = path.split("/", 2)[1]
        return modules[name].EMPTY if name in modules else b"{}"

    middleware = [Middleware(FaultMiddleware, faults=rules, seed=market.seed, empty=empty)] if rules else []

    async def set_clock(request: Request) -> Response:
        return _set_clock(now, await request.body())

    routes = [get("/health", health), Route("/clock", set_clock, methods=["POST"]), *mounts]
    return Starlette(routes=routes, middleware=middleware)


def _speed(now: Now) -> float | None:
    return now.speed if isinstance(now, Clock) else None


def _set_clock(now: Now, body: bytes) -> Response:
    """`{"now": ISO time}`, `{"advance_s": seconds}` and `{"speed": X}`, in this order; answers what holds then."""
    try:
        asked = json.loads(body)
        if not isinstance(now, Clock):
            raise SettingsError("the clock of this server is given by who started it: start it with --at or --speed")
        if not isinstance(asked, dict) or not asked or asked.keys() - {"now", "speed", "advance_s"}:
            raise SettingsError(f"found {asked!r}: expected now, speed or advance_s")
        moment = datetime.fromisoformat(asked["now"]) if "now" in asked else None
        speed, advance_s = (None if asked.get(k) is None else float(asked[k]) for k in ("speed", "advance_s"))
        now.set(now=moment, speed=speed, advance_s=advance_s or 0.0)
    except (SettingsError, ValueError, TypeError, OverflowError) as error:
        return json_text(json.dumps({"error": f"clock: {error}"}), 400)
    return json_text(json.dumps({"now": now().isoformat(), "speed": now.speed}))


def serve(
    market: str = "standard",
    seed: int = 7,
    port: int = PORT,
    faults: Sequence[str] = (),
    *,
    at: datetime | None = None,
    speed: float | None = None,
    replay: Path | str | None = None,
    ready: Callable[[str], None] = print,
) -> None:
    """Run until interrupted. `port` 0 takes a free one; `ready(url)` is called when connections are accepted.

    The clock starts at `at` and runs at `speed` (see `Clock`). With `replay` the history of that lake is served in place of the
    simulated market, from its first bar on where `at` is not given. Raises SettingsError for an unknown market, a fault rule
    that cannot be read, a port that is taken, and a lake without history.
    """
    from crypto_assets.sandbox.simulator import SimulatedMarket

    if replay is None:
        application = app(SimulatedMarket(market, seed), Clock(at, speed), faults)
    else:
        history = ReplayMarket(replay, seed)
        clock = Clock(at, speed) if at else Clock(history.start, 1.0 if speed is None else speed)
        application = app(history, clock, faults)
    with _listening(port) as (found, url):
        ready(url)
        _server(application).run(sockets=[found])


@contextlib.contextmanager
def serving(application: Starlette, port: int = 0) -> Iterator[str]:
    """The application in a thread of this process; yields its address."""
    with _listening(port) as (found, url):
        server = _server(application)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [found]}, name="sandbox", daemon=True)
        thread.start()
        try:
            yield url
        finally:
            server.should_exit = True
            thread.join(10)


@contextlib.contextmanager
def running(
    market: str = "standard",
    seed: int = 7,
    *,
    port: int = 0,
    faults: Sequence[str] = (),
    at: datetime | None = None,
    speed: float | None = None,
    replay: Path | str | None = None,
) -> Iterator[str]:
    """The server as a child process; yields its address once it accepts connections, and stops it at the end.

    `at` starts its clock there, standing still unless `speed` is given; `replay` is a lake whose history it serves. The child
    ends with this process, however that ends, but not by Ctrl-C: its parent may have an hour to finish. Raises SettingsError
    with what the child said when it does not come up.
    """
    command = [sys.executable, "-m", __name__, "--market", market, "--seed", str(seed), "--port", str(port), "--attached"]
    command += [part for rule in faults for part in ("--fault", rule)]
    options = {"--at": at and at.isoformat(), "--speed": speed, "--replay": replay}
    command += [part for name, value in options.items() if value is not None for part in (name, str(value))]
    child = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=_environment(), start_new_session=True
    )
    try:
        yield _address(child)
    finally:
        child.terminate()
        try:
            child.wait(10)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
        for stream in (child.stdin, child.stdout):
            if stream is not None:
                stream.close()


def _address(child: subprocess.Popen[str]) -> str:
    """The address the child prints when it is ready."""
    late = threading.Timer(READY_S, child.kill)
    late.start()
    try:
        line = child.stdout.readline().strip() if child.stdout else ""
    finally:
        late.cancel()
    if not line.startswith("http"):
        raise SettingsError(f"the sandbox did not start: {line or f'it said nothing in {READY_S:g} s'}")
    return line


def _environment() -> dict[str, str]:
    """The environment of this process, with this package importable."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}


@contextlib.contextmanager
def _listening(port: int) -> Iterator[tuple[socket.socket, str]]:
    """A socket on loopback that already queues connections, and its address."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as found:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            found.bind((HOST, port))
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or error
            raise SettingsError(f"port {port} of {HOST} cannot be used ({reason}): choose another with --port") from error
        found.listen(256)
        yield found, f"http://{HOST}:{found.getsockname()[1]}"


def _server(application: Starlette) -> uvicorn.Server:
    config = uvicorn.Config(
        application,
        log_level="warning",
        access_log=False,
        timeout_graceful_shutdown=2,
        ws_ping_interval=PING_S,
        ws_ping_timeout=PONG_S,
        ws_per_message_deflate=False,
    )
    return uvicorn.Server(config)


def main(arguments: Sequence[str] | None = None) -> int:
    """`python -m crypto_assets.sandbox.server`: the server by itself, printing its address when ready."""
    parser = argparse.ArgumentParser(prog="sandbox", description=__doc__)
    parser.add_argument("--market", default="standard")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--port", type=int, default=PORT)
    parser.add_argument("--fault", action="append", default=[])
    parser.add_argument(
        "--at", type=datetime.fromisoformat, help="start the clock at this time; it stands still without --speed"
    )
    parser.add_argument("--speed", type=float, help="seconds of the sandbox in a real second")
    parser.add_argument("--replay", help="serve the history of this lake")
    parser.add_argument("--attached", action="store_true", help="end when standard input closes")
    given = parser.parse_args(arguments)
    if given.attached:
        threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        serve(
            given.market,
            given.seed,
            given.port,
            given.fault,
            at=given.at,
            speed=given.speed,
            replay=given.replay,
            ready=lambda url: print(url, flush=True),
        )
    except CryptoAssetsError as error:
        print(error, flush=True)
        return 2
    except KeyboardInterrupt:
        pass
    return 0


def _end_with_parent() -> None:
    sys.stdin.read()
    os._exit(0)


if __name__ == "__main__":
    sys.exit(main())
