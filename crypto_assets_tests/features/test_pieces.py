"""A table made in pieces of memory is the table made at once: the same files, byte for byte, however small the pieces."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import polars as pl
import pytest

from crypto_assets.features import built_in
from crypto_assets.features.matrix import matrix
from crypto_assets.lake import Derivation, Frames, Lake, derive
from crypto_assets.lake.pieces import in_pieces
from crypto_assets.market.time import Window
from crypto_assets_tests.features.market import random_market

FIRST = date(2024, 1, 1)
SYMBOLS = ("BTC", "ETH", "SOL", "ADA", "UNI", "AAVE", "DOT")
FAMILIES = built_in()
WINDOW = Window.of_days(date(2024, 4, 20), date(2024, 5, 9))
ROOMY, ONE = 10**9, 1
"""Values in memory: everything; the smallest pieces there are."""


def tight(step: Derivation, days: int = 4) -> int:
    """Room for so many days."""
    return days * 24 * len(SYMBOLS) * len(step.table.dtypes)


@pytest.fixture(scope="module")
def tables():
    """A market with a coin that was listed three days before the end and one that was gone for ten days."""
    found = random_market(SYMBOLS, FIRST, 135, seed=8, before=300)
    ts, symbol = pl.col("ts"), pl.col("symbol")
    gone = ts.is_between(datetime(2024, 4, 3, 7, tzinfo=UTC), datetime(2024, 4, 13, 9, tzinfo=UTC)) & (symbol == "SOL")
    new = (ts < WINDOW.end - timedelta(days=3)) & (symbol == "ADA")
    return {**found, "curated/candles": found["curated/candles"].filter(~gone & ~new)}


@pytest.fixture(scope="module")
def whole(tables):
    return {name: derive(family.derivation(), Frames(tables), WINDOW) for name, family in FAMILIES.items()}


def pieces(step: Derivation, tables, cells: int, folder):
    return list(in_pieces(step, Frames(tables), WINDOW, spill=folder, cells=cells))


def files(root):
    return {p.relative_to(root): p.read_bytes() for p in root.rglob("*.parquet")}


@pytest.mark.parametrize(
    ("name", "days"), [*((n, 12 if n == "onchain" else 4) for n in FAMILIES), ("technical", 0), ("cross_asset", 0)]
)
def test_a_family_in_pieces_is_the_family_at_once(name, days, tables, whole, tmp_path):
    step = FAMILIES[name].derivation()
    Lake(tmp_path / "whole").write(step.table, whole[name], WINDOW)
    lake, windows = Lake(tmp_path / "pieces"), []
    for window, rows in pieces(step, tables, tight(step, days) or ONE, tmp_path / "spill"):
        lake.write(step.table, rows, window)
        windows.append(window)
    assert len(windows) > 1
    assert [w.start for w in windows] == [WINDOW.start, *(w.end for w in windows[:-1])]
    assert windows[-1].end == WINDOW.end
    assert files(lake.root) == files(tmp_path / "whole")
    assert list((tmp_path / "spill").glob("*")) == []


def test_the_matrix_in_pieces_is_the_matrix_at_once(tables, whole, tmp_path):
    made = {**tables, **{f"features/{name}": rows for name, rows in whole.items()}}
    step = matrix(FAMILIES.values())
    found = pieces(step, made, tight(step), tmp_path)
    assert len(found) > 4
    at_once = derive(step, Frames(made), WINDOW)
    assert pl.concat(rows for _, rows in found).sort("symbol", "ts").equals(at_once, null_equal=True)


def test_what_fits_is_one_piece(tables, tmp_path):
    step = FAMILIES["technical"].derivation()
    ((window, rows),) = pieces(step, tables, ROOMY, tmp_path)
    assert window == WINDOW
    assert rows.equals(derive(step, Frames(tables), WINDOW), null_equal=True)


def test_coins_are_made_apart_where_the_lookback_is_longer_than_what_fits(tables, tmp_path):
    """Each coin's bars are computed once, whatever the number of pieces of days."""
    step, seen = FAMILIES["technical"].derivation(), []

    def watched(candles):
        seen.append(candles.select(pl.col("symbol").unique().sort()).collect()["symbol"].to_list())
        return step.compute(candles=candles)

    pieces(replace(step, compute=watched), tables, ONE, tmp_path)
    assert seen == [[s] for s in sorted(SYMBOLS)]


def test_nothing_to_read_is_no_error(tables, tmp_path):
    bare = {name: frame.clear() for name, frame in tables.items()}
    for name in ("technical", "cross_asset"):
        ((_, rows),) = pieces(FAMILIES[name].derivation(), bare, ONE, tmp_path)
        assert rows.height == 0
