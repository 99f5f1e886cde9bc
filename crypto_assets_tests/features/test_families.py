"""Every family and the matrix: nothing from the future, nothing beyond the lookback, the same bytes, the right values."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from crypto_assets.features import Column, FeatureFamily, built_in, catalogue
from crypto_assets.features.matrix import matrix
from crypto_assets.lake import Frames, derive
from crypto_assets.market.errors import SettingsError
from crypto_assets.market.time import Window
from crypto_assets_tests.features import invariance
from crypto_assets_tests.features.market import random_market

FIRST = date(2024, 1, 1)
SYMBOLS = ("BTC", "ETH", "SOL", "ADA", "UNI")
FAMILIES = built_in()


@pytest.fixture(scope="module")
def tables():
    return random_market(SYMBOLS, FIRST, 140, seed=3, before=300)


LATE = Window.of_days(date(2024, 5, 5), date(2024, 5, 14))
CUTS = [datetime(2024, 5, 7, 13, tzinfo=UTC), datetime(2024, 5, 10, 0, tzinfo=UTC), datetime(2024, 5, 12, 3, 30, tzinfo=UTC)]


def test_there_are_the_families():
    of_prices = {"technical", "chart", "fractal", "cross_asset", "microstructure"}
    assert set(FAMILIES) == of_prices | {"derivatives", "sentiment", "attention", "onchain", "defi", "macro"}


@pytest.mark.parametrize("name", FAMILIES)
def test_no_family_sees_the_future(name, tables):
    assert invariance.leaks(invariance.of_family(FAMILIES[name]), tables, LATE, CUTS) == {}


def test_whether_a_missing_bar_is_followed_by_others_is_not_known(tables):
    """At an hour without a coin's bar the others' rows are the same whether the coin trades again or never."""
    cut = datetime(2024, 5, 10, 13, tzinfo=UTC)
    candles, ts, eth = tables["curated/candles"], pl.col("ts"), pl.col("symbol") == "ETH"
    holed = candles.filter(~(eth & ts.is_between(cut - timedelta(hours=3), cut + timedelta(hours=2))))
    for name, family in FAMILIES.items():
        again, never = (
            derive(family.derivation(), Frames({**tables, "curated/candles": rows}), LATE).filter(ts <= cut)
            for rows in (holed, holed.filter(~(eth & (ts > cut))))
        )
        assert again.equals(never, null_equal=True), (name, exact(again, never))


def test_the_matrix_does_not_see_the_future(tables):
    assert invariance.leaks(invariance.of_matrix(FAMILIES.values()), tables, LATE, CUTS[1:2]) == {}


def _leaky(name: str, expr: pl.Expr) -> FeatureFamily:
    def compute(candles: pl.LazyFrame) -> pl.LazyFrame:
        return candles.sort("symbol", "ts").select("symbol", pl.col("ts") + pl.duration(hours=1), x=expr)

    return FeatureFamily(name, {"candles": "curated/candles"}, timedelta(days=5), {"x": "a leak"}, compute)


def test_a_family_that_takes_bars_as_a_grid_sees_nothing_else_of_them(tables):
    rows = []
    for grid in ("", "candles"):
        family = replace(_leaky("x", pl.col("close")), grid=grid)
        rows.append(derive(family.derivation(), Frames(tables), LATE))
    assert rows[0].drop("x").equals(rows[1].drop("x"))
    assert (rows[0]["x"].null_count(), rows[1]["x"].count()) == (0, 0)
    with pytest.raises(SettingsError, match="the grid 'texts' is none of the inputs"):
        replace(_leaky("x", pl.col("close")), grid="texts")


CLOSE = pl.col("close")


@pytest.mark.parametrize(
    "expr",
    [
        CLOSE.shift(-1).over("symbol") / CLOSE,
        CLOSE - CLOSE.rolling_mean(5, center=True).over("symbol"),
        (CLOSE - CLOSE.mean().over("symbol")) / CLOSE.std().over("symbol"),
        CLOSE.rank().over("symbol").cast(pl.Float64),
        pl.when(pl.col("volume") > 150).then(CLOSE).backward_fill().over("symbol"),
    ],
    ids=["next bar", "centred window", "whole-sample z-score", "whole-sample rank", "backfill"],
)
def test_a_planted_leak_is_found(expr, tables):
    assert "x" in invariance.leaks(invariance.of_family(_leaky("canary", expr)), tables, LATE, CUTS)


def test_joining_on_the_day_described_is_found(tables):
    def compute(candles: pl.LazyFrame, vix: pl.LazyFrame) -> pl.LazyFrame:
        rows = candles.select("symbol", pl.col("ts") + pl.duration(hours=1)).sort("ts")
        return rows.join_asof(vix.sort("ts").select("ts", x="close"), on="ts")

    family = FeatureFamily(
        "early", {"candles": "curated/candles", "vix": "raw/cboe_vix"}, timedelta(days=9), {"x": "too early"}, compute
    )
    assert "x" in invariance.leaks(invariance.of_family(family), tables, LATE, CUTS)


@pytest.fixture(scope="module")
def interrupted(tables):
    """The market with a coin that was gone for ten days."""
    gone = pl.col("ts").is_between(datetime(2024, 4, 3, 7, tzinfo=UTC), datetime(2024, 4, 13, 9, tzinfo=UTC))
    return {**tables, "curated/candles": tables["curated/candles"].filter(~(gone & (pl.col("symbol") == "SOL")))}


@pytest.mark.parametrize("name", FAMILIES)
def test_a_row_does_not_depend_on_where_the_read_begins(name, interrupted):
    """A day, and an hour, read with the declared lookback are those read with everything there is, to the last bit."""
    family = FAMILIES[name]
    day = Window.of_days(date(2024, 5, 14), date(2024, 5, 14))
    long = derive(replace(family, lookback=timedelta(days=440), lookbacks={}).derivation(), Frames(interrupted), day)
    assert long.height > 90
    for window in (day, Window(day.end - timedelta(hours=1), day.end)):
        short = derive(family.derivation(), Frames(interrupted), window)
        assert short.equals(long.filter(pl.col("ts") >= window.start), null_equal=True), exact(short, long)


def exact(short: pl.DataFrame, long: pl.DataFrame) -> dict[str, int]:
    return invariance.differences(long.join(short.select("symbol", "ts"), on=["symbol", "ts"]), short, 0.0)


def test_the_newest_hour_by_itself_is_the_row_of_the_whole_range(interrupted):
    """What is served at an hour's close is what a run over weeks writes: every column of the matrix, to the last bit."""
    weeks, hour = Window.of_days(date(2024, 4, 25), date(2024, 5, 18)), datetime(2024, 5, 18, 23, tzinfo=UTC)
    whole, alone = (
        invariance.of_matrix(FAMILIES.values())(interrupted, window)
        for window in (weeks, Window(hour, hour + timedelta(hours=1)))
    )
    assert alone.height >= 4
    assert alone.equals(whole.filter(pl.col("ts") == hour), null_equal=True), exact(alone, whole)


