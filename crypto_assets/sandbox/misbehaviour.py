"""The middleware that meets requests and WebSockets with the faults they are due (`sandbox/faults.py` says which)."""

from __future__ import annotations

import asyncio
import logging
import math
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence

from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from crypto_assets.sandbox.clock import skew
from crypto_assets.sandbox.damage import KINDS as DAMAGE
from crypto_assets.sandbox.damage import damage
from crypto_assets.sandbox.faults import Fault

PAGE = b"<!DOCTYPE html><html><head><title>503</title></head><body><h1>Down for maintenance</h1></body></html>"
REFUSALS = ("429", "500")
PER_CONNECTION = (*REFUSALS, "clock_skew")
"""Kinds that befall a WebSocket as a whole."""
GOING_AWAY = 1001


class FaultMiddleware:
    """ASGI middleware. Times are real seconds since it was made; `empty(path)` is the body that says nothing."""

    def __init__(self, app: ASGIApp, faults: Sequence[Fault], seed: int, empty: Callable[[str], bytes]) -> None:
        self.app, self.faults, self.seed, self.empty = app, tuple(faults), seed, empty
        self._began = time.monotonic()
        self._lock = threading.Lock()
        self._requests = Turns(self.faults, seed)
        self._connections = Turns(self.faults, seed)
        logging.getLogger("uvicorn.error").addFilter(_is_no_disconnect)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request or one WebSocket, well or badly."""
        if scope["type"] not in ("http", "websocket"):
            return await self.app(scope, receive, send)
        provider = scope["path"].split("/", 2)[1]
        is_socket = scope["type"] == "websocket"
        with self._lock:
            due = (self._connections if is_socket else self._requests).due(provider, self.age_s)
        token = skew.set(sum(f.value for f in due if f.kind == "clock_skew"))
        try:
            if is_socket:
                await self._socket(provider, due, scope, receive, send)
            else:
                await self._request(due, scope, receive, send)
        finally:
            skew.reset(token)

    @property
    def age_s(self) -> float:
        """Real seconds since the server started."""
        return time.monotonic() - self._began

    async def _request(self, due: list[Fault], scope: Scope, receive: Receive, send: Send) -> None:
        await asyncio.sleep(sum(f.value for f in due if f.kind == "latency"))
        fault = next((f for f in due if f.kind not in ("latency", "clock_skew")), None)
        if fault is None:
            await self.app(scope, receive, send)
        elif fault.kind in (*REFUSALS, "html", "empty"):
            await self._answer(fault, scope["path"])(scope, receive, send)
        else:
            rng = random.Random(f"{self.seed}:{fault.kind}:{scope['path']}:{scope.get('query_string', b'')!r}")
            await self.app(scope, receive, Spoiled(send, fault.kind, rng))

    async def _socket(self, provider: str, due: list[Fault], scope: Scope, receive: Receive, send: Send) -> None:
        refusal = next((f for f in due if f.kind in REFUSALS), None)
        if refusal is not None:
            return await self._answer(refusal, scope["path"])(scope, receive, send)
        faults = [f for f in self.faults if f.concerns(provider) and f.kind not in PER_CONNECTION]
        socket = Socket(self, provider, faults, scope["path"], send)
        waits = [f.next_s(self.age_s) for f in faults if f.kind == "disconnect" and f.is_time]
        try:
            async with asyncio.timeout(None if min(waits, default=math.inf) == math.inf else min(waits)):
                await self.app(scope, receive, socket)
        except TimeoutError:
            await send({"type": "websocket.close", "code": GOING_AWAY})

    def _answer(self, fault: Fault, path: str) -> Response:
        if fault.kind == "429":
            body = b'{"code":-1003,"msg":"Too many requests; please slow down."}'
            return Response(body, 429, {"Retry-After": f"{fault.value:g}"}, "application/json")
        if fault.kind == "500":
            return Response(b"Internal Server Error", int(fault.value), media_type="text/plain")
        if fault.kind == "html":
            return Response(PAGE, media_type="text/html")
        return Response(self.empty(path), media_type="application/json")


class Turns:
    """Counts what a provider was asked, and says which faults are due."""

    def __init__(self, faults: Sequence[Fault], seed: int, since_s: float = 0.0) -> None:
        self.faults, self.seed, self.since_s = faults, seed, since_s
        self._count: Counter[str] = Counter()
        self._last: dict[str, float] = {}

    def due(self, provider: str, age_s: float) -> list[Fault]:
        """The faults of the next request of `provider`, at `age_s`."""
        self._count[provider] += 1
        count, last = self._count[provider], self._last.get(provider, self.since_s)
        self._last[provider] = age_s
        found = []
        for fault in self.faults:
            if fault.concerns(provider):
                is_due = fault.strikes_at(age_s, last) if fault.is_time else fault.strikes(count, self.seed)
                found += [fault] if is_due else []
        return found


class Spoiled:
    """Collects an answer and passes it on spoiled: halved, cut off, or damaged, under headers that fit it."""

    def __init__(self, send: Send, kind: str, rng: random.Random) -> None:
        self.send, self.kind, self.rng = send, kind, rng
        self.head: Message | None = None
        self.body = b""

    async def __call__(self, message: Message) -> None:
        """One message of the answer."""
        if message["type"] == "http.response.start":
            self.head = message
            return
        self.body += message.get("body", b"")
        if message.get("more_body") or self.head is None:
            return
        half = self.body[: len(self.body) // 2]
        body = damage(self.kind, self.body, self.rng) if self.kind in DAMAGE else half
        length = len(self.body) if self.kind == "disconnect" else len(body)
        headers = [(k, v) for k, v in self.head["headers"] if k.lower() != b"content-length"]
        await self.send({**self.head, "headers": [*headers, (b"content-length", str(length).encode())]})
        await self.send({"type": "http.response.body", "body": body, "more_body": self.kind == "disconnect"})


class Socket:
    """The sending side of a WebSocket, whose messages meet faults."""

    def __init__(self, server: FaultMiddleware, provider: str, faults: Sequence[Fault], path: str, send: Send) -> None:
        self.server, self.provider, self.path, self.send = server, provider, path, send
        self.turns = Turns(faults, server.seed, server.age_s)
        self.sent = 0
        self.held: Message | None = None
        """A message that waits for its follower."""

    async def __call__(self, message: Message) -> None:
        """One message of the connection. Raises ConnectionResetError when it is cut off here."""
        if message["type"] != "websocket.send" or not isinstance(message.get("text"), str):
            return await self.send(message)
        self.sent += 1
        due = self.turns.due(self.provider, self.server.age_s)
        if late := sum(f.value for f in due if f.kind == "latency"):
            await asyncio.sleep(late)
        kind = next((f.kind for f in due if f.kind != "latency"), None)
        if kind == "disconnect":
            await self.send({"type": "websocket.close", "code": GOING_AWAY})
            raise ConnectionResetError("the sandbox closed the socket on purpose")
        for text in [message["text"]] if kind is None else self._spoiled(kind, message["text"]):
            await self.send({"type": "websocket.send", "text": text})
        if kind == "out_of_order" and self.held is None:
            self.held = message
        elif self.held is not None:
            held, self.held = self.held, None
            await self.send(held)

    def _spoiled(self, kind: str, text: str) -> list[str]:
        """What is sent in place of a message."""
        if kind == "out_of_order" and self.held is None:
            return []
        if kind == "duplicated":
            return [text, text]
        if kind in ("wrong_type", "schema_drift"):
            return [damage(kind, text.encode(), random.Random(f"{self.server.seed}:{kind}:{self.sent}")).decode()]
        plain = {"truncated": text[: len(text) // 2], "html": PAGE.decode(), "empty": self.server.empty(self.path).decode()}
        return [plain.get(kind, text)]


def _is_no_disconnect(record: logging.LogRecord) -> bool:
    """Whether a log record is none that a `disconnect` makes."""
    return "returned without completing response" not in record.getMessage()
