"""UTC windows and forecast horizons.

Every window is half open, `[start, end)`, in UTC with microseconds; a naive datetime is refused, never guessed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from crypto_assets.market.errors import SettingsError

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
HORIZONS: dict[str, int] = {"1h": 1, "4h": 4, "24h": 24}
"""Forecast horizon -> hours."""


@dataclass(frozen=True, order=True)
class Window:
    """The half-open interval `[start, end)` in UTC.

    Raises SettingsError for a naive datetime, another timezone than UTC, or `end <= start`.
    """

    start: datetime
    end: datetime

    def __post_init__(self) -> None:
        for name, value in (("start", self.start), ("end", self.end)):
            if value.tzinfo is None or value.utcoffset() != timedelta(0):
                raise SettingsError(f"window {name} must be in UTC, was {value!r}: give an aware UTC datetime")
        if self.end <= self.start:
            raise SettingsError(f"window must end after it starts, was {self.start} -> {self.end}: swap the two dates")

    @classmethod
    def of_days(cls, first: date, last: date) -> Window:
        """All of `first` to all of `last`, both inclusive."""
        return cls(midnight(first), midnight(last) + DAY)

    @property
    def days(self) -> list[date]:
        """Every UTC day the window touches, in order."""
        last = (self.end - timedelta(microseconds=1)).date()
        return [self.start.date() + timedelta(days=n) for n in range((last - self.start.date()).days + 1)]

    @property
    def hours(self) -> int:
        """Length in whole hours."""
        return int((self.end - self.start) / HOUR)

    def widen(self, before: timedelta = timedelta(0), after: timedelta = timedelta(0)) -> Window:
        """The window with `before` added in front and `after` behind."""
        return Window(self.start - before, self.end + after)

    def chunks(self, days: int) -> Iterator[Window]:
        """Consecutive windows of at most `days` days."""
        start = self.start
        while start < self.end:
            end = min(start + days * DAY, self.end)
            yield Window(start, end)
            start = end


def midnight(day: date) -> datetime:
    """00:00 UTC of `day`."""
    return datetime(day.year, day.month, day.day, tzinfo=UTC)
