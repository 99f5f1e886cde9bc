"""Minutes of trades: every number once; what is missing is known, asked for, or said to be missing."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from crypto_assets.sources.stream.trades import GRACE_MS, TRIES, Trades
from crypto_assets_tests.sources.stream.feeds import MINUTE, START, Kept, ms, rest_trades, said, true_minutes, without

END = START + 40 * MINUTE
SAID = said("btcusdt@aggTrade", START, END)
ROWS = rest_trades("BTC", START, END)
TRUTH = true_minutes("BTC", "spot", START + MINUTE, END)
"""Without the minute in which listening began."""
LATER = ms(END) + GRACE_MS
BUSY = TRUTH.sort("aggregates", "ts")["ts"][-1]
INSIDE = [n for n, m in enumerate(SAID) if ms(BUSY) <= m["T"] < ms(BUSY + MINUTE)][1:-1]
"""Trades of the busiest minute but for its first and last."""


def listening() -> tuple[Trades, Kept]:
    kept = Kept()
    trades = Trades("binance_spot", kept, kept.stats)
    trades.start("BTC")
    trades.heard()
    return trades, kept


def confirm(trades: Trades, newest: int = SAID[-1]["a"]) -> None:
    for symbol in trades.unsure():
        trades.confirm(symbol, newest, LATER, trades.epoch)


def repair(trades: Trades, rows: list[dict] = ROWS) -> None:
    confirm(trades)
    for missing in trades.missing():
        trades.repaired(missing, [r for r in rows if missing.first <= r["a"] <= missing.last])


def same(kept: Kept) -> None:
    assert_frame_equal(kept.frame("trades_1m", "BTC"), TRUTH.select(kept.frame("trades_1m", "BTC").columns), rel_tol=1e-12)


def test_minutes_are_those_of_the_market():
    trades, kept = listening()
    for n, m in enumerate(SAID):
        trades.on_trade("BTC", m)
        confirm(trades, m["a"])
        if n % 5 == 0:
            trades.close(m["E"])
    trades.close(LATER)
    same(kept)
    assert set(kept.times.values()) == {1}
    assert kept.stats.total("gaps") == 0


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, len(SAID) - 2), st.integers(1, 20)), max_size=4),
    st.lists(st.integers(0, len(SAID) - 1), max_size=10),
    st.randoms(use_true_random=False),
)
def test_lost_repeated_and_late_trades_make_no_difference(holes, repeated, chance: random.Random):
    trades, kept = listening()
    dropped = {n for start, length in holes for n in range(start, min(start + length, len(SAID) - 1))}
    heard = [m for n, m in enumerate(SAID) for m in [m] * (1 + repeated.count(n)) if n not in dropped]
    for n in range(1, len(heard) - 2, 7):  # neighbours change places
        if chance.random() < 0.3:
            heard[n], heard[n + 1] = heard[n + 1], heard[n]
    for m in heard:
        trades.on_trade("BTC", m)
    repair(trades)
    trades.close(LATER)
    same(kept)
    assert kept.stats.total("repaired") == len(dropped)


def test_a_minute_with_a_hole_waits_for_its_repair():
    trades, kept = listening()
    for m in without(SAID, INSIDE[:3]):
        trades.on_trade("BTC", m)
    confirm(trades)
    trades.close(LATER)
    assert ("trades_1m", "BTC", ms(BUSY - MINUTE)) in kept.rows
    assert ("trades_1m", "BTC", ms(BUSY)) not in kept.rows
    repair(trades)
    trades.close(LATER)
    same(kept)


def test_what_cannot_be_had_again_leaves_its_minute_incomplete_and_no_other():
    trades, kept = listening()
    for m in without(SAID, INSIDE[:3]):
        trades.on_trade("BTC", m)
    for _ in range(TRIES):
        trades.close(LATER)
        assert ("trades_1m", "BTC", ms(BUSY)) not in kept.rows
        repair(trades, [])
    trades.close(LATER)
    found = kept.frame("trades_1m", "BTC")
    assert found.filter(~found["is_complete"])["ts"].to_list() == [BUSY]
    assert kept.stats.total("absent") == len(INSIDE[:3]) > 0
    whole = found.filter("is_complete")
    assert_frame_equal(whole, TRUTH.filter(TRUTH["ts"] != BUSY).select(whole.columns), rel_tol=1e-12)


def test_after_a_loss_no_minute_is_stored_before_the_newest_number_is_known():
    """The connection goes with the last trades of a minute, and nothing comes after it."""
    trades, kept = listening()
    cut = INSIDE[-1]
    for m in SAID[:cut]:
        trades.on_trade("BTC", m)
    confirm(trades, SAID[cut - 1]["a"])
    trades.heard(False)
    trades.close(LATER)
    assert kept.rows == {}
    assert trades.unsure() == [], "while it is not heard there is nothing to ask"
    trades.heard()
    asked = trades.epoch
    trades.heard(False)
    trades.heard()
    trades.confirm("BTC", SAID[cut]["a"], LATER, asked)
    assert trades.unsure() == ["BTC"], "what was asked before another loss says nothing"
    repair(trades)
    trades.close(LATER)
    same(kept)


def test_a_stop_is_bridged_by_the_last_stored_number():
    before = TRUTH.row(3, named=True)
    kept = Kept()
    trades = Trades("binance_spot", kept, kept.stats)
    trades.start("BTC", before["last_id"], ms(before["ts"]))
    for m in [m for m in SAID if m["T"] > ms(START + 20 * MINUTE) + 20_000]:
        trades.on_trade("BTC", m)
    repair(trades)
    trades.close(LATER)
    found = kept.frame("trades_1m", "BTC")
    assert_frame_equal(found, TRUTH.filter(TRUTH["ts"] > before["ts"]).select(found.columns), rel_tol=1e-12)


@pytest.mark.parametrize("change", [{"p": None}, {"a": "x"}, {"q": "many"}, {"T": None}, {"m": "true"}, {"p": "nan"}])
@pytest.mark.parametrize("by_rest", [False, True])
def test_a_malformed_trade_is_an_error_and_its_number_stays_missing(change, by_rest):
    trades, kept = listening()
    for m in [m for n, m in enumerate(SAID) if n != 5]:
        trades.on_trade("BTC", m)
    (missing,) = trades.missing()
    broken = SAID[5] | change
    for _ in range(2):
        with pytest.raises((TypeError, ValueError)):
            trades.repaired(missing, [broken]) if by_rest else trades.on_trade("BTC", broken)
    assert [(m.first, m.last) for m in trades.missing()] == [(SAID[5]["a"], SAID[5]["a"])]
    repair(trades)
    trades.close(LATER)
    same(kept)
