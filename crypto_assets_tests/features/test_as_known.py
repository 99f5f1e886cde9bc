"""The as-of join against the obvious loop."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crypto_assets.features import as_known
from crypto_assets.market.errors import SchemaError

ORIGIN = datetime(2024, 1, 1, tzinfo=UTC)
UTC_US = pl.Datetime("us", "UTC")


def hour(h: float) -> datetime:
    return ORIGIN + timedelta(hours=h)


def table(rows: list[tuple]) -> pl.LazyFrame:
    """(symbol, ts, available_at, value) in hours."""
    schema = {"symbol": pl.String, "ts": UTC_US, "available_at": UTC_US, "value": pl.Float64}
    return pl.LazyFrame([(s, hour(t), hour(a), v) for s, t, a, v in rows], schema=schema, orient="row")


def grid(rows: list[tuple]) -> pl.LazyFrame:
    return pl.LazyFrame([(s, hour(t)) for s, t in rows], schema={"symbol": pl.String, "ts": UTC_US}, orient="row")


def by_loop(rows: list[tuple], at: tuple, max_age: float) -> float | None:
    """Newest moment described among what was published, then its newest version."""
    known = [r for r in rows if r[0] == at[0] and r[2] <= at[1]]
    if not known:
        return None
    best = max(known, key=lambda r: (r[1], r[2]))
    return best[3] if at[1] - best[1] <= max_age else None


symbols = st.sampled_from(["A", "B"])
moments = st.integers(0, 40)


@settings(max_examples=150, deadline=None)
@given(
    rows=st.lists(
        st.tuples(symbols, moments, st.integers(0, 20), st.floats(-9, 9)), max_size=25, unique_by=lambda r: (r[0], r[1], r[2])
    ),
    at=st.lists(st.tuples(symbols, st.integers(-2, 70)), max_size=15, unique=True),
    max_age=st.integers(0, 50),
)
def test_equals_the_loop(rows, at, max_age):
    rows = [(s, t, t + lag, v) for s, t, lag, v in rows]
    found = as_known(table(rows), grid(at), max_age=timedelta(hours=max_age), columns=["value"]).collect()
    assert found.select("symbol", "ts").rows() == [(s, hour(t)) for s, t in sorted(at)]
    assert found["value"].to_list() == [by_loop(rows, g, max_age) for g in sorted(at)]


def test_a_revision_holds_from_its_own_publication_and_a_late_old_row_displaces_nothing():
    rows = [("A", 0, 10, 1.0), ("A", 24, 30, 2.0), ("A", 0, 40, 9.0), ("A", 24, 50, 3.0)]
    at = [("A", h) for h in (9, 10, 29, 30, 40, 49, 50)]
    found = as_known(table(rows), grid(at), max_age=timedelta(days=9), columns=["value"]).collect()
    assert found["value"].to_list() == [None, 1.0, 1.0, 2.0, 2.0, 2.0, 3.0]


def test_the_age_is_counted_from_the_moment_described():
    at = [("A", h) for h in (10, 24, 25)]
    known = as_known(table([("A", 0, 10, 1.0)]), grid(at), max_age=timedelta(days=1), columns=["value"], age_hours="age")
    assert known.collect().select("value", "age").rows() == [(1.0, 10.0), (1.0, 24.0), (None, None)]


def test_one_series_for_all_and_several_columns():
    rows = table([("x", 0, 1, 1.0), ("x", 5, 6, 2.0)]).with_columns(other=pl.col("value") * 10).drop("symbol")
    found = as_known(rows, grid([("B", 6), ("A", 3)]), by=(), max_age=timedelta(days=1), columns=["value", "other"])
    assert sorted(found.collect().rows()) == [("A", hour(3), 1.0, 10.0), ("B", hour(6), 2.0, 20.0)]


def test_of_two_sources_the_last_by_name_counts_whatever_their_order():
    rows = table([("A", 0, 1, 1.0), ("A", 0, 1, 2.0)]).with_columns(source=pl.Series(["zeta", "alpha"]))
    for ordered in (rows, rows.reverse()):
        assert as_known(ordered, grid([("A", 2)]), max_age=timedelta(1), columns=["value"]).collect()["value"].to_list() == [
            1.0
        ]


def test_a_missing_column_is_named():
    with pytest.raises(SchemaError, match=r"the table lacks the columns \['price'\]"):
        as_known(table([]), grid([]), max_age=timedelta(1), columns=["price"])
    with pytest.raises(SchemaError, match=r"the grid lacks the columns \['chain'\]"):
        as_known(table([]).with_columns(chain=pl.lit("x")), grid([]), by=("chain",), max_age=timedelta(1), columns=["value"])
