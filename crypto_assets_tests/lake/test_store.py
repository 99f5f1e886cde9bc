"""Atomic, idempotent, concurrent: a reader sees the old rows or the new ones, whoever is killed."""

import hashlib
import os
import signal
import subprocess
import sys
import time
from datetime import UTC, date, datetime, timedelta

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crypto_assets.curation.candles import CuratedCandles
from crypto_assets.lake import Field, Frames, Lake, RawTable
from crypto_assets.lake.store import write_bytes, write_parquet
from crypto_assets.market.errors import LakeError, SchemaError
from crypto_assets.market.time import Window, midnight
from crypto_assets_tests.features.market import random_market

START = date(2024, 1, 1)


class RawStoreProbe(RawTable):
    name = "raw/store_probe"
    symbol: str
    value: float = Field(ge=0)


def rows(hours: int, start: date = START, value: float = 1.0) -> pl.DataFrame:
    ts = [midnight(start) + timedelta(hours=n) for n in range(hours)]
    return pl.DataFrame({"ts": ts, "available_at": ts, "symbol": "BTC", "source": "test", "value": value}).cast(
        {"ts": pl.Datetime("us", "UTC"), "available_at": pl.Datetime("us", "UTC")}
    )


def digest(lake: Lake) -> dict[str, str]:
    return {str(p.relative_to(lake.root)): hashlib.sha256(p.read_bytes()).hexdigest() for p in lake.root.rglob("*.parquet")}


@settings(max_examples=20, deadline=None)
@given(hours=st.integers(0, 80), seed=st.integers(0, 1000))
def test_what_is_written_is_what_is_read_in_any_order(tmp_path_factory, hours, seed):
    lake = Lake(tmp_path_factory.mktemp("lake"))
    frame, window = rows(hours), Window.of_days(START, START + timedelta(days=3))
    counts = lake.write(RawStoreProbe, frame.sample(fraction=1, shuffle=True, seed=seed), window)
    assert sum(counts.values()) == hours
    back = lake.scan("raw/store_probe", window.start, window.end).collect()
    assert back.equals(RawStoreProbe.shape(frame).sort("symbol", "ts", "source", "available_at"))


