"""Who may ask, how often, and how much: API keys kept as hashes, a token bucket a key, a bound on what is sent.

A key is 32 random bytes, so a plain SHA-256 of it tells nothing; the file holds names and hashes. Without a file nobody needs a
key, and the server binds to this machine only. The answer to a wrong key takes as long as to a right one.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from crypto_assets.lake.store import write_bytes
from crypto_assets.market.errors import SettingsError

FILE = "api_keys.json"
PREFIX = "ca_"
BODY_BYTES = 1 << 20
RATE, BURST = 500.0, 1000.0
"""Questions a second and at once, a key (or, without keys, an address)."""
MOST_CLIENTS = 10_000


@dataclass(frozen=True)
class Keys:
    """Names by hash. Empty: no key is needed."""

    names: dict[str, str] = field(default_factory=dict)

    @classmethod
    def read(cls, lake: Path) -> Keys:
        """The keys of a lake. Raises SettingsError for a file that is none."""
        path = lake / FILE
        if not path.exists():
            return cls()
        try:
            found = json.loads(path.read_text())
            return cls({str(digest): str(name) for name, digest in found.items()})
        except (ValueError, AttributeError) as error:
            raise SettingsError(f"{path} holds no keys ({error}): remove it and add keys anew") from error

    def name_of(self, key: str | None) -> str | None:
        """Whose key this is; every hash is compared, in constant time."""
        asked = digest_of(key or "")
        found = None
        for digest, name in self.names.items():
            if hmac.compare_digest(asked, digest):
                found = name
        return found


def add_key(lake: Path, name: str) -> str:
    """Make a key, keep its hash, return it: it is shown once. Raises SettingsError for a name that has one."""
    keys = Keys.read(lake)
    if name in keys.names.values():
        raise SettingsError(f"{name!r} has a key: revoke it first (remove its line from {lake / FILE})")
    key = PREFIX + secrets.token_urlsafe(32)
    hashes = {n: d for d, n in keys.names.items()} | {name: digest_of(key)}
    write_bytes(lake / FILE, json.dumps(hashes, indent=1).encode())
    (lake / FILE).chmod(0o600)
    return key


def digest_of(key: str) -> str:
    """What the file keeps of a key."""
    return hashlib.sha256(key.encode()).hexdigest()


class Limiter:
    """A token bucket a client: `rate` a second, `burst` at once; the ones not seen longest are forgotten first."""

    def __init__(self, rate: float = RATE, burst: float = BURST, clock: Callable[[], float] = time.monotonic) -> None:
        self.rate, self.burst, self._clock = rate, burst, clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def wait(self, client: str, cost: float = 1.0) -> float:
        """0 when the client may ask now, else seconds until it may; then nothing was taken."""
        now = self._clock()
        tokens, seen = self._buckets.pop(client, (self.burst, now))
        tokens = min(self.burst, tokens + (now - seen) * self.rate)
        need = min(cost, self.burst) - tokens
        self._buckets[client] = (tokens if need > 0 else tokens - cost, now)
        if len(self._buckets) > MOST_CLIENTS:
            self._buckets.popitem(last=False)
        return max(0.0, need / self.rate)
