"""A server whose time the test steps, and plain WebSocket clients for it."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

import httpx
from websockets.sync.client import ClientConnection, connect

from crypto_assets.sandbox.clock import Clock
from crypto_assets.sandbox.server import app, serving
from crypto_assets_tests.sources.loopback import market

WAIT_S = 10.0


@dataclass
class Sandbox:
    """A server at a clock."""

    url: str
    clock: Clock

    @contextlib.contextmanager
    def socket(self, path: str) -> Iterator[ClientConnection]:
        with connect(self.url.replace("http", "ws") + path, proxy=None, open_timeout=WAIT_S) as found:
            yield found

    def get(self, path: str, **params) -> object:
        return httpx.get(self.url + path, params=params, trust_env=False, timeout=WAIT_S).json()

    def told(self, path: str, streams: Sequence[str], seconds: float, last: str) -> list[dict]:
        """Messages of `streams` while the clock moves by `seconds`; they end with the first of the stream `last` at its end."""
        with self.socket(f"{path}?streams={'/'.join(streams)}") as socket:
            ask(socket, "LIST_SUBSCRIPTIONS")
            self.clock.set(advance_s=seconds)
            end = round(self.clock().timestamp() * 1000)
            found = []
            while True:
                found.append(json.loads(socket.recv(WAIT_S)))
                if found[-1]["stream"] == last and found[-1]["data"]["E"] >= end:
                    return found


@contextlib.contextmanager
def sandbox(at: datetime, faults: Sequence[str] = (), speed: float = 0.0, of=None) -> Iterator[Sandbox]:
    """A server of the standard market (or of another one) at `at`."""
    clock = Clock(at, speed)
    with serving(app(of or market(), clock, faults)) as url:
        yield Sandbox(url, clock)


def ask(socket: ClientConnection, method: str, *params: object, number: int = 1) -> dict:
    """The answer to a request; data that comes before it is passed over."""
    socket.send(json.dumps({"method": method, "params": list(params), "id": number}))
    while True:
        found = json.loads(socket.recv(WAIT_S))
        if isinstance(found, dict) and found.get("id") == number:
            return found
