"""Who serves the data: address, pace, terms of each provider, and the token bucket that keeps the pace.

In world live a provider is asked at `base`; in world sandbox at `<sandbox_url>/<key>`, with the same paths behind it.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass

from crypto_assets.market.errors import SettingsError
from crypto_assets.settings import Settings


@dataclass(frozen=True)
class Provider:
    """One provider. At most `rate` calls in `per` seconds leave this process, whatever asks."""

    key: str
    base: str
    rate: float
    per: float
    workers: int = 1
    """How many calls may be under way at once."""
    secret: str | None = None
    """Name of the Settings field that holds a key, where there is one."""
    secret_param: str = "api_key"
    """Query parameter that carries the key, unless a header does."""
    secret_header: str | None = None
    """Header that carries the key instead, for example `Authorization`."""
    secret_format: str = "{}"
    """What the header says, `{}` standing for the key, for example `Bearer {}`."""
    keyed_base: str | None = None
    """Address for calls with a key, where it differs."""
    keyed_rate: float | None = None
    """Calls in `per` seconds with a key, where more are allowed."""
    attempts: int | None = None
    """How often one call is tried before its error is raised, where not as often as usual."""
    quotas: tuple[tuple[int, float], ...] = ()
    """Limits without a key that outlast a process, each (calls, seconds): counted on disk, see `_quota.py`."""


PROVIDERS: dict[str, Provider] = {
    p.key: p
    for p in (
        # The keyless mirror of api.binance.com; half of 6000 weight a minute at weight 2 a call.
        Provider("binance_spot", "https://data-api.binance.vision", 1500, 60),
        # fundingRate shares 500 calls in 5 minutes, the narrowest limit of this host.
        Provider("binance_futures", "https://fapi.binance.com", 80, 60),
        Provider("alternative_me", "https://api.alternative.me", 20, 60),
        # The unthrottled mirror of data.gdeltproject.org.
        Provider("gdelt_bulk", "https://storage.googleapis.com/data.gdeltproject.org", 4, 1, workers=4),
        Provider(
            "coinmetrics",
            "https://community-api.coinmetrics.io",
            8,
            6,
            secret="coinmetrics_key",
            keyed_base="https://api.coinmetrics.io",
        ),
        Provider("defillama", "https://api.llama.fi", 60, 60, workers=2),
        Provider("treasury", "https://home.treasury.gov", 1, 1),
        Provider("cboe", "https://cdn.cboe.com", 1, 1),
    )
}
"""Providers by key. A source of a new provider adds its own with `provide`."""


def provide(provider: Provider) -> Provider:
    """Make a provider known, and return it. Raises SettingsError when the key already means another one."""
    known = PROVIDERS.setdefault(provider.key, provider)
    if known != provider:
        raise SettingsError(f"provider {provider.key!r} is already {known.base}: choose another key than for {provider.base}")
    return known


def provider(key: str) -> Provider:
    """The provider of this key. Raises SettingsError for an unknown one."""
    if key not in PROVIDERS:
        raise SettingsError(f"unknown provider {key!r}: known are {', '.join(PROVIDERS)}; add one with provide(Provider(...))")
    return PROVIDERS[key]


def secret_of(provider: Provider, settings: Settings) -> str | None:
    """The provider's key from the settings, or None where none is set."""
    value = getattr(settings, provider.secret) if provider.secret else None
    return value.get_secret_value() if value is not None else None


def base_of(provider: Provider, settings: Settings) -> str:
    """Address in front of every path. Raises SettingsError in world archive, which asks nobody."""
    if settings.world == "sandbox":
        return f"{settings.sandbox_url.rstrip('/')}/{provider.key}"
    if settings.world == "live":
        return provider.keyed_base if provider.keyed_base and secret_of(provider, settings) else provider.base
    raise SettingsError(f"world archive asks no provider, asked was {provider.key}: import its history, or use world live")


class Bucket:
    """A token bucket: `rate` calls in `per` seconds, at most a tenth of them at once, over all threads of the process."""

    def __init__(self, rate: float, per: float) -> None:
        self.interval = per / rate
        self.burst = max(per / 10, self.interval)
        self._lock = threading.Lock()
        self._free_at = 0.0

    def take(self) -> None:
        """Wait until a call may leave."""
        with self._lock:
            now = time.monotonic()
            self._free_at = max(self._free_at, now - self.burst) + self.interval
            pause = self._free_at - now
        if pause > 0:
            time.sleep(pause)


_BUCKETS: dict[tuple[str, float], Bucket] = {}
_LOCK = threading.Lock()


def bucket(provider: Provider, is_keyed: bool = False) -> Bucket:
    """The process-wide bucket of a provider: limits count by address, not by client object."""
    rate = provider.keyed_rate if is_keyed and provider.keyed_rate else provider.rate
    with _LOCK:
        return _BUCKETS.setdefault((provider.key, rate), Bucket(rate, provider.per))
