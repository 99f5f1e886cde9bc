"""The one HTTP client of all sources: pace, retries, errors and secrets are handled here, so a source only knows its format.

httpx carries the calls, stamina retries them (429 and 418 as `Retry-After` says, 5xx, timeouts), a token bucket per provider
keeps the pace, and ccxt speaks to the exchanges. Whole-file histories are kept in memory for a while, since many windows are
cut from the same file. There is no cache on disk: a partition is asked for once, most answers are immutable slices of time,
and two providers' terms do not allow a stored copy.
"""

from __future__ import annotations

import json
import logging
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from crypto_assets.market.coins import Universe
from crypto_assets.market.errors import BadPayloadError, NotPublishedYetError, RateLimitedError, UnavailableError
from crypto_assets.settings import Settings, secret_fields
from crypto_assets.sources._errors import of_response, snippet
from crypto_assets.sources._providers import PROVIDERS, Provider, base_of, bucket, provider, secret_of
from crypto_assets.sources._quota import Quota

if TYPE_CHECKING:
    import httpx

T = TypeVar("T")
Params = Mapping[str, Any]

TIMEOUT_S = 30.0
ATTEMPTS = 6
TOTAL_S = 180.0
"""No call is tried longer than this; what is still refused then is left to the retry of the whole step."""
LONGEST_PAUSE_S = 90.0
"""A provider that asks for a longer pause than this gets it from the scheduler, not from a sleeping process."""

CONDITIONS = {"etag": "If-None-Match", "last-modified": "If-Modified-Since"}
"""Header of an answer -> header of the question whether it has changed."""


