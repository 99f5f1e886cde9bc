"""Another future is another future: what was known at the cut stays, in its place, and nothing changed is known by then."""

from __future__ import annotations

from datetime import timedelta

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crypto_assets.audit.alternatives import DOWN, MIXED, REMOVED, REVISED, UP, Alternatives
from crypto_assets.audit.cuts import choose
from crypto_assets.audit.sample import CANDLES, day_order, time_order
from crypto_assets.lake import TABLES, quarantine
from crypto_assets.market.time import HOUR

NAMES = (CANDLES, "raw/binance_funding", "raw/defillama_tvl", "raw/cboe_vix", "raw/fear_greed", "raw/coinmetrics_onchain")
WAYS = (REMOVED, UP, DOWN, MIXED, REVISED)


@pytest.fixture(scope="module")
def futures(sample):
    return Alternatives(sample.frames(NAMES))


@settings(max_examples=25, deadline=None)
@given(hours=st.integers(1, 1070), minutes=st.sampled_from([0, 17]), way=st.sampled_from(WAYS))
def test_the_past_stays_and_the_future_does_not_arrive_early(futures, sample, hours, minutes, way):
    cut = sample.window.start + hours * HOUR + timedelta(minutes=minutes)
    for name, frame in futures.at(way, cut).frames.items():
        before = futures.frames[name].filter(pl.col("available_at") <= cut)
        assert frame.filter(pl.col("available_at") <= cut).equals(before), name
        assert frame.schema == futures.frames[name].schema


@pytest.mark.parametrize("way", [UP, DOWN, MIXED])
@pytest.mark.parametrize("name", NAMES)
def test_other_values_differ_and_keep_the_tables_rules(futures, sample, name, way):
    cut = sample.window.start + 400 * HOUR
    other, frame = futures.at(way, cut).frames[name], futures.frames[name]
    split = quarantine.split(TABLES[name], other)
    assert split.bad.is_empty(), split.bad["reason"].unique().to_list()
    keys = list(TABLES[name].key)
    values = [c for c, t in frame.schema.items() if t.is_float()]
    both = frame.filter(pl.col("available_at") > cut).join(other, on=keys, suffix="_other")
    changed = both.select((pl.col(c) != pl.col(f"{c}_other")).mean().alias(c) for c in values).row(0)
    assert min(changed) > 0.9
    assert other.height < frame.height, "some rows of another future are absent"


def test_only_the_named_tables_change(futures, sample):
    cut = sample.window.start + 400 * HOUR
    changed = futures.at(UP, cut, ["raw/cboe_vix"]).frames
    assert [name for name in NAMES if not changed[name].equals(futures.frames[name])] == ["raw/cboe_vix"]


def test_a_correction_is_a_further_row_published_after_the_cut(futures, sample):
    cut = sample.window.start + 400 * HOUR
    frame = futures.at(REVISED, cut).frames["raw/defillama_tvl"]
    new = frame.join(futures.frames["raw/defillama_tvl"], on=["chain", "ts", "source", "available_at"], how="anti")
    assert new.height > 20
    assert new["available_at"].is_between(cut, cut + 6 * HOUR, closed="right").all()
    assert (new["ts"] < cut).all()
    assert frame.select("chain", "ts", "source", "available_at").is_duplicated().sum() == 0


def test_the_other_orders_hold_the_same_rows(sample):
    rows = sample.rough(CANDLES)
    for order in (day_order, time_order):
        moved = order(CANDLES, rows)
        assert not moved.equals(rows)
        assert moved.sort("symbol", "ts").equals(rows)


def test_the_sample_has_what_leaks_hide_in(sample):
    rows = sample.rough(CANDLES)
    first_and_last = rows.group_by("symbol").agg(a=pl.col("ts").min(), b=pl.col("ts").max())
    assert first_and_last["a"].n_unique() > 1
    assert first_and_last["b"].n_unique() > 1
    assert rows["spot_close"].null_count() > 50
    assert (rows["volume"] == 0).sum() > 5
    assert rows["is_disputed"].sum() > 5
    gaps = rows.select((pl.col("ts").diff().over("symbol") > HOUR).sum()).item()
    assert gaps > 30
    assert quarantine.split(TABLES[CANDLES], rows).bad.is_empty()


def test_cuts_are_every_hour_in_the_end_and_the_nasty_ones_first(sample):
    rows = sample.rough(CANDLES)
    made = rows.select("symbol", ts=pl.col("ts") + HOUR, x="close")
    found = choose(sample.window, {CANDLES: rows}, made)
    hours = {sample.window.start + n * HOUR for n in range(1, sample.window.hours - 1)}
    assert hours <= set(found)
    assert len(found) == len(set(found))
    early = found[:60]
    assert any(c.day == 1 and c.hour == 0 for c in early)
    assert any(c.weekday() == 0 and c.hour == 0 for c in found[:150])
    assert min(early) < sample.window.start + 2 * HOUR
    assert choose(sample.window, {CANDLES: rows}, made) == found
