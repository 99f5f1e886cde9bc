"""The exchange's time, as its messages tell it: what is due is decided by it, never by this machine's clock.

In a sandbox that replays a month in minutes it runs as fast as the sandbox's.
"""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime, timedelta

LEAP_MS = 90_000
"""A message that is later than the last one by more than this is not believed before the exchange was asked for its time: after
a silence it is right, from a venue with a wrong clock it is not."""
STALE_S = 10.0
"""After so long without a message the exchange is asked for its time."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Clock:
    """The newest time seen. Safe to read from any thread."""

    def __init__(self, ms: int) -> None:
        self._ms, self._heard, self._lock = ms, time.monotonic(), threading.Lock()
        self.is_doubted = False
        """Whether a message claimed a time that is not believed yet."""

    @property
    def ms(self) -> int:
        """Milliseconds since 1970."""
        return self._ms

    def __call__(self) -> datetime:
        """The time as a datetime."""
        return _EPOCH + timedelta(milliseconds=self._ms)

    def hear(self, ms: int, received: float) -> None:
        """A message of this time came. Time never goes back."""
        if self._ms < ms <= self._ms + LEAP_MS:
            self._ms, self._heard = ms, received
        elif ms > self._ms:
            self.is_doubted = True

    def set(self, ms: int) -> None:
        """The exchange was asked and said this."""
        with self._lock:
            self._ms, self._heard, self.is_doubted = max(ms, self._ms), time.monotonic(), False

    @property
    def is_stale(self) -> bool:
        """Whether the exchange should be asked."""
        return self.is_doubted or time.monotonic() - self._heard > STALE_S
