"""How numbers, times and errors are written on the wire."""

from __future__ import annotations

from datetime import UTC, datetime

from starlette.responses import Response
from starlette.routing import Route

JSON = "application/json"
BEGINNING = datetime(2009, 1, 3, tzinfo=UTC)
"""Before all data there is: a market leaves out what it has not."""


def decimal(value: float) -> str:
    """A number in text with every digit it has, never in exponents."""
    text = repr(float(value))
    return f"{value:.12f}".rstrip("0") if "e" in text else text


def from_ms(text: str) -> datetime:
    """A time from milliseconds in text. Raises ValueError."""
    return datetime.fromtimestamp(int(text) / 1000, UTC)


def to_ms(moment: datetime) -> int:
    """Milliseconds since 1970."""
    return round(moment.timestamp() * 1000)


def json_text(body: str, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """A JSON answer from text that is JSON already."""
    return Response(body.encode(), status, headers, JSON)


def get(path: str, handler) -> Route:
    """A GET route; `handler(request)` runs in the event loop: every answer is made in about a millisecond."""

    async def endpoint(request) -> Response:
        return handler(request)

    return Route(path, endpoint, methods=["GET"])


def base36(number: int) -> str:
    """A whole number in digits and small letters, as Reddit writes ids."""
    digits = ""
    while number:
        number, rest = divmod(number, 36)
        digits = "0123456789abcdefghijklmnopqrstuvwxyz"[rest] + digits
    return digits or "0"
