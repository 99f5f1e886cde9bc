"""How each source stands: its world, key, consent, whether its provider answers, and its last partition with rows.

One request a provider, without key and without retries: any HTTP answer means that it can be reached.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date

import polars as pl

from crypto_assets.lake import Lake
from crypto_assets.settings import Settings
from crypto_assets.sources._providers import base_of, provider, secret_of
from crypto_assets.sources._spec import Source

REMAINING = ("x-ratelimit-remaining", "ratelimit-remaining", "x-rate-limit-remaining")
USED = "x-mbx-used-weight-1m"
LOOK_BACK = 60
"""Newest partitions looked at for one that has rows."""


@dataclass(frozen=True)
class Answer:
    """Whether a provider answered, why not, and what its headers say of the rate limit."""

    is_reached: bool
    reason: str = ""
    rate_limit: str = ""


@dataclass(frozen=True)
class Health:
    """One source. `status` is ok, no key, not switched on, unreachable, or not asked (world archive)."""

    name: str
    provider: str
    world: str
    keyed: bool
    has_key: bool
    status: str
    reason: str
    last_partition: str | None
    rate_limit: str
    history: str
    terms: str
    substitute: str


def check(sources: Iterable[Source], settings: Settings, lake: Lake, timeout_s: float = 5.0) -> list[Health]:
    """The state of every source, in order of name. Raises nothing for a provider that fails: that is the answer."""
    chosen = sorted(sources, key=lambda s: s.name)
    answers = {} if settings.world == "archive" else _ask({s.provider for s in chosen}, settings, timeout_s)
    return [_health(source, settings, lake, answers) for source in chosen]


def last_partition(source: Source, lake: Lake) -> date | None:
    """Newest day whose file has rows."""
    for day in reversed(lake.days(source.table.name)[-LOOK_BACK:]):
        if pl.scan_parquet(lake.path(source.table.name, day)).select(pl.len()).collect().item():
            return day
    return None


def _health(source: Source, settings: Settings, lake: Lake, answers: Mapping[str, Answer]) -> Health:
    whom = provider(source.provider)
    needed = [name for name in source.keys if getattr(settings, name, None) is None]
    known = secret_of(whom, settings) is not None or bool(source.keys and not needed)
    status, reason = _status(source, settings, needed, answers.get(source.provider))
    newest = last_partition(source, lake)
    return Health(
        name=source.name,
        provider=source.provider,
        world=settings.world,
        keyed=bool(source.keys),
        has_key=known,
        status=status,
        reason=reason,
        last_partition=newest.isoformat() if newest else None,
        rate_limit=answers[source.provider].rate_limit if source.provider in answers else "",
        history=f"{source.history.days} days" if source.history.kind == "days" else source.history.kind,
        terms=source.terms,
        substitute=source.substitute,
    )


def _status(source: Source, settings: Settings, needed: list[str], answer: Answer | None) -> tuple[str, str]:
    if settings.world == "archive":
        return "not asked", f"world archive asks nobody: `crypto-assets import {source.name} FILE`"
    if needed:
        return "no key", f"set {', '.join('CRYPTO_ASSETS_' + n.upper() for n in needed)}"
    consent = getattr(source, "consent", None)
    if consent and not getattr(settings, consent, False) and settings.world == "live":
        return "not switched on", f"read its terms, then set CRYPTO_ASSETS_{consent.upper()}=true"
    if answer is None or not answer.is_reached:
        return "unreachable", answer.reason if answer else "not asked"
    return "ok", ""


def _ask(keys: Iterable[str], settings: Settings, timeout_s: float) -> dict[str, Answer]:
    import httpx

    wanted = sorted(keys)
    is_loopback = settings.world == "sandbox"
    with httpx.Client(timeout=timeout_s, trust_env=not is_loopback, headers={"User-Agent": settings.contact}) as client:
        if is_loopback:
            return _of_sandbox(client, wanted, settings)
        with ThreadPoolExecutor(8) as pool:
            return dict(zip(wanted, pool.map(lambda key: _one(client, base_of(provider(key), settings)), wanted), strict=True))


def _one(client, address: str) -> Answer:
    import httpx

    try:
        with client.stream("GET", address) as response:
            headers = response.headers
    except httpx.HTTPError as error:
        return Answer(False, f"{address} does not answer ({type(error).__name__}): check the connection, or its status page")
    left = next((f"{headers[name]} left" for name in REMAINING if name in headers), "")
    return Answer(True, rate_limit=left or (f"{headers[USED]} used" if USED in headers else ""))


def _of_sandbox(client, wanted: list[str], settings: Settings) -> dict[str, Answer]:
    import httpx

    try:
        served = client.get(f"{settings.sandbox_url.rstrip('/')}/health").json()["providers"]
    except (httpx.HTTPError, ValueError, KeyError):
        reason = f"no sandbox at {settings.sandbox_url}: start it with `crypto-assets sandbox`"
        return {key: Answer(False, reason) for key in wanted}
    return {key: Answer(key in served, "" if key in served else f"the sandbox does not serve {key}") for key in wanted}
