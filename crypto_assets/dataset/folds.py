"""Purged, expanding walk-forward folds.

A fold is refitted from the earliest row to 24 h before its test window starts (the longest label horizon: no training label
reaches into the test window), with its last part held out for early stopping and calibration, again purged by 24 h.
Source of the scheme: Lopez de Prado, Advances in Financial Machine Learning (2018), chapter 7.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta

from crypto_assets.market.errors import SettingsError
from crypto_assets.market.time import DAY, Window, midnight

PURGE = DAY
"""Longest label horizon."""
VALID_DAYS = 60
VALID_SHARE = 0.25
"""Two months of validation, or a quarter of the history where that is shorter."""


@dataclass(frozen=True)
class Fold:
    """`train`, `valid` and `test` are disjoint, in this order, each followed by a purge of 24 h."""

    name: str
    train: Window
    valid: Window
    test: Window

    @property
    def fit(self) -> Window:
        """Training and validation together: everything the fold may look at."""
        return Window(self.train.start, self.valid.end)


def fold_starts(first_test: date, last_test: date, length: str) -> list[date]:
    """First test day of each fold that begins on or before `last_test`. `length`: `month` (calendar) or `2w`."""
    starts, day = [], first_test
    while day <= last_test:
        starts.append(day)
        day = (day.replace(day=1) + timedelta(days=32)).replace(day=1) if length == "month" else day + timedelta(days=14)
    return starts


def walk_forward(train_from: date, first_test: date, last_test: date, length: str = "month") -> list[Fold]:
    """Folds whose test windows tile `first_test` to `last_test`, both inclusive.

    Raises SettingsError when fewer than 14 days of history precede the first test day.
    """
    if (first_test - train_from).days < 14:
        raise SettingsError(
            f"only {(first_test - train_from).days} days of history before the first test day {first_test}: "
            f"start training earlier (--train-from) or test later (--from); 14 is the least"
        )
    starts = fold_starts(first_test, last_test, length)
    ends = [*starts[1:], last_test + DAY]
    return [_fold(train_from, start, end) for start, end in zip(starts, ends, strict=True)]


def _fold(train_from: date, start: date, end: date) -> Fold:
    test = Window(midnight(start), midnight(end))
    until = test.start - PURGE
    history = (until - midnight(train_from)).days
    valid_days = min(VALID_DAYS, max(3, int(history * VALID_SHARE)))
    valid = Window(until - valid_days * DAY, until)
    return Fold(start.isoformat(), Window(midnight(train_from), valid.start - PURGE), valid, test)
