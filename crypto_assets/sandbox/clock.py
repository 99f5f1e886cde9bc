"""The time in the sandbox: the real one, one that stands still, or one that runs at any speed from a start moment.

Every endpoint asks it, so the world moves as one. `POST /clock` sets it. A provider whose clock is wrong (fault `clock_skew`)
sees it through `shown`.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from contextvars import ContextVar
from datetime import UTC, datetime, timedelta

from crypto_assets.market.errors import SettingsError

Now = Callable[[], datetime]

skew: ContextVar[float] = ContextVar("skew", default=0.0)
"""Seconds by which the provider that is being asked is ahead."""


def shown(now: Now) -> Now:
    """`now`, with the skew of the provider that is being asked."""
    return lambda: now() + timedelta(seconds=skew.get())


class Clock:
    """A time that runs at `speed` seconds a second: 1 is real, 0 stands still.

    Without `at` it starts at the present; with `at` and without `speed` it stands still there. Thread safe. Raises
    SettingsError for a naive moment and for a speed that is negative or no number.
    """

    def __init__(self, at: datetime | None = None, speed: float | None = None) -> None:
        self._lock = threading.Lock()
        self._speed = 1.0 if at is None else 0.0
        self._wall = time.time()
        self._from = datetime.fromtimestamp(self._wall, UTC)
        self.set(now=at, speed=speed)

    def __call__(self) -> datetime:
        """The time now, in UTC."""
        with self._lock:
            return self._now()

    @property
    def speed(self) -> float:
        """Seconds of the world in a real second."""
        return self._speed

    def set(self, *, now: datetime | None = None, speed: float | None = None, advance_s: float = 0.0) -> None:
        """Put the clock to `now`, then forward by `advance_s`, and let it run at `speed` from there."""
        if now is not None and now.tzinfo is None:
            raise SettingsError(f"now = {now!r} has no time zone: give an aware UTC datetime, for example 2024-10-01T00:00:00Z")
        for name, value in (("speed", speed), ("advance_s", advance_s)):
            if value is not None and not (math.isfinite(value) and value >= 0):
                raise SettingsError(f"{name} = {value!r}: expected a number, 0 or more")
        with self._lock:
            start = self._now() if now is None else now.astimezone(UTC)
            self._wall = time.time()
            self._from = start + timedelta(seconds=advance_s)
            self._speed = self._speed if speed is None else speed

    def _now(self) -> datetime:
        return self._from + timedelta(seconds=(time.time() - self._wall) * self._speed)
