"""pytrends' client of Google Trends, pointed at one world, with its known faults kept in here.

pytrends 4.9.2 is archived. Its addresses are fixed in its methods and its first request goes to Google whatever they say,
so both are redirected here; `retries` stays 0, since any other number fails with urllib3 2; points are read from its JSON,
not through its pandas code, which newer versions of pandas break. Whatever else it raises becomes a SourceError.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from crypto_assets.market.errors import BadPayloadError, RateLimitedError, UnavailableError
from crypto_assets.sources._errors import of_response

LANGUAGE = "en-US"


def connect(base: str, provider: str, *, is_loopback: bool, timeout_s: float) -> Any:
    """A client with the cookie that Google wants to see. Raises the SourceError that fits."""
    return _said(provider, "/explore/", lambda: _client(base, is_loopback, timeout_s))


def points(client: Any, provider: str, keyword: str, timeframe: str) -> list[Any]:
    """`timelineData` of one keyword. Raises the SourceError that fits."""

    def ask() -> list[Any]:
        client.build_payload([keyword], timeframe=timeframe)
        return client.points()

    return _said(provider, f"{keyword!r} {timeframe}", ask)


def _said(provider: str, where: str, call: Callable[[], Any]) -> Any:
    import requests
    from pytrends import exceptions

    try:
        return call()
    except exceptions.TooManyRequestsError:
        raise RateLimitedError(provider, f"{where}: HTTP 429: Google Trends refuses scripts; ask again tomorrow") from None
    except exceptions.ResponseError as error:
        found = error.response
        raise of_response(provider, where, found.status_code, found.headers, found.text) from None
    except requests.RequestException as error:
        raise UnavailableError(provider, f"{where}: no usable answer ({type(error).__name__}): check the connection") from None
    except Exception as error:  # pytrends lets the errors of whatever it stumbles over through
        raise BadPayloadError(provider, f"{where}: pytrends could not read the answer ({type(error).__name__})") from None


def _client(base: str, is_loopback: bool, timeout_s: float) -> Any:
    import requests
    from pytrends import exceptions
    from pytrends import request as pytrends

    class Client(pytrends.TrendReq):
        def GetGoogleCookie(self) -> dict[str, str]:
            answer = requests.get(f"{base}/explore/", params={"geo": "US"}, timeout=self.timeout, **self.requests_args)
            if answer.status_code == 429:
                raise exceptions.TooManyRequestsError.from_response(answer)
            answer.raise_for_status()
            return {name: value for name, value in answer.cookies.items() if name == "NID" and value}

        def _get_data(self, url: str, *arguments: Any, **more: Any) -> Any:
            return super()._get_data(url.replace(pytrends.BASE_TRENDS_URL, base, 1), *arguments, **more)

        def points(self) -> list[Any]:
            widget = self.interest_over_time_widget
            params = {"req": json.dumps(widget["request"]), "token": widget["token"], "tz": self.tz}
            return self._get_data(self.INTEREST_OVER_TIME_URL, trim_chars=5, params=params)["default"]["timelineData"]

    proxies = {"proxies": {"no_proxy": "127.0.0.1"}} if is_loopback else {}
    return Client(hl=LANGUAGE, tz=0, timeout=timeout_s, retries=0, requests_args=proxies)
