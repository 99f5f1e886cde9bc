"""Faults on purpose: `PROVIDER:KIND[=VALUE] WHEN`, for example `binance_spot:429 every 5`.

Kinds: `429` (value: seconds in Retry-After, 1), `500` (value: the status, 500), `truncated`, `html`, `empty`, `latency`
(value: seconds, 0.5). When: `always`, `every N`, `first N`, `after N`, `chance P`. Requests of a provider are counted, and
chance is drawn from the seed and the count, so the same calls meet the same faults.
"""

from __future__ import annotations

import asyncio
import random
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from crypto_assets.market.errors import SettingsError

KINDS: dict[str, float] = {"429": 1.0, "500": 500.0, "truncated": 0.0, "html": 0.0, "empty": 0.0, "latency": 0.5}
"""Kind -> default value."""
WHENS = ("always", "every", "first", "after", "chance")
ANY = "*"
"""A rule for every provider."""
PAGE = b"<!DOCTYPE html><html><head><title>503</title></head><body><h1>Down for maintenance</h1></body></html>"


@dataclass(frozen=True)
class Fault:
    """One rule. `number` is N or P of `when`."""

    provider: str
    kind: str
    value: float
    when: str
    number: float

    def strikes(self, count: int, seed: int) -> bool:
        """Whether the `count`-th request of the provider, from 1, meets this fault."""
        if self.when == "always":
            return True
        if self.when == "chance":
            return random.Random(f"{seed}:{self.provider}:{self.kind}:{count}").random() < self.number
        n = int(self.number)
        return {"every": count % n == 0, "first": count <= n, "after": count > n}[self.when]


def parse(rule: str, providers: Sequence[str]) -> Fault:
    """A rule from its text. Raises SettingsError saying which part is wrong and what is allowed."""
    what, _, when = rule.strip().partition(" ")
    provider, colon, kind = what.partition(":")
    name, equals, value = kind.partition("=")
    if not colon or not when.strip():
        raise _wrong(rule, "it has not the form PROVIDER:KIND[=VALUE] WHEN")
    if provider != ANY and provider not in providers:
        raise _wrong(rule, f"provider {provider!r} is none of {', '.join(providers)} or {ANY}")
    if name not in KINDS:
        raise _wrong(rule, f"kind {name!r} is none of {', '.join(KINDS)}")
    amount = _number(rule, "value", value) if equals else KINDS[name]
    if amount < 0 or (name == "500" and not 500 <= amount <= 599):
        raise _wrong(rule, f"value {value!r} must be {'a status from 500 to 599' if name == '500' else 'seconds, 0 or more'}")
    return Fault(provider, name, amount, *_when(rule, when.split()))


def _when(rule: str, words: list[str]) -> tuple[str, float]:
    if words == ["always"]:
        return "always", 1.0
    if len(words) != 2 or words[0] not in WHENS:
        raise _wrong(rule, f"when {' '.join(words)!r} is none of always, every N, first N, after N, chance P")
    number = _number(rule, "number", words[1])
    if words[0] == "chance" and not 0 <= number <= 1:
        raise _wrong(rule, f"chance {words[1]!r} must lie between 0 and 1")
    if words[0] != "chance" and (number < 1 or number != int(number)):
        raise _wrong(rule, f"number {words[1]!r} must be a whole number, 1 or more")
    return words[0], number


def _number(rule: str, what: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise _wrong(rule, f"{what} {text!r} is no number") from None


def _wrong(rule: str, why: str) -> SettingsError:
    return SettingsError(f"--fault {rule!r}: {why}; for example --fault 'binance_spot:429 every 5'")


class FaultMiddleware:
    """ASGI middleware that meets requests with the faults they are due."""

    def __init__(self, app: ASGIApp, faults: Sequence[Fault], seed: int, empty: Callable[[str], bytes]) -> None:
        self.app, self.faults, self.seed, self.empty = app, tuple(faults), seed, empty
        self._counts: Counter[str] = Counter()
        self._lock = threading.Lock()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, well or badly."""
        fault = self._due(scope)
        if fault is None:
            await self.app(scope, receive, send)
        elif fault.kind == "latency":
            await asyncio.sleep(fault.value)
            await self.app(scope, receive, send)
        elif fault.kind == "truncated":
            await self.app(scope, receive, _Halving(send))
        else:
            await self._answer(fault, scope["path"])(scope, receive, send)

    def _due(self, scope: Scope) -> Fault | None:
        if scope["type"] != "http" or not self.faults:
            return None
        provider = scope["path"].split("/", 2)[1]
        with self._lock:
            self._counts[provider] += 1
            count = self._counts[provider]
        return next((f for f in self.faults if f.provider in (provider, ANY) and f.strikes(count, self.seed)), None)

    def _answer(self, fault: Fault, path: str) -> Response:
        if fault.kind == "429":
            body = b'{"code":-1003,"msg":"Too many requests; please slow down."}'
            return Response(body, 429, {"Retry-After": f"{fault.value:g}"}, "application/json")
        if fault.kind == "500":
            return Response(b"Internal Server Error", int(fault.value), media_type="text/plain")
        if fault.kind == "html":
            return Response(PAGE, media_type="text/html")
        return Response(self.empty(path), media_type="application/json")


class _Halving:
    """Passes on the first half of a body, under a Content-Length that fits it."""

    def __init__(self, send: Send) -> None:
        self.send = send
        self.head: Message | None = None
        self.body = b""

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.head = message
            return
        self.body += message.get("body", b"")
        if message.get("more_body") or self.head is None:
            return
        half = self.body[: len(self.body) // 2]
        headers = [(k, v) for k, v in self.head["headers"] if k.lower() != b"content-length"]
        await self.send({**self.head, "headers": [*headers, (b"content-length", str(len(half)).encode())]})
        await self.send({"type": "http.response.body", "body": half})
