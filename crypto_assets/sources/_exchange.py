"""ccxt clients of the exchanges, pointed at one world, with its errors turned into ours.

The implicit methods (`publicGetKlines`, ...) are used, so that all fields of an answer arrive as the exchange sent them.
ccxt is imported inside the functions: it is heavy, and only a fetch needs it.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs, urlsplit

from crypto_assets.market.errors import (
    AuthFailedError,
    BadPayloadError,
    RateLimitedError,
    SettingsError,
    SourceError,
    UnavailableError,
)
from crypto_assets.sources._errors import of_response, snippet

CLASSES = {"binance_spot": "binance", "binance_futures": "binanceusdm", "coinbase": "coinbaseexchange", "kraken": "kraken"}
"""Provider -> ccxt class."""
_MS_PER_WEIGHT = {"binance_spot": 100, "binance_futures": 50, "coinbase": 200, "kraken": 1250}
"""ccxt's own throttle, at half of the documented weight (Binance spot costs are in units of 5), at Kraken 1.5 s a call."""
_MARKETS = {"binance_spot": ["spot"], "binance_futures": ["linear"]}
"""What Binance's `load_markets` asks for."""
_NAMES = ("symbol", "pair")
"""Query parameters that name an instrument."""


def connect(provider: str, base: str, *, is_loopback: bool, timeout_s: float, user_agent: str) -> Any:
    """A ccxt client whose every address starts with `base`.

    `load_markets` asks `exchangeInfo` alone. Raises SettingsError for a provider that is no exchange.
    """
    import ccxt

    if provider not in CLASSES:
        raise SettingsError(f"provider {provider!r} is no exchange: exchanges are {', '.join(CLASSES)}")
    parent: Any = getattr(ccxt, CLASSES[provider])

    class Client(parent):
        def handle_errors(self, code, reason, url, method, headers, body, response, request_headers, request_body):
            if code >= 400:
                parts = urlsplit(url)
                query = parse_qs(parts.query)
                symbol = "".join(text for name in _NAMES for text in query.get(name, []))
                raise of_response(provider, f"{parts.path} {symbol}".strip(), code, headers, body or "")
            super().handle_errors(code, reason, url, method, headers, body, response, request_headers, request_body)

    client = Client(
        {
            "enableRateLimit": not is_loopback,
            "rateLimit": _MS_PER_WEIGHT[provider],
            "timeout": int(timeout_s * 1000),
            "userAgent": user_agent,
            "requests_trust_env": not is_loopback,
            "options": {"fetchMarkets": _MARKETS[provider]} if provider in _MARKETS else {},
        }
    )
    client.has["fetchCurrencies"] = False
    client.urls["api"] = {
        name: base.rstrip("/") + urlsplit(url).path if isinstance(url, str) else url for name, url in client.urls["api"].items()
    }
    return client


def ask(exchange: Any, provider: str, method: str, params: dict[str, Any]) -> Any:
    """One raw call. Raises the SourceError that fits; BadPayloadError where the answer is not JSON."""
    import ccxt

    where = f"{method} {params.get('symbol') or params.get('pair') or params.get('id', '')}".strip()
    try:
        answer = getattr(exchange, method)(params)
    except SourceError:
        raise
    except ccxt.AuthenticationError as error:
        raise AuthFailedError(provider, f"{where}: {snippet(str(error))}") from None
    except (ccxt.DDoSProtection, ccxt.RateLimitExceeded) as error:
        raise RateLimitedError(provider, f"{where}: {snippet(str(error))}: ask less often") from None
    except ccxt.NetworkError as error:
        raise UnavailableError(provider, f"{where}: no usable answer ({type(error).__name__}): check the connection") from None
    except ccxt.BaseError as error:
        raise BadPayloadError(provider, f"{where}: refused, {snippet(str(error))}") from None
    if not isinstance(answer, list | dict):
        text = answer.decode("utf-8", "replace") if isinstance(answer, bytes) else str(answer or "")
        kind = "an HTML page" if text.lstrip()[:1] == "<" else "text that is not whole JSON"
        raise BadPayloadError(provider, f"{where}: expected JSON, found {kind}: {snippet(text)}")
    return answer
