"""A revision keeps the old row and adds the changed one; the same payloads add nothing."""

from datetime import date, timedelta

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from crypto_assets.lake import RawTable, revisions
from crypto_assets.market.time import midnight

T0 = midnight(date(2024, 1, 1))


class RawRevisionProbe(RawTable):
    name = "raw/revision_probe"
    key = ("ts", "source")
    value: float | None


def frame(values: list[float | None]) -> pl.DataFrame:
    ts = [T0 + timedelta(days=n) for n in range(len(values))]
    return RawRevisionProbe.shape(
        pl.DataFrame(
            {"ts": ts, "available_at": [t + timedelta(hours=27) for t in ts], "source": "x", "value": values}
        ).with_columns(pl.col("value").cast(pl.Float64))
    )


VALUES = st.lists(st.one_of(st.none(), st.sampled_from([1.0, 2.0, 3.0])), min_size=1, max_size=6)


@given(VALUES)
def test_the_same_payload_changes_nothing(values):
    kept = frame(values)
    assert revisions.merge(RawRevisionProbe, kept, kept.reverse(), T0 + timedelta(days=90)).equals(kept)


@given(VALUES, st.data())
def test_a_change_is_added_and_both_moments_see_their_truth(values, data):
    kept = frame(values)
    changed = data.draw(st.lists(st.sampled_from([7.0, 8.0]), min_size=len(values), max_size=len(values)))
    seen = T0 + timedelta(days=90)
    merged = revisions.merge(RawRevisionProbe, kept, frame(changed), seen)
    before = revisions.newest(RawRevisionProbe, merged.lazy(), seen - timedelta(seconds=1)).collect().sort("ts")
    after = revisions.newest(RawRevisionProbe, merged.lazy(), seen).collect().sort("ts")
    assert before["value"].to_list() == values
    assert after["value"].to_list() == changed
    again = revisions.merge(RawRevisionProbe, merged, frame(changed), seen + timedelta(days=1))
    assert again.equals(merged)
