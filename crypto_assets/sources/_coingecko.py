"""What the CoinGecko tables share: the provider, and its errors, which come in three shapes and sometimes with HTTP 200.

`{"error": "..."}`, `{"status": {"error_code": ..., "error_message": ...}}` and `{"error": {"status": {...}}}`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from crypto_assets.market.errors import (
    AuthFailedError,
    BadPayloadError,
    PlanRestrictedError,
    RateLimitedError,
    SourceError,
)
from crypto_assets.sources._errors import snippet
from crypto_assets.sources._providers import Provider, provide

if TYPE_CHECKING:
    from crypto_assets.sources._http import Http

PROVIDER = provide(
    Provider(
        "coingecko",
        "https://api.coingecko.com/api/v3",
        rate=8,
        per=60,
        keyed_rate=25,
        secret="coingecko_key",
        secret_header="x-cg-demo-api-key",
    )
)
TERMS = "CoinGecko API terms: attribution required, no redistribution on the free tier"
_MEANINGS: dict[str, type[SourceError]] = {
    "429": RateLimitedError,
    "10002": AuthFailedError,
    "10010": AuthFailedError,
    "10011": AuthFailedError,
    "10005": PlanRestrictedError,
    "10012": PlanRestrictedError,
}
"""Codes: no key, a key of another plan's host; not in this plan, beyond 365 days."""
_PLAN = re.compile(r'"error_code"\s*:\s*"?(10005|10012)\b')


def ask(http: Http, path: str, params: dict[str, Any] | None = None) -> Any:
    """The parsed answer. Raises PlanRestrictedError for what the plan leaves out (401 with a code), else like `get_json`."""
    try:
        answer = http.get_json(PROVIDER.key, path, params)
    except AuthFailedError as error:
        if _PLAN.search(str(error)):
            raise PlanRestrictedError(PROVIDER.key, f"{path}: not in this plan, or older than 365 days: {error}") from None
        raise
    if isinstance(answer, dict) and ("error" in answer or "status" in answer):
        raise _refusal(path, answer)
    return answer


def _refusal(path: str, answer: dict[str, Any]) -> SourceError:
    """The error an envelope stands for."""
    inner = answer.get("error", answer)
    status = inner.get("status") if isinstance(inner, dict) else None
    code = str(status.get("error_code", "")) if isinstance(status, dict) else ""
    kind = _MEANINGS.get(code, BadPayloadError)
    return kind(PROVIDER.key, f"{path}: answered {snippet(str(answer))}: look the code up in the provider's documentation")