@pytest.mark.parametrize("name", FAMILIES)
def test_one_row_a_bar_and_the_same_bytes_twice(name, tables):
    family = FAMILIES[name].derivation()
    once, twice = (derive(family, Frames(tables), LATE) for _ in range(2))
    bars = tables["curated/candles"].filter(pl.col("available_at").is_between(LATE.start, LATE.end, closed="left"))
    assert once.height == bars.height == once.select("symbol", "ts").n_unique()
    assert once.equals(twice)
    assert once.select(pl.col(pl.Float64).is_finite().all()).row(0, named=True) == dict.fromkeys(FAMILIES[name].columns, True)
    assert [c for c in FAMILIES[name].columns if once[c].null_count() == once.height] == []


def test_empty_inputs_give_null_columns_and_all_rows(tables):
    bare = {name: frame if name == "curated/candles" else frame.clear() for name, frame in tables.items()}
    for family in FAMILIES.values():
        rows = derive(family.derivation(), Frames(bare), LATE)
        assert rows.height == derive(family.derivation(), Frames(tables), LATE).height, family.name


@pytest.mark.parametrize("hours", [0, 1, 3, 30])
def test_almost_no_history_is_no_error(hours, tables):
    candles = tables["curated/candles"]
    few = candles.filter(pl.col("ts") < candles["ts"].min() + timedelta(hours=hours))
    short = {name: few if name == "curated/candles" else frame for name, frame in tables.items()}
    window = Window.of_days(FIRST, date(2024, 1, 3))
    for family in FAMILIES.values():
        assert derive(family.derivation(), Frames(short), window).height == few.height, family.name


