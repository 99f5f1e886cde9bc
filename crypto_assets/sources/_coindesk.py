"""What the CoinDesk Data tables share: both hosts, and the envelopes they wrap answers and errors in.

CCData (CryptoCompare) was bought by CoinDesk in 2024. Since 2026-05-21 both hosts answer 401 without a subscribed key. The
current host wraps as `{"Data": ..., "Err": {}}`; the legacy host says errors with HTTP 200, as
`{"Response": "Error", "Message": "...", "Type": 99}`. The types of the legacy host other than 99 (rate limit) are known from
memory; its messages decide.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from crypto_assets.market.errors import (
    AuthFailedError,
    BadPayloadError,
    NotPublishedYetError,
    PlanRestrictedError,
    RateLimitedError,
    SourceError,
)
from crypto_assets.sources._errors import of_response, snippet
from crypto_assets.sources._providers import Provider, provide, secret_of

if TYPE_CHECKING:
    from crypto_assets.sources._http import Http

KEYS = ("coindesk_key",)
PROVIDER = provide(
    Provider(
        "coindesk",
        "https://data-api.coindesk.com",
        rate=60,
        per=60,
        secret=KEYS[0],
        secret_header="Authorization",
        secret_format="Apikey {}",
    )
)
LEGACY = provide(replace(PROVIDER, key="cryptocompare", base="https://min-api.cryptocompare.com"))
TERMS = "CoinDesk Data, subscription; own use, no redistribution"
PAID = "paid only since 2026-05-21 (once CryptoCompare's free tier)"
_MEANINGS: dict[tuple[str, ...], type[SourceError]] = {
    ("rate limit",): RateLimitedError,
    ("api key", "auth key", "api_key", "apikey"): AuthFailedError,
    ("subscri", "upgrade", "your plan", "this plan"): PlanRestrictedError,
    ("no data", "does not exist", "not found"): NotPublishedYetError,
}
"""Words of a legacy message and what they mean, in this order: "over your rate limit please upgrade" is a rate limit."""
_TODO: dict[type[SourceError], str] = {
    RateLimitedError: "wait, then ask less often",
    AuthFailedError: "set a valid key",
    PlanRestrictedError: "this data needs another plan",
    NotPublishedYetError: "not published, or renamed",
}


def ask(http: Http, path: str, params: dict[str, Any]) -> list[Any]:
    """The list under `Data`. Raises like `get_json`, and for an `Err` that comes with HTTP 200 as its status would."""
    answer = http.get_json(PROVIDER.key, path, params)
    if not isinstance(answer, dict):
        raise BadPayloadError(PROVIDER.key, f"{path}: expected an object with 'Data', found {snippet(str(answer))}")
    trouble = answer.get("Err")
    if trouble:
        status = trouble.get("http_status_code") if isinstance(trouble, dict) else None
        raise of_response(PROVIDER.key, path, status if isinstance(status, int) else 400, {}, str(trouble), _secrets(http))
    return _listed(answer, PROVIDER.key, path)


def ask_legacy(http: Http, path: str, params: dict[str, Any], **more: Any) -> Any:
    """What is under `Data`. Raises like `get_json`, and for `Response: Error` the SourceError its message stands for."""
    answer = http.get_json(LEGACY.key, path, params, **more)
    if not isinstance(answer, dict) or "Response" not in answer:
        raise BadPayloadError(LEGACY.key, f"{path}: expected an object with 'Response', found {snippet(str(answer))}")
    if answer["Response"] != "Success":
        raise _refusal(path, answer, _secrets(http))
    if "Data" not in answer:
        raise BadPayloadError(LEGACY.key, f"{path}: expected an object with 'Data', found {list(answer)}")
    return answer["Data"]


def _refusal(path: str, answer: dict[str, Any], secrets: list[str]) -> SourceError:
    """The error of a legacy envelope."""
    message = str(answer.get("Message", ""))
    said = f"{path}: HTTP 200 with Response {answer.get('Response')!r}, answered {snippet(message, secrets)}"
    found = (kind for words, kind in _MEANINGS.items() if any(word in message.lower() for word in words))
    kind = RateLimitedError if answer.get("Type") == 99 else next(found, BadPayloadError)
    return kind(LEGACY.key, f"{said}: {_TODO.get(kind, 'the request no longer fits the interface')}")


def _secrets(http: Http) -> list[str]:
    key = secret_of(PROVIDER, http.settings)
    return [key] if key else []


def _listed(answer: dict[str, Any], provider: str, path: str) -> list[Any]:
    data = answer.get("Data")
    if data == {}:
        return []
    if not isinstance(data, list):
        raise BadPayloadError(provider, f"{path}: expected a list under 'Data', found {snippet(str(data))}")
    return data
