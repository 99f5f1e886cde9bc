"""Quotas so small that they are counted over processes and restarts: times of the last calls, in a file of the user's cache."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO

from crypto_assets.market.errors import RateLimitedError


def folder() -> Path:
    """Where the counts lie: `$XDG_CACHE_HOME/crypto_assets/quota`, by default under `~/.cache`. They belong to no lake."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "crypto_assets" / "quota"


class Quota:
    """At most so many calls in so many seconds, for each pair of `limits`, by all processes of this user."""

    def __init__(self, key: str, limits: Iterable[tuple[int, float]], where: Path | None = None) -> None:
        self.key = key
        self.limits = tuple(limits)
        self.path = (where or folder()) / f"{key}.txt"

    def take(self) -> None:
        """Count one call. Raises RateLimitedError with the seconds to wait when a limit is reached; then nothing is counted."""
        with self._locked() as file:
            now = time.time()
            calls = self._recent(file, now)
            for most, seconds in self.limits:
                inside = [t for t in calls if t > now - seconds]
                if len(inside) >= most:
                    wait = inside[-most] + seconds - now
                    said = f"{most} calls in {seconds / 3600:g} h are spent: ask again in {wait / 60:.0f} min"
                    raise RateLimitedError(self.key, said, retry_after=wait)
            file.seek(0)
            file.truncate()
            file.writelines(f"{t!r}\n" for t in (*calls, now))

    def left(self) -> int:
        """How many calls may leave now."""
        with self._locked() as file:
            now = time.time()
            calls = self._recent(file, now)
        return max(0, min(most - sum(t > now - seconds for t in calls) for most, seconds in self.limits))

    def _recent(self, file: IO[str], now: float) -> list[float]:
        """Times of the calls that still count, oldest first. Lines that are no time, and times to come, are dropped."""
        longest = max(seconds for _, seconds in self.limits)
        file.seek(0)
        times = []
        for line in file:
            with contextlib.suppress(ValueError):
                times.append(float(line))
        return sorted(t for t in times if now - longest < t <= now)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[IO[str]]:
        import fcntl

        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a+", encoding="ascii", errors="replace") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield file
