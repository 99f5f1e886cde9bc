"""Bars: each closed bar once, whatever is lost, repeated or out of order on the way."""

from __future__ import annotations

import random
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crypto_assets.sources.stream.bars import GRACE_MS, TRIES, Bars, Hole
from crypto_assets_tests.sources.stream.feeds import MINUTE, START, Kept, ms, said

N, STEP = 30, 60_000
FIRST = ms(START)


def klines() -> list[dict]:
    return [m["k"] for m in said("btcusdt@kline_1m", START, START + N * MINUTE, step=timedelta(seconds=10))]


KLINES = klines()
FINAL = [k for k in KLINES if k["x"]]
VALUES = {k["t"]: float(k["c"]) for k in FINAL}


def listening() -> tuple[Bars, Kept]:
    kept = Kept()
    bars = Bars("binance_spot", kept, kept.stats)
    bars.start("BTC", "1m", FIRST - STEP)
    return bars, kept


def answer(hole: Hole) -> list[tuple[int, dict]]:
    return [(t, {"close": VALUES[t]}) for t in range(hole.first, hole.last + STEP, STEP)]


def test_open_bars_are_not_stored():
    assert len(FINAL) == N < len(KLINES)
    bars, kept = listening()
    for k in KLINES:
        bars.on_kline("BTC", k, 0.0)
    assert {ts: row["close"] for (_, _, ts), row in kept.rows.items()} == VALUES
    row = kept.rows["candles_1m", "BTC", FIRST]
    assert row["trades"] == FINAL[0]["n"]
    assert row["taker_buy_volume"] == float(FINAL[0]["V"])
    assert bars.complete_until("1m") == FIRST + N * STEP
    assert bars.holes(FIRST + N * STEP + GRACE_MS) == []


@settings(max_examples=60, deadline=None)
@given(st.sets(st.integers(0, N - 1)), st.lists(st.integers(0, N - 1), max_size=20), st.randoms(use_true_random=False))
def test_nothing_is_lost_or_stored_twice(dropped, repeated, chance: random.Random):
    bars, kept = listening()
    heard = [k for n, k in enumerate(FINAL) if n not in dropped] + [FINAL[n] for n in repeated if n not in dropped]
    chance.shuffle(heard)
    for k in heard:
        bars.on_kline("BTC", k, 0.0)
    for hole in bars.holes(FIRST + N * STEP + GRACE_MS):
        bars.repaired(hole, answer(hole), 0.0)
    assert {ts: row["close"] for (_, _, ts), row in kept.rows.items()} == VALUES
    assert set(kept.times.values()) == {1}
    for k in heard:  # all again
        bars.on_kline("BTC", k, 0.0)
    assert set(kept.times.values()) == {1}
    assert kept.stats.total("repaired") == len(dropped)
    assert bars.holes(FIRST + N * STEP + GRACE_MS) == []
    assert bars.complete_until("1m") == FIRST + N * STEP


def test_a_bar_is_due_only_after_its_grace():
    bars, _ = listening()
    assert bars.holes(FIRST + STEP + GRACE_MS - 1) == []
    assert bars.holes(FIRST + STEP + GRACE_MS) == [Hole("BTC", "1m", FIRST, FIRST)]


def test_what_the_exchange_does_not_have_is_given_up_after_some_tries():
    bars, kept = listening()
    bars.on_kline("BTC", FINAL[1], 0.0)
    now = FIRST + 2 * STEP + GRACE_MS
    for _ in range(TRIES):
        (hole,) = bars.holes(now)
        bars.repaired(hole, [], 0.0)
    assert bars.holes(now) == []
    assert kept.stats.total("absent") == 1
    assert bars.complete_until("1m") == FIRST + 2 * STEP
    for _ in range(2):  # it comes after all
        bars.on_kline("BTC", FINAL[0], 0.0)
    assert kept.times["candles_1m", "BTC", FIRST] == 1
    assert bars.complete_until("1m") == FIRST + 2 * STEP


def test_a_final_bar_replaces_one_that_was_asked_for_too_early():
    bars, kept = listening()
    (hole,) = bars.holes(FIRST + STEP + GRACE_MS)
    bars.repaired(hole, [(FIRST, {"close": 1.0})], 0.0)
    for _ in range(3):
        bars.on_kline("BTC", FINAL[0], 0.0)
    assert kept.rows["candles_1m", "BTC", FIRST]["close"] == VALUES[FIRST]
    assert kept.times["candles_1m", "BTC", FIRST] == 2


def test_after_a_stop_only_what_is_not_stored_is_asked_for():
    kept = Kept()
    bars = Bars("binance_spot", kept, kept.stats)
    stored = [FIRST + n * STEP for n in (0, 1, 4)]
    bars.start("BTC", "1m", FIRST - STEP, stored)
    assert bars.holes(FIRST + 6 * STEP + GRACE_MS) == [Hole("BTC", "1m", FIRST + 2 * STEP, FIRST + 5 * STEP)]
    hole = Hole("BTC", "1m", FIRST + 2 * STEP, FIRST + 5 * STEP)
    bars.repaired(hole, answer(hole), 0.0)
    assert sorted(ts for _, _, ts in kept.rows) == [FIRST + n * STEP for n in (2, 3, 5)]


@pytest.mark.parametrize("change", [{"c": None}, {"t": "soon"}, {"t": FIRST + 1}, {"o": "1,5"}, {"h": "inf"}])
def test_a_malformed_bar_is_an_error_and_stays_due(change):
    bars, kept = listening()
    with pytest.raises((KeyError, TypeError, ValueError)):
        bars.on_kline("BTC", FINAL[0] | change, 0.0)
    assert kept.rows == {}
    assert len(bars.holes(FIRST + STEP + GRACE_MS)) == 1