def test_the_same_rows_give_the_same_bytes_and_untouched_files(tmp_path):
    lake, window = Lake(tmp_path), Window.of_days(START, START + timedelta(days=3))
    lake.write(RawStoreProbe, rows(96), window)
    before, times = digest(lake), {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*.parquet")}
    lake.write(RawStoreProbe, rows(96).reverse(), window)
    assert digest(lake) == before
    assert {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*.parquet")} == times


def test_one_range_write_equals_many_daily_writes(tmp_path):
    whole, daily = Lake(tmp_path / "a"), Lake(tmp_path / "b")
    whole.write(RawStoreProbe, rows(72), Window.of_days(START, START + timedelta(days=2)))
    for n in range(3):
        day = START + timedelta(days=n)
        daily.write(RawStoreProbe, rows(24, day), Window.of_days(day, day))
    assert digest(whole) == digest(daily)


def test_an_empty_day_is_written_and_a_scan_of_nothing_has_the_schema(tmp_path):
    lake = Lake(tmp_path)
    assert lake.scan("raw/store_probe").collect().schema == RawStoreProbe.schema()
    lake.write(RawStoreProbe, RawStoreProbe.empty(), Window.of_days(START, START))
    assert lake.days("raw/store_probe") == [START]
    assert lake.scan("raw/store_probe").collect().schema == RawStoreProbe.schema()


def test_rows_outside_the_window_and_wrong_shapes_are_refused(tmp_path):
    lake = Lake(tmp_path)
    with pytest.raises(LakeError, match="outside"):
        lake.write(RawStoreProbe, rows(48), Window.of_days(START, START))
    with pytest.raises(SchemaError, match=r"missing \['value'\]"):
        lake.write(RawStoreProbe, rows(2).drop("value"), Window.of_days(START, START))
    with pytest.raises(SchemaError, match="time zone"):
        lake.write(RawStoreProbe, rows(2).with_columns(pl.col("ts").dt.replace_time_zone(None)), Window.of_days(START, START))


def test_an_unknown_table_is_named_with_near_ones(tmp_path):
    with pytest.raises(LakeError, match="store_probe"):
        Lake(tmp_path).scan("raw/store_prob")


def test_a_lake_that_cannot_be_written_says_so(tmp_path):
    blocker = tmp_path / "file"
    blocker.write_text("not a folder")
    with pytest.raises(LakeError, match="cannot be written"):
        Lake(blocker / "lake").ensure_writable()


def test_frames_shadow_their_base(tmp_path):
    lake = Lake(tmp_path)
    lake.write(RawStoreProbe, rows(24), Window.of_days(START, START))
    shadow = Frames({"raw/store_probe": RawStoreProbe.shape(rows(3, value=9.0))}, base=lake)
    assert shadow.scan("raw/store_probe").collect()["value"].to_list() == [9.0] * 3


WRITER = """
import sys, os, time
from pathlib import Path
from crypto_assets.lake import store
target, content = Path(sys.argv[1]), b"n" * 50_000_000
real = os.fsync
def slow(fd):
    print("syncing", flush=True); time.sleep(30); real(fd)
os.fsync = slow
store.write_bytes(target, content)
"""


def test_a_writer_killed_in_the_middle_leaves_the_old_file(tmp_path):
    target = tmp_path / "table" / "part.parquet"
    write_bytes(target, b"old")
    process = subprocess.Popen([sys.executable, "-c", WRITER, str(target)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline().strip() == b"syncing"
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert target.read_bytes() == b"old"
    assert write_bytes(target, b"new")
    assert target.read_bytes() == b"new"


READER = """
import sys, time
from crypto_assets.lake import Lake, catalog
from crypto_assets.lake.tables import RawTable, Field
class RawStoreProbe(RawTable):
    name = "raw/store_probe"
    symbol: str
    value: float = Field(ge=0)
lake, until, seen = Lake(sys.argv[1]), time.time() + float(sys.argv[2]), 0
while time.time() < until:
    values = lake.scan("raw/store_probe").collect()["value"]
    assert len(values) == 240, len(values)
    days = catalog.query(lake, "SELECT date, count(DISTINCT value) AS kinds, count(*) AS n FROM raw.store_probe GROUP BY 1")
    assert days["kinds"].max() == 1 and days["n"].to_list() == [24] * 10, days
    seen += 1
print(seen)
"""


def test_eight_readers_and_a_writer_do_not_disturb_each_other(tmp_path):
    from crypto_assets.lake import catalog

    lake, window = Lake(tmp_path), Window.of_days(START, START + timedelta(days=9))
    lake.write(RawStoreProbe, rows(240), window)
    catalog.build(lake)
    readers = [
        subprocess.Popen([sys.executable, "-c", READER, str(tmp_path), "6"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for _ in range(8)
    ]
    value = 1.0
    while any(r.poll() is None for r in readers):
        value += 1
        lake.write(RawStoreProbe, rows(240, value=value), window)
        catalog.build(lake)
        time.sleep(0.05)
    outcomes = [(r.returncode, *r.communicate()) for r in readers]
    assert all(code == 0 for code, _, _ in outcomes), outcomes
    assert value > 5


def test_the_catalog_is_read_only_and_sees_the_lake_alone(tmp_path):
    from crypto_assets.lake import catalog

    lake = Lake(tmp_path / "lake")
    with pytest.raises(LakeError, match="does not exist"):
        catalog.query(lake, "SELECT 1")
    lake.write(RawStoreProbe, rows(24), Window.of_days(START, START))
    catalog.build(lake)
    assert catalog.query(lake, "SELECT count(*) AS n, min(ts) AS first FROM raw.store_probe").row(0) == (
        24,
        datetime(2024, 1, 1, tzinfo=UTC),
    )
    outside = tmp_path / "secret.csv"
    outside.write_text("a\n1\n")
    for sql in (f"SELECT * FROM '{outside}'", "CREATE TABLE t (a INT)", "SELECT * FROM raw.nothing"):
        with pytest.raises(LakeError, match=r"raw\.store_probe"):
            catalog.query(lake, sql)


def test_a_day_written_before_a_column_existed_has_nulls_there(tmp_path):
    written = CuratedCandles.shape(random_market(("BTC",), date(2024, 1, 1), 2)["curated/candles"])
    lake = Lake(tmp_path)
    lake.write(CuratedCandles, written, Window.of_days(date(2024, 1, 1), date(2024, 1, 2)))
    old = lake.path("curated/candles", date(2024, 1, 1))
    write_parquet(old, pl.read_parquet(old).drop("coinbase_close", "kraken_close"))
    assert lake.scan("curated/candles").collect().equals(written)
