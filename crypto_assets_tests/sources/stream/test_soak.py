"""The stream lives through cuts, kills and a wrong route, and has stored what the market did, no more and no less."""

from __future__ import annotations

import json
import signal
import time
from datetime import timedelta

import polars as pl
import pytest

from crypto_assets.lake import Lake
from crypto_assets.lake.hot import SqliteHot
from crypto_assets.sandbox.server import running
from crypto_assets.sources.stream.tables import LIVE, LiveDepth1m
from crypto_assets.sources.stream.writer import closed_hours
from crypto_assets_tests.sources.stream.feeds import VENUES
from crypto_assets_tests.sources.stream.soak import BEGIN, SYMBOLS, Wire, check, span, stored, streaming, whole_minutes


def soak(lake, *, seconds: float, speed: float, every: float, quiet: float = 16.0) -> tuple[dict, float]:
    """Stream for so many seconds at a speed, cut every so often, then left in peace for `quiet`; what was counted."""
    out = lake.parent / "counts.json"
    with running("standard", 7, at=BEGIN, speed=speed) as url, Wire(url) as wire:
        with streaming(lake, wire.url, SYMBOLS, "--json", str(out)) as watched:
            started = last = time.monotonic()
            while time.monotonic() - started < seconds:
                time.sleep(0.5)
                watched.look()
                if time.monotonic() - last > every and time.monotonic() - started < seconds - quiet:
                    wire.cut()
                    last = time.monotonic()
            assert watched.stop() == 0
        cuts = wire.cuts
    counts = json.loads(out.read_text())
    assert counts["reconnects"] >= 6 * (cuts - 1)
    assert counts["malformed"] == counts["failed_batches"] == 0
    assert all("absent" not in counts["channels"][f"{provider} trades"] for provider in VENUES)
    return counts, watched.slope()


def check_tables(lake) -> None:
    """What lies in the `live` tables is whole, once, and what the hot store says."""
    start, end = span(lake)
    for table in LIVE:
        rows = Lake(lake).scan(table.name).collect()
        assert rows.height, table.name
        assert rows.select(table.key).is_duplicated().sum() == 0
        found = rows.filter(pl.col("ts").is_between(start, end - timedelta(minutes=1)))
        assert found.equals(stored(lake, table, start, end)), table.name


@pytest.mark.slow
def test_no_bar_is_lost_or_doubled_in_a_minute_of_cuts(tmp_path):
    lake = tmp_path / "lake"
    counts, slope = soak(lake, seconds=80, speed=6, every=10)
    compared = check(lake)
    assert min(compared["minutes"], compared["trade_minutes"]) >= 20 * 5
    assert compared["hours"] == 20
    assert counts["repaired"] > 0
    check_tables(lake)
    depth = stored(lake, LiveDepth1m, *span(lake))
    assert depth["symbol"].n_unique() == len(SYMBOLS)
    assert slope < 60, f"memory grows by {slope:.1f} MB a minute"  # the rough bound of a short run; the long one is exact
    hot = SqliteHot(lake / "hot.db")
    assert closed_hours(hot)[-1] == BEGIN.replace(minute=0) + timedelta(hours=1)
    hot.close()


@pytest.mark.long
def test_ten_minutes_of_real_time_with_a_cut_every_half_minute(tmp_path):
    lake = tmp_path / "lake"
    counts, slope = soak(lake, seconds=600, speed=1, every=30)
    assert counts["silences"] == 0
    assert counts["messages"] > 0.9 * 600 * 200, "most of the time it was connected"
    print(json.dumps({**counts, "rss_slope_mb_a_minute": round(slope, 3)}))
    assert check(lake)["minutes"] >= 20 * 8
    check_tables(lake)
    assert slope < 1, f"memory grows by {slope:.2f} MB a minute"


BROKEN = ("duplicated every 7", "out_of_order every 11", "truncated every 23", "wrong_type every 13", "schema_drift every 17")
FAULTS = [f"binance:{rule}" for rule in (*BROKEN, "html every 61", "disconnect every 12s", "clock_skew=4 every 5")]


@pytest.mark.slow
def test_broken_messages_and_a_wrong_clock_make_no_difference(tmp_path):
    """Every kind of fault by REST and by WebSocket at once."""
    lake, out = tmp_path / "lake", tmp_path / "counts.json"
    with (
        running("standard", 7, at=BEGIN, speed=6, faults=FAULTS) as url,
        streaming(lake, url, SYMBOLS, "--json", str(out)) as watched,
    ):
        watched.until(lambda: whole_minutes(lake) >= 4, within_s=180)
        assert watched.stop() == 0
    counts = json.loads(out.read_text())
    assert counts["malformed"] > 100
    assert counts["duplicates"] > 100
    assert counts["reconnects"] > 6
    assert check(lake)["trade_minutes"] >= 20 * 4
    depth = stored(lake, LiveDepth1m, *span(lake))
    assert depth["symbol"].n_unique() == len(SYMBOLS)


@pytest.mark.slow
def test_killed_and_started_again_it_has_everything_once(tmp_path):
    lake = tmp_path / "lake"
    with running("standard", 7, at=BEGIN, speed=10) as url:
        for minutes, number in ((2, signal.SIGKILL), (4, signal.SIGKILL), (7, signal.SIGTERM)):
            with streaming(lake, url) as watched:
                watched.until(lambda wanted=minutes: whole_minutes(lake) >= wanted, within_s=180)
                watched.stop(number)
    compared = check(lake)
    assert min(compared["minutes"], compared["trade_minutes"]) >= 20 * 7
    check_tables(lake)
