"""The WebSocket: the forecasts of now (or why there are none) at once, then those of every hour, until the client leaves."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any
from urllib.parse import urlsplit

from fastapi import WebSocket, WebSocketDisconnect

from crypto_assets.market.errors import StaleDataError
from crypto_assets.serving.security import Keys
from crypto_assets.serving.service import Service

HEARTBEAT_S = 15.0
KEY_WITHIN_S = 5.0
MOST_LISTENERS = 500
REFUSED, TOO_MANY = 1008, 1013
"""Close codes of RFC 6455: policy, try again later."""


async def follow(socket: WebSocket, service: Service, keys: Keys) -> None:
    """Serve one client. Where keys are set its first message is `{"key": ...}`. A page of another site is refused."""
    await socket.accept()
    if not _is_own(socket) or not await _may(socket, keys):
        await socket.close(REFUSED)
        return
    if len(service.listeners) >= MOST_LISTENERS:
        await socket.close(TOO_MANY)
        return
    news: asyncio.Queue[dict[str, Any]] = asyncio.Queue(2)
    service.listeners.add(news)
    reading = asyncio.create_task(_until_gone(socket))
    try:
        await socket.send_json(_first(service))
        while not reading.done():
            waiting = asyncio.create_task(news.get())
            await asyncio.wait({waiting, reading}, timeout=HEARTBEAT_S, return_when=asyncio.FIRST_COMPLETED)
            if waiting.done():
                await socket.send_json(waiting.result())
            else:
                waiting.cancel()
                if not reading.done():
                    await socket.send_json(_still(service))
    finally:
        service.listeners.discard(news)
        reading.cancel()


def _first(service: Service) -> dict[str, Any]:
    try:
        return service.message(service.published)
    except StaleDataError:
        return _still(service)


def _still(service: Service) -> dict[str, Any]:
    """What a listener is told while nothing is new; `problem` says what is wrong, and is empty when all is well."""
    try:
        _, problem = service.published, service.problem
    except StaleDataError as error:
        problem = str(error)
    return {"type": "heartbeat", "age_seconds": service.age().total_seconds(), "problem": problem}


async def _until_gone(socket: WebSocket) -> None:
    with contextlib.suppress(WebSocketDisconnect, RuntimeError):
        while True:
            await socket.receive_text()


async def _may(socket: WebSocket, keys: Keys) -> bool:
    if not keys.names:
        return True
    header = socket.headers.get("x-api-key")
    if header is not None:
        return keys.name_of(header) is not None
    with contextlib.suppress(TimeoutError, ValueError, KeyError, TypeError, AttributeError):
        said = await asyncio.wait_for(socket.receive_json(), KEY_WITHIN_S)
        return keys.name_of(str(said["key"])) is not None
    return False


def _is_own(socket: WebSocket) -> bool:
    """Browsers name the site a script comes from; other programs name none."""
    origin = socket.headers.get("origin")
    return origin is None or urlsplit(origin).netloc == socket.headers.get("host")
