"""Windows are half open, aware and ordered."""

from datetime import UTC, date, datetime, timedelta, timezone
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crypto_assets.market.errors import SettingsError
from crypto_assets.market.time import DAY, Window, midnight

DAYS = st.dates(date(2015, 1, 1), date(2030, 1, 1))


@given(DAYS, st.integers(0, 500))
def test_a_window_of_days_holds_exactly_those_days(first, more):
    last = first + timedelta(days=more)
    window = Window.of_days(first, last)
    assert window.days == [first + timedelta(days=n) for n in range(more + 1)]
    assert window.hours == 24 * (more + 1)


@given(DAYS, st.integers(1, 200), st.integers(1, 60))
def test_chunks_tile_the_window(first, days, size):
    window = Window(midnight(first), midnight(first) + days * DAY)
    chunks = list(window.chunks(size))
    assert chunks[0].start == window.start
    assert chunks[-1].end == window.end
    assert all(a.end == b.start for a, b in pairwise(chunks))


@pytest.mark.parametrize(
    ("start", "end"),
    [
        (datetime(2024, 1, 1), datetime(2024, 1, 2, tzinfo=UTC)),  # noqa: DTZ001
        (datetime(2024, 1, 1, tzinfo=timezone(timedelta(hours=1))), datetime(2024, 1, 2, tzinfo=UTC)),
        (datetime(2024, 1, 2, tzinfo=UTC), datetime(2024, 1, 1, tzinfo=UTC)),
        (datetime(2024, 1, 1, tzinfo=UTC), datetime(2024, 1, 1, tzinfo=UTC)),
    ],
)
def test_naive_foreign_and_reversed_windows_are_refused(start, end):
    with pytest.raises(SettingsError):
        Window(start, end)
