"""The sandbox server: every provider's interface under its key, on loopback only, plus `/health`.

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
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.routing import Mount

from crypto_assets.market.errors import CryptoAssetsError, SettingsError
from crypto_assets.sandbox import endpoints
from crypto_assets.sandbox.endpoints._wire import get, json_text
from crypto_assets.sandbox.faults import Fault, FaultMiddleware, parse

if TYPE_CHECKING:
    from crypto_assets.sandbox.simulator import SimulatedMarket

HOST = "127.0.0.1"
PORT = 8765
READY_S = 60.0
"""A server that is not up by then has failed."""
Clock = Callable[[], datetime]


def clock() -> datetime:
    """The current UTC time."""
    return datetime.now(UTC)


def app(market: SimulatedMarket, now: Clock = clock, faults: Sequence[Fault | str] = ()) -> Starlette:
    """The application. It shows what is published by `now()`, and meets requests with `faults`."""
    world = endpoints.World(market, now)
    modules = endpoints.discover()
    rules = [parse(f, list(modules)) if isinstance(f, str) else f for f in faults]
    mounts = [Mount(f"/{name}", routes=module.routes(world)) for name, module in modules.items()]

    def health(_) -> object:
        found = {"status": "ok", "market": market.market, "seed": market.seed, "now": now().isoformat()}
        return json_text(json.dumps({**found, "providers": list(modules)}))

    def empty(path: str) -> bytes:
        name = path.split("/", 2)[1]
        return modules[name].EMPTY if name in modules else b"{}"

    middleware = [Middleware(FaultMiddleware, faults=rules, seed=market.seed, empty=empty)] if rules else []
    return Starlette(routes=[get("/health", health), *mounts], middleware=middleware)


def serve(
    market: str = "standard",
    seed: int = 7,
    port: int = PORT,
    faults: Sequence[str] = (),
    *,
    now: Clock = clock,
    ready: Callable[[str], None] = print,
) -> None:
    """Run until interrupted. `port` 0 takes a free one; `ready(url)` is called when connections are accepted.

    Raises SettingsError for an unknown market, a fault rule that cannot be read, and a port that is taken.
    """
    from crypto_assets.sandbox.simulator import SimulatedMarket

    application = app(SimulatedMarket(market, seed), now, faults)
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
) -> Iterator[str]:
    """The server as a child process; yields its address once it accepts connections, and stops it at the end.

    `at` freezes its clock. The child ends with this process, however that ends. Raises SettingsError with what the child said
    when it does not come up.
    """
    command = [sys.executable, "-m", __name__, "--market", market, "--seed", str(seed), "--port", str(port), "--attached"]
    command += [part for rule in faults for part in ("--fault", rule)]
    command += ["--at", at.isoformat()] if at else []
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=_environment())
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
    return uvicorn.Server(uvicorn.Config(application, log_level="warning", access_log=False, timeout_graceful_shutdown=2))


def main(arguments: Sequence[str] | None = None) -> int:
    """`python -m crypto_assets.sandbox.server`: the server by itself, printing its address when ready."""
    parser = argparse.ArgumentParser(prog="sandbox", description=__doc__)
    parser.add_argument("--market", default="standard")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--port", type=int, default=PORT)
    parser.add_argument("--fault", action="append", default=[])
    parser.add_argument("--at", type=datetime.fromisoformat, help="freeze the clock at this time")
    parser.add_argument("--attached", action="store_true", help="end when standard input closes")
    given = parser.parse_args(arguments)
    if given.attached:
        threading.Thread(target=_end_with_parent, daemon=True).start()
    at: datetime | None = given.at
    try:
        serve(
            given.market,
            given.seed,
            given.port,
            given.fault,
            now=clock if at is None else lambda: at,
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