class Http:
    """Calls to every provider of one world. Use as a context manager, or `close` it; safe to use from several threads.

    `universe` holds the coins that sources ask for, `now()` is the time of the world.
    """

    def __init__(self, settings: Settings, now: Callable[[], datetime] | None = None, timeout_s: float = TIMEOUT_S) -> None:
        import httpx

        # At INFO httpx logs whole addresses, and a key may be part of one.
        logging.getLogger("httpx").setLevel(logging.WARNING)
        self.settings = settings
        self.universe: Universe = settings.universe
        self.timeout_s = timeout_s
        self.is_loopback = settings.world == "sandbox"
        self._now = now
        self._kept: dict[tuple[str, str], tuple[datetime, httpx.Response]] = {}
        self._exchanges: dict[str, Any] = {}
        self._lock = threading.RLock()
        self._turn = threading.Lock()
        self._client = httpx.Client(
            headers={"User-Agent": settings.contact},
            timeout=timeout_s,
            follow_redirects=True,
            trust_env=not self.is_loopback,
            limits=httpx.Limits(max_connections=16, max_keepalive_connections=16),
        )

    @classmethod
    def of(cls, settings: Settings, now: Callable[[], datetime] | None = None, timeout_s: float = TIMEOUT_S) -> Http:
        """A client for the world of `settings`. `now` replaces the clock (in world sandbox, the server's clock)."""
        return cls(settings, now, timeout_s)

    def __enter__(self) -> Http:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close every connection."""
        self._client.close()
        for exchange in self._exchanges.values():
            exchange.session.close()

    def now(self) -> datetime:
        """The current UTC time: of this machine in world live, of the server in world sandbox."""
        with self._lock:
            if self._now is None:
                ahead = self._ahead() if self.is_loopback else timedelta(0)
                self._now = lambda: datetime.now(UTC) + ahead
        return self._now()

    def get_bytes(self, provider_key: str, path: str, params: Params | None = None, max_age: timedelta | None = None) -> bytes:
        """The body of `GET path`. With `max_age`, a body fetched less than that ago is used again, and so is an older one that
        the provider says is unchanged (`ETag`, `Last-Modified`). Age is told by the time of the world, which in a replay runs
        ahead of this machine's.

        Raises the SourceError that fits: RateLimitedError, AuthFailedError, PlanRestrictedError, GeoBlockedError,
        NotPublishedYetError (404), UnavailableError (5xx, no answer), BadPayloadError (any other status).
        """
        if max_age is None:
            return self.get_response(provider_key, path, params).content
        key = (provider_key, f"{path}?{sorted((params or {}).items())}")
        with self._lock:
            kept, now = self._kept.get(key), self.now()
            if kept is None or not timedelta(0) <= now - kept[0] < max_age:
                found = self.get_response(provider_key, path, params, _validators(kept[1]) if kept else None)
                kept = self._kept[key] = (now, kept[1] if kept and found.status_code == 304 else found)
        return kept[1].content

    def get_response(
        self, provider_key: str, path: str, params: Params | None = None, headers: Mapping[str, str] | None = None
    ) -> httpx.Response:
        """The whole answer to `GET path`, where paging needs its headers. Raises like `get_bytes`.

        Its status is 200, or 304 where `headers` ask whether something has changed.
        """
        whom = provider(provider_key)
        url = base_of(whom, self.settings) + path
        query, signed = self._signed(whom, params)
        return self._retried(provider_key, lambda: self._once(provider_key, path, url, query, {**signed, **(headers or {})}))

    def get_text(self, provider_key: str, path: str, params: Params | None = None, max_age: timedelta | None = None) -> str:
        """The body as text. Raises BadPayloadError for an HTML page and for bytes that are not UTF-8, else like `get_bytes`."""
        return self._decoded(provider_key, path, self.get_bytes(provider_key, path, params, max_age))

    def get_json(self, provider_key: str, path: str, params: Params | None = None, max_age: timedelta | None = None) -> Any:
        """The body parsed as JSON. Raises BadPayloadError for HTML and for JSON that does not parse, else like `get_bytes`."""
        return self._parsed(provider_key, path, self.get_text(provider_key, path, params, max_age))

    def _decoded(self, provider_key: str, path: str, body: bytes) -> str:
        try:
            text = body.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise BadPayloadError(provider_key, f"{path}: expected UTF-8 text ({error.reason} at byte {error.start})") from None
        if text.lstrip()[:1] == "<":
            raise BadPayloadError(
                provider_key,
                f"{path}: expected data, found an HTML page {snippet(text, self._secrets())}: ask again later",
            )
        return text

    def _parsed(self, provider_key: str, path: str, text: str) -> Any:
        try:
            return json.loads(text)
        except ValueError as error:
            raise BadPayloadError(
                provider_key,
                f"{path}: expected JSON, found {len(text)} characters that break off or are malformed "
                f"({getattr(error, 'msg', error)} at {getattr(error, 'pos', '?')}): ask again later",
            ) from None

    def post_json(self, provider_key: str, path: str, body: Mapping[str, Any]) -> Any:
        """The answer to `POST path` with a JSON body (GraphQL), parsed. Raises like `get_json`."""
        whom = provider(provider_key)
        url = base_of(whom, self.settings) + path
        query, headers = self._signed(whom, None)
        answer = self._retried(provider_key, lambda: self._once(provider_key, path, url, query, headers, body))
        return self.parsed(provider_key, path, answer)

    def parsed(self, provider_key: str, path: str, answer: httpx.Response) -> Any:
        """The JSON of an answer of `get_response`. Raises like `get_json`."""
        return self._parsed(provider_key, path, self._decoded(provider_key, path, answer.content))

    def get_many_bytes(self, provider_key: str, paths: Sequence[str]) -> Iterator[bytes | None]:
        """The bodies of many paths, in order, fetched concurrently; None where the provider has no such file (404).

        Only a few bodies are in memory at any time. Raises like `get_bytes`.
        """
        workers = 8 if self.is_loopback else provider(provider_key).workers
        with ThreadPoolExecutor(workers, thread_name_prefix=provider_key) as pool:
            waiting: deque[Future[bytes | None]] = deque()
            try:
                for path in paths:
                    waiting.append(pool.submit(self._get_or_none, provider_key, path))
                    if len(waiting) > 2 * workers:
                        yield waiting.popleft().result()
                while waiting:
                    yield waiting.popleft().result()
            finally:
                for future in waiting:
                    future.cancel()

    def exchange(self, provider_key: str) -> Any:
        """The ccxt client of an exchange, pointed at this world; its errors are ours."""
        from crypto_assets.sources._exchange import connect

        with self._lock:
            if provider_key not in self._exchanges:
                self._exchanges[provider_key] = connect(
                    provider_key,
                    base_of(provider(provider_key), self.settings),
                    is_loopback=self.is_loopback,
                    timeout_s=self.timeout_s,
                    user_agent=self.settings.contact,
                )
            return self._exchanges[provider_key]

    def call(self, provider_key: str, method: str, params: Params) -> Any:
        """One call of an implicit ccxt method such as `publicGetKlines`, paced and retried like every other call.

        Returns parsed JSON. Raises like `get_json`.
        """
        from crypto_assets.sources._exchange import ask

        exchange = self.exchange(provider_key)
        with self._turn:  # ccxt clients are not made for several threads
            return self._retried(provider_key, lambda: ask(exchange, provider_key, method, dict(params)))

    def through(self, provider_key: str, call: Callable[[], T]) -> T:
        """`call()`, which asks the provider through a client of its own and raises SourceErrors: paced, retried like all."""
        return self._retried(provider_key, call)

    def _get_or_none(self, provider_key: str, path: str) -> bytes | None:
        try:
            return self.get_bytes(provider_key, path)
        except NotPublishedYetError:
            return None

    def _signed(self, whom: Provider, params: Params | None) -> tuple[dict[str, Any], dict[str, str]]:
        """Query and headers of a call, with the provider's key where there is one."""
        secret = secret_of(whom, self.settings)
        if secret and whom.secret_header:
            return dict(params or {}), {whom.secret_header: whom.secret_format.format(secret)}
        return {**(params or {}), **({whom.secret_param: secret} if secret else {})}, {}

    def _once(
        self,
        provider_key: str,
        path: str,
        url: str,
        query: Params,
        headers: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
    ) -> httpx.Response:
        import httpx

        try:
            response = self._client.request("GET" if body is None else "POST", url, params=query, headers=headers, json=body)
        except httpx.TransportError as error:
            raise self._unavailable(provider_key, path, error) from None
        is_unchanged = response.status_code == 304 and any(h in (headers or {}) for h in CONDITIONS.values())
        if response.status_code != 200 and not is_unchanged:
            raise of_response(provider_key, path, response.status_code, response.headers, response.text, self._secrets())
        return response

    def _unavailable(self, provider_key: str, path: str, error: Exception) -> UnavailableError:
        what = f"no usable answer ({type(error).__name__}) within {self.timeout_s:g} s"
        todo = (
            f"start `crypto-assets sandbox` at {self.settings.sandbox_url}, or set CRYPTO_ASSETS_SANDBOX_URL to where it runs"
            if self.is_loopback
            else "check the connection and the provider's status page"
        )
        return UnavailableError(provider_key, f"{path}: {what}: {todo}")

    def _retried(self, provider_key: str, call: Callable[[], T]) -> T:
        import stamina

        initial, longest, jitter = (0.05, 0.2, 0.02) if self.is_loopback else (0.5, 20.0, 1.0)
        whom = PROVIDERS.get(provider_key)
        attempts = whom.attempts if whom and whom.attempts else ATTEMPTS
        for attempt in stamina.retry_context(
            on=_pause, attempts=attempts, timeout=TOTAL_S, wait_initial=initial, wait_max=longest, wait_jitter=jitter
        ):
            with attempt:
                if not self.is_loopback:
                    self._take_turn(provider(provider_key))
                return call()
        raise AssertionError("stamina returns or raises")

    def _take_turn(self, whom: Provider) -> None:
        """Wait for the provider's pace. Raises RateLimitedError where a quota is spent."""
        is_keyed = secret_of(whom, self.settings) is not None
        if whom.quotas and not is_keyed:
            Quota(whom.key, whom.quotas).take()
        bucket(whom, is_keyed=is_keyed).take()

    def _ahead(self) -> timedelta:
        """How far the sandbox's clock is ahead of ours."""
        url = f"{self.settings.sandbox_url.rstrip('/')}/health"
        health = json.loads(self._retried("sandbox", lambda: self._once("sandbox", "/health", url, {})).content)
        return datetime.fromisoformat(health["now"]) - datetime.now(UTC)

    def quoted(self, text: str) -> str:
        """The beginning of what a provider said, on one line and without any key, for the message of an error."""
        return snippet(text, self._secrets())

    def _secrets(self) -> list[str]:
        found = (getattr(self.settings, name) for name in secret_fields())
        return [s.get_secret_value() for s in found if s is not None]


def _validators(response: httpx.Response) -> dict[str, str]:
    """Headers that ask whether this answer is still the newest."""
    return {ask: response.headers[said] for said, ask in CONDITIONS.items() if said in response.headers}


def _pause(error: Exception) -> bool | float:
    """Whether stamina tries again: False, True (its own back-off), or after so many seconds."""
    if isinstance(error, RateLimitedError) and error.retry_after is not None:
        return error.retry_after if error.retry_after <= LONGEST_PAUSE_S else False
    return isinstance(error, RateLimitedError | UnavailableError)
