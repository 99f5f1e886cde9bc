"""The WebSocket side of both Binance hosts: `/ws/<stream>...` raw, `/stream?streams=a/b` combined, and what clients may ask.

SUBSCRIBE, UNSUBSCRIBE and LIST_SUBSCRIPTIONS are answered `{"result": ..., "id": ...}`; a stream that does not exist, or that
the route does not carry, is acknowledged too and says nothing. Too many requests in a second close the connection, as does a
clock that is set back. The server pings every 20 seconds and closes when no pong comes within 60 (`server.py`).
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import deque
from operator import itemgetter

from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from crypto_assets.sandbox.endpoints import World
from crypto_assets.sandbox.endpoints._binance_streams import Message, Stream, parse
from crypto_assets.sandbox.endpoints._wire import to_ms

WAKE_S = 0.02
"""Pause between two looks at the clock."""
CHUNK_MS = 600_000
"""So much of the world's time is told at once at most."""
TURN = 256
"""After so many messages the others have their turn."""
MOST_STREAMS = 1024
REQUESTS_A_SECOND = {"spot": 5, "perp": 10}
POLICY_VIOLATION, SERVICE_RESTART = 1008, 1012
METHODS = ("SUBSCRIBE", "UNSUBSCRIBE", "LIST_SUBSCRIPTIONS", "SET_PROPERTY", "GET_PROPERTY")
EVERY: tuple[str, ...] = ("",)
"""Channels of a route that carries all."""


def routes(world: World, venue: str, prefix: str = "", carries: tuple[str, ...] = EVERY) -> list[WebSocketRoute]:
    """Both kinds of connection under `prefix`; only channels that begin with one of `carries` say anything."""

    def at(path: str, is_combined: bool) -> WebSocketRoute:
        async def endpoint(socket: WebSocket) -> None:
            await Connection(socket, world, venue, is_combined, carries).serve()

        return WebSocketRoute(f"{prefix}{path}", endpoint)

    raw, combined = ("/ws", "/ws/{streams:path}"), ("/stream", "/stream/{rest:path}")
    return [*(at(path, False) for path in raw), *(at(path, True) for path in combined)]


class Connection:
    """One client: its streams, each with the time up to which it has been told."""

    def __init__(self, socket: WebSocket, world: World, venue: str, is_combined: bool, carries: tuple[str, ...]) -> None:
        self.socket, self.world, self.venue, self.is_combined, self.carries = socket, world, venue, is_combined, carries
        self.told: dict[str, int] = {}
        """Stream name -> time (ms)."""
        self.streams: dict[str, Stream] = {}
        """Those of them that say something."""
        self.asked: deque[float] = deque(maxlen=REQUESTS_A_SECOND[venue] + 1)
        """Times of the last requests."""

    async def serve(self) -> None:
        """Until either side leaves."""
        await self.socket.accept()
        given = self.socket.path_params.get("streams", "") or self.socket.query_params.get("streams", "")
        self._subscribe([name for name in given.split("/") if "@" in name])
        tasks = [asyncio.create_task(self._listen()), asyncio.create_task(self._tell())]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        except WebSocketDisconnect:
            pass
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _listen(self) -> None:
        while True:
            text = await self.socket.receive_text()
            self.asked.append(time.monotonic())
            if len(self.asked) == self.asked.maxlen and self.asked[-1] - self.asked[0] < 1.0:
                return await self.socket.close(POLICY_VIOLATION, "Too many requests")
            await self.socket.send_text(json.dumps(self._answer(text), separators=(",", ":")))

    def _answer(self, text: str) -> dict:
        try:
            request = json.loads(text)
            method, params, number = request["method"], request.get("params") or [], request.get("id")
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            return _refusal(3 if isinstance(error, ValueError) else 2, f"Invalid request: {error}", None)
        if method not in METHODS:
            expected = ", ".join(f"`{name}`" for name in METHODS)
            return _refusal(2, f"Invalid request: unknown variant `{method}`, expected one of {expected}", number)
        if not isinstance(params, list):
            return _refusal(2, "Invalid request: params must be a list", number)
        if method == "SET_PROPERTY":
            return self._set_property(params, number)
        if method in ("SUBSCRIBE", "UNSUBSCRIBE"):
            if not all(isinstance(name, str) for name in params):
                return _refusal(2, "Invalid request: every stream must be a string", number)
            if method == "SUBSCRIBE" and len(self.told.keys() | set(params)) > MOST_STREAMS:
                return _refusal(2, f"Invalid request: at most {MOST_STREAMS} streams", number)
            (self._subscribe if method == "SUBSCRIBE" else self._unsubscribe)(params)
            return {"result": None, "id": number}
        return {"result": list(self.told) if method == "LIST_SUBSCRIPTIONS" else self.is_combined, "id": number}

    def _set_property(self, params: list, number: object) -> dict:
        if len(params) != 2 or params[0] != "combined" or not isinstance(params[1], bool):
            return _refusal(0, "Unknown property", number)
        self.is_combined = params[1]
        return {"result": None, "id": number}

    def _subscribe(self, names: list[str]) -> None:
        now = to_ms(self.world.now())
        for name in names:
            if name in self.told:
                continue
            self.told[name] = now
            stream = parse(self.world, self.venue, name)
            if stream is not None and stream.channel.startswith(self.carries):
                self.streams[name] = stream

    def _unsubscribe(self, names: list[str]) -> None:
        for name in names:
            self.told.pop(name, None)
            self.streams.pop(name, None)

    async def _tell(self) -> None:
        """Send what happens, in the order of time."""
        until = to_ms(self.world.now())
        while True:
            now = to_ms(self.world.now())
            if now < until:
                return await self.socket.close(SERVICE_RESTART, "the clock was set back")
            while until < now:
                until = min(now, until + CHUNK_MS)
                for n, text in enumerate(self._messages(until), 1):
                    await self.socket.send_text(text)
                    if n % TURN == 0:
                        await asyncio.sleep(0)
            await asyncio.sleep(WAKE_S)

    def _messages(self, until: int) -> list[str]:
        found: list[Message] = []
        for name, stream in self.streams.items():
            messages = stream.messages(self.told[name], until)
            self.told[name] = max(self.told[name], until)
            if self.is_combined:
                messages = [(at, f'{{"stream":"{name}","data":{text}}}') for at, text in messages]
            found += messages
        found.sort(key=itemgetter(0))
        return [text for _, text in found]


def _refusal(code: int, message: str, number: object) -> dict:
    return {"error": {"code": code, "msg": message}, "id": number}