def test_the_matrix_is_the_families_beside_the_return(tables):
    made = dict(tables)
    for family in FAMILIES.values():
        made[f"features/{family.name}"] = derive(family.derivation(), Frames(tables), LATE)
    missing = made["features/macro"].sample(fraction=0.7, seed=1, shuffle=True)
    rows = derive(matrix(FAMILIES.values()), Frames({**made, "features/macro": missing}), LATE)
    assert rows.height == made["features/technical"].height
    for name, family in FAMILIES.items():
        source = missing if name == "macro" else made[f"features/{name}"]
        wanted = rows.select("symbol", "ts").join(source, on=["symbol", "ts"], how="left")
        for column in family.columns:
            assert rows[f"{name}.{column}"].equals(wanted[column], null_equal=True), (name, column)


def test_the_return_of_a_bar_is_null_after_a_hole(tables):
    rows = derive(matrix([]), Frames(tables), Window.of_days(FIRST, date(2024, 5, 19)))
    closes = {(s, t): c for s, t, c in tables["curated/candles"].select("symbol", "ts", "close").iter_rows()}
    holes = 0
    for symbol, ts, found in rows.select("symbol", "ts", "return_1h").iter_rows():
        now, before = closes[symbol, ts - timedelta(hours=1)], closes.get((symbol, ts - timedelta(hours=2)))
        holes += before is None
        assert found is None if before is None else found == pytest.approx(np.log(now / before), abs=1e-14)
    assert holes > 10


def test_two_families_of_one_name_are_refused():
    with pytest.raises(SettingsError, match="two feature families are called macro"):
        matrix([FAMILIES["macro"], FAMILIES["macro"]])


def test_the_catalogue_says_what_each_column_means():
    rows = catalogue(FAMILIES.values())
    assert len(rows) == sum(len(f.columns) for f in FAMILIES.values())
    for row in rows:
        assert set(row) == {"name", "family", "meaning", "unit", "lookback_hours", "source"}
        assert len(row["meaning"]) > 8
        assert 0 <= row["lookback_hours"] <= FAMILIES[row["family"]].lookback / timedelta(hours=1), row["name"]


@pytest.mark.parametrize("name", FAMILIES)
def test_a_column_looks_back_no_further_than_it_says(name, tables):
    """Read with the column's own lookback (and the bar itself), the value is the same."""
    family = FAMILIES[name]
    day = Window.of_days(date(2024, 5, 14), date(2024, 5, 14))
    full = derive(family.derivation(), Frames(tables), day).filter(pl.col("ts") == day.start)
    groups: dict[timedelta, list[str]] = {}
    for column, described in family.described().items():
        assert isinstance(described, Column)
        groups.setdefault(described.lookback if described.lookback is not None else family.lookback, []).append(column)
    for lookback, columns in groups.items():
        short = derive(replace(family, lookback=lookback + timedelta(hours=2)).derivation(), Frames(tables), day)
        short = short.filter(pl.col("ts") == day.start)
        wrong = invariance.differences(full.select("symbol", "ts", *columns), short, 1e-5, spread=1e-4)
        assert wrong == {}, lookback
