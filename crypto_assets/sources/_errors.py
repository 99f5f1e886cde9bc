"""What an HTTP answer that is not the documented one means, as one of our errors.

Messages carry provider, path without the query, status and the beginning of the body; never a key.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence

from crypto_assets.market.errors import (
    AuthFailedError,
    BadPayloadError,
    GeoBlockedError,
    NotPublishedYetError,
    PlanRestrictedError,
    RateLimitedError,
    SourceError,
    UnavailableError,
)

_LONGEST = 160
_PLAIN = re.compile(r"\s+")
_TIMED_OUT = re.compile("timeout|timed out", re.IGNORECASE)
"""What Arctic Shift says with status 422 when its database is busy."""


def snippet(body: str, secrets: Sequence[str] = ()) -> str:
    """The beginning of a body on one line, with every secret replaced by stars."""
    for secret in secrets:
        body = body.replace(secret, "***")
    text = _PLAIN.sub(" ", body).strip()
    return repr(text if len(text) <= _LONGEST else text[:_LONGEST] + "…") if text else "nothing"


def of_response(
    provider: str, path: str, status: int, headers: Mapping[str, str], body: str, secrets: Sequence[str] = ()
) -> SourceError:
    """The error for an answer with this status (anything but 200), which it carries as `status`."""
    error = _of_response(provider, path, status, headers, body, secrets)
    error.status = status
    return error


def _of_response(
    provider: str, path: str, status: int, headers: Mapping[str, str], body: str, secrets: Sequence[str]
) -> SourceError:
    said = f"{path}: HTTP {status}, answered {snippet(body, secrets)}"
    refused = status == 403 and (headers.get("x-ratelimit-remaining") == "0" or "retry-after" in headers)
    if status in (418, 429) or refused:
        pause = retry_after(headers)
        wait = f"wait {pause:g} s" if pause is not None else "wait"
        return RateLimitedError(provider, f"{said}: {wait}, then ask less often", retry_after=pause)
    if status == 401:
        return AuthFailedError(provider, f"{said}: set a valid key")
    if status in (402, 426) or (status == 403 and "forbidden" in body.lower() and body.lstrip().startswith("{")):
        return PlanRestrictedError(provider, f"{said}: this data needs another plan")
    if status in (403, 451):
        return GeoBlockedError(provider, f"{said}: the provider does not serve this address; use another route to the internet")
    if status == 404:
        return NotPublishedYetError(provider, f"{said}: not published, or renamed")
    if status >= 500 or (status == 422 and _TIMED_OUT.search(body)):
        return UnavailableError(provider, f"{said}: the provider is down, ask again later")
    return BadPayloadError(provider, f"{said}: expected HTTP 200; the request no longer fits the provider's interface")


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds to wait, from `Retry-After` or `X-RateLimit-Reset`; None where neither is a number of seconds.

    Coin Metrics and Arctic Shift give seconds in the latter, GitHub and X the moment, in seconds since 1970.
    """
    for name in ("retry-after", "Retry-After", "x-ratelimit-reset", "x-rate-limit-reset"):
        try:
            seconds = float(headers.get(name, ""))
        except ValueError:
            continue
        seconds = max(seconds - time.time(), 1.0) if seconds > 1e9 else seconds
        if 0 <= seconds < 1e7:
            return seconds
    return None
