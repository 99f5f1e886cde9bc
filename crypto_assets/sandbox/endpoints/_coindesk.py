"""Whether a request to either host of CoinDesk Data carries a key; any key is taken."""

from __future__ import annotations

from starlette.requests import Request


def has_key(request: Request) -> bool:
    """A header `Authorization: Apikey ...`, or the parameter `api_key`."""
    kind, _, key = request.headers.get("authorization", "").partition(" ")
    return (kind.lower() == "apikey" and bool(key)) or bool(request.query_params.get("api_key"))
