"""Books: the local one is the exchange's at every moment, breaks are seen, minutes are means over seconds."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import pytest

from crypto_assets.sandbox import book as books
from crypto_assets.sources.stream.book import LEVELS, Books
from crypto_assets_tests.sources.loopback import market
from crypto_assets_tests.sources.stream.feeds import MINUTE, START, VENUES, Kept, ms, said

SECOND = timedelta(seconds=1)
END = START + 2 * MINUTE + 5 * SECOND


@pytest.fixture(scope="module", params=list(VENUES))
def provider(request) -> str:
    return request.param


@pytest.fixture(scope="module")
def updates(provider) -> list[dict]:
    return said("btcusdt@depth@100ms", START, END, VENUES[provider], SECOND)


def true_book(provider: str, at_ms: int, levels: int = 500) -> tuple[dict[float, float], dict[float, float]]:
    found = books.book(market(), "BTC", VENUES[provider], at_ms)
    sides = []
    for side in (found.bids.head(levels), found.asks.head(levels)):
        sides.append({float(found.ladder.price(int(k))): n / books.LOT for k, n in zip(side.level, side.lots, strict=True)})
    return sides[0], sides[1]


def snapshot(provider: str, at_ms: int) -> dict:
    found = books.book(market(), "BTC", VENUES[provider], at_ms)
    bids, asks = ([[str(p), str(q)] for p, q in side.items()] for side in true_book(provider, at_ms))
    return {"lastUpdateId": found.update_id, "bids": bids, "asks": asks}


def listening(provider: str) -> tuple[Books, Kept]:
    kept = Kept()
    found = Books(provider, kept, kept.stats)
    found.start("BTC")
    return found, kept


def top(book) -> tuple[dict, dict]:
    bids = {p: book.bids[p] for p in sorted(book.bids, reverse=True)[:LEVELS]}
    return bids, {p: book.asks[p] for p in sorted(book.asks)[:LEVELS]}


def test_the_local_book_is_the_exchanges(provider, updates):
    local, kept = listening(provider)
    for m in updates[:15]:
        local.on_depth("BTC", m)
    assert local.awaited() == ["BTC"]
    local.snapshot("BTC", snapshot(provider, updates[7]["E"]))
    assert local.awaited() == []
    for n, m in enumerate(updates[15:600]):
        local.on_depth("BTC", m)
        if n % 20 == 0:
            assert top(local._books["BTC"]) == true_book(provider, m["E"], LEVELS)
    assert kept.stats.total("gaps") == 0


def test_a_snapshot_older_than_the_first_update_is_not_used(provider, updates):
    local, _ = listening(provider)
    for m in updates[50:60]:
        local.on_depth("BTC", m)
    local.snapshot("BTC", snapshot(provider, updates[10]["E"]))
    assert local.awaited() == ["BTC"]


def test_a_lost_update_is_seen_and_the_book_taken_anew(provider, updates):
    local, kept = listening(provider)
    local.on_depth("BTC", updates[0])
    local.snapshot("BTC", snapshot(provider, updates[0]["E"]))
    for m in [*updates[1:40], *updates[41:60]]:
        local.on_depth("BTC", m)
    assert kept.stats.total("gaps") == 1
    assert local.awaited() == ["BTC"]
    assert local.best("BTC") is None
    local.snapshot("BTC", snapshot(provider, updates[55]["E"]))
    assert top(local._books["BTC"]) == true_book(provider, updates[59]["E"], LEVELS)


def test_a_repeated_update_changes_nothing(provider, updates):
    local, kept = listening(provider)
    local.on_depth("BTC", updates[0])
    local.snapshot("BTC", snapshot(provider, updates[0]["E"]))
    for m in updates[1:30]:
        local.on_depth("BTC", m)
        local.on_depth("BTC", m)
    assert kept.stats.counts["duplicates", provider, "depth"] == 29
    assert top(local._books["BTC"]) == true_book(provider, updates[29]["E"], LEVELS)


def test_minutes_are_means_over_the_book_at_each_second(provider, updates):
    local, kept = listening(provider)
    local.on_depth("BTC", updates[0])
    local.snapshot("BTC", snapshot(provider, updates[0]["E"]))
    for m in updates[1:]:
        local.on_depth("BTC", m)
    local.close(ms(END) + 60_000)
    found = kept.frame("depth_1m", "BTC")
    row = found.filter(found["ts"] == START + MINUTE).row(0, named=True)
    spreads, imbalances, bid_usd = [], [], []
    for n in range(60):
        # the book as it stood when the second ended: the updates of the second's last tenth came before the next began
        last = max(m["E"] for m in updates if m["E"] // 1000 <= ms(START + MINUTE) // 1000 + n)
        bids, asks = true_book(provider, last, LEVELS)
        best = max(bids), min(asks)
        spreads.append((best[1] - best[0]) / sum(best) * 2e4)
        imbalances.append((sum(bids.values()) - sum(asks.values())) / (sum(bids.values()) + sum(asks.values())))
        bid_usd.append(sum(p * q for p, q in bids.items()))
    assert row["samples"] == 60
    assert row["spread_bps"] == pytest.approx(np.mean(spreads), rel=1e-9)
    assert row["imbalance_20"] == pytest.approx(np.mean(imbalances), rel=1e-9)
    assert row["bid_usd_20"] == pytest.approx(np.mean(bid_usd), rel=1e-9)


def test_seconds_without_a_book_are_not_counted(provider, updates):
    local, kept = listening(provider)
    local.on_depth("BTC", updates[0])
    local.snapshot("BTC", snapshot(provider, updates[0]["E"]))
    for m in updates[1:]:
        if not 10_000 <= m["E"] - ms(START + MINUTE) < 30_000:
            local.on_depth("BTC", m)
        if m["E"] - ms(START + MINUTE) == 30_200:
            local.snapshot("BTC", snapshot(provider, m["E"]))
    row = kept.frame("depth_1m", "BTC").row(1, named=True)
    assert 38 <= row["samples"] <= 41
