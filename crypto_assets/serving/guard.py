"""What every request passes: its key, its share of the rate, the size of its body; what it took is counted.

Plain ASGI, so that a cached answer costs no more than it must. GET /health, /ready and the page itself need no key.
"""

from __future__ import annotations

import json
import time
from typing import Any

from crypto_assets.serving.metrics import Metrics
from crypto_assets.serving.security import BODY_BYTES, Keys, Limiter

OPEN = frozenset({"/", "/health", "/ready", "/openapi.json"})
PROBES = frozenset({"/health", "/ready"})
"""What watches the process is never told to wait."""
ROUTES = frozenset(
    {*OPEN, "/predict", "/predictions", "/history", "/model", "/features", "/supported_coins", "/metrics", "/ws/predictions"}
)
HEADER = b"x-api-key"
TOO_LARGE = {"error": "too_large", "message": f"at most {BODY_BYTES} bytes are read"}


class Guard:
    """ASGI middleware."""

    def __init__(self, app: Any, keys: Keys, limiter: Limiter, metrics: Metrics) -> None:
        self.app, self.keys, self.limiter, self.metrics = app, keys, limiter, metrics

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Refuse, or pass on."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started, status = time.perf_counter(), 500

        body = _Bounded(receive)

        async def counting(message: Any) -> None:
            nonlocal status
            if body.is_over and status != 413:  # whatever was made of half a body
                status = 413
                await _refuse(send, 413, TOO_LARGE)
            if body.is_over:
                return
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], *SAFE]
            await send(message)

        refused = self._refusal(scope)
        try:
            if refused is None:
                await self.app(scope, body, counting)
            else:
                await _refuse(counting, *refused)
        finally:
            path = scope["path"] if scope["path"] in ROUTES else "other"
            self.metrics.requests.labels(path, str(status)).inc()
            self.metrics.seconds.labels(path).observe(time.perf_counter() - started)

    def _refusal(self, scope: Any) -> tuple[int, dict[str, Any]] | None:
        headers = dict(scope["headers"])
        client = (scope.get("client") or ("unknown",))[0]
        if self.keys.names and scope["path"] not in OPEN:
            name = self.keys.name_of(headers.get(HEADER, b"").decode("latin-1"))
            if name is None:
                return 401, {"error": "key", "message": "send a valid key in the header X-API-Key"}
            client = name
        length = headers.get(b"content-length", b"0")
        if not length.isdigit() or int(length) > BODY_BYTES:
            return 413, TOO_LARGE
        wait = 0.0 if scope["path"] in PROBES else self.limiter.wait(client)
        if wait > 0:
            return 429, {"error": "rate", "message": f"too many requests: wait {wait:.2f} s", "retry_after": wait}
        return None


SAFE = [
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
]


class _Bounded:
    """What is received, up to BODY_BYTES; more ends it, and `is_over` says so."""

    def __init__(self, receive: Any) -> None:
        self._receive, self._read, self.is_over = receive, 0, False

    async def __call__(self) -> Any:
        message = await self._receive()
        self._read += len(message.get("body", b""))
        if self._read > BODY_BYTES:
            self.is_over = True
            return {"type": "http.request", "body": b"", "more_body": False}
        return message


async def _refuse(send: Any, status: int, said: dict[str, Any]) -> None:
    headers = [(b"content-type", b"application/json")]
    if "retry_after" in said:
        headers.append((b"retry-after", str(int(said["retry_after"]) + 1).encode()))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": json.dumps(said).encode()})
