"""What the firewall says, and what it says when a family fails, remembers, asks the clock or reads something else."""

from __future__ import annotations

from datetime import timedelta

import polars as pl
import pytest

from crypto_assets.audit import Sample, audit
from crypto_assets.audit.auditable import of_family, of_file
from crypto_assets.audit.comparison import Baseline
from crypto_assets.features import FeatureFamily
from crypto_assets.lake import Frames
from crypto_assets.market.errors import AuditError
from crypto_assets_tests.audit.clean import CLEAN
from crypto_assets_tests.audit.leaks import LEAKS
from crypto_assets_tests.audit.planting import bars, close

HEAD = """
from datetime import date, datetime, timedelta
import datetime as calendar
import polars as pl
from crypto_assets.features import FeatureFamily
"""
TAIL = """
FAMILY = FeatureFamily("mine", {"candles": "curated/candles"}, timedelta(days=3), {"x": "one", "y": "two"}, compute)
"""
ROWS = 'rows = candles.sort("symbol", "ts").with_columns(pl.col("ts") + pl.duration(hours=1))'


@pytest.fixture
def of_source(tmp_path):
    def make(body: str):
        path = tmp_path / "mine.py"
        path.write_text(HEAD + body + TAIL)
        return of_file(path)

    return make


def kinds(found) -> dict[str, str]:
    return {leak.column: leak.kind for leak in found.leaks}


def test_only_the_column_that_leaks_is_named(sample):
    def compute(candles):
        return bars(candles).select("symbol", "ts", a=close.shift(1).over("symbol"), b=close.shift(-1).over("symbol"), c=close)

    family = FeatureFamily(
        "three", {"candles": "curated/candles"}, timedelta(days=2), dict.fromkeys("abc", "a column"), compute
    )
    found = audit(of_family(family), sample, cuts=8)
    assert [leak.column for leak in found.leaks] == ["three.b"]
    leak = found.leaks[0]
    assert leak.first_ts == leak.cut or leak.first_ts < leak.cut
    assert leak.kind == "future"
    assert found.columns == 3


def test_rows_that_stand_where_no_bar_closes_do_not_count(sample):
    """A full grid ends with the last bar known: a row in a hole comes with the bar after it, and nobody reads it."""
    assert audit(of_family(CLEAN["filled_forward_on_a_full_grid"]), sample, cuts=40, seconds=3).leaks == []


def test_a_recursive_column_has_a_warm_up_and_no_leak(sample):
    long, short = (
        audit(of_family(CLEAN[n]), sample, cuts=4, light=True)
        for n in ("exponential_mean", "exponential_mean_with_a_short_lookback")
    )
    assert long.leaks == short.leaks == []
    assert [w.is_enough for w in long.warmup] == [True]
    assert [w.is_enough for w in short.warmup] == [False]
    assert 130 < long.warmup[0].bars < 190  # (1 - 2 / 25)^166 is a millionth
    assert long.warmup[0].bars == short.warmup[0].bars
    assert audit(of_family(CLEAN["momentum"]), sample, cuts=4, light=True).warmup == []


def test_what_a_module_remembers_cannot_hide_a_leak(of_source, sample):
    body = f"""
KEPT = {{}}
def compute(candles):
    {ROWS}
    KEPT.setdefault("sd", rows.collect()["volume"].std())
    return rows.select("symbol", "ts", x=pl.col("volume") / KEPT["sd"], y=pl.col("close"))
"""
    assert kinds(audit(of_source(body), sample, cuts=6)) == {"mine.x": "future"}


@pytest.mark.parametrize(
    "today",
    ["date.today()", "TODAY", "datetime.now(calendar.UTC).date()", "calendar.date.today()"],
)
def test_a_column_that_depends_on_today_is_named(of_source, sample, today):
    body = f"""
TODAY = date.today()
def compute(candles):
    {ROWS}
    return rows.select("symbol", "ts", x=(pl.lit({today}) - pl.col("ts").dt.date()).dt.total_days(), y=pl.col("close"))
"""
    assert kinds(audit(of_source(body), sample, cuts=4)) == {"mine.x": "changes with the day it runs on"}


def test_a_moment_written_into_the_code_is_no_clock(of_source, sample):
    body = f"""
MOMENT = datetime(2023, 12, 20, 12, tzinfo=calendar.timezone.utc)
def compute(candles):
    {ROWS}
    ts = pl.col("ts")
    later = ts.is_between(MOMENT, MOMENT + timedelta(days=3))
    return rows.select("symbol", "ts", x=(ts - pl.lit(MOMENT)).dt.total_hours(), y=later)
"""
    assert kinds(audit(of_source(body), sample, cuts=4)) == {}


def test_noise_is_not_the_same_twice(of_source, sample):
    body = f"""
import random
def compute(candles):
    {ROWS}
    return rows.select("symbol", "ts", x=pl.lit(random.random()), y=pl.col("close"))
"""
    assert kinds(audit(of_source(body), sample, cuts=4)) == {"mine.x": "not the same twice"}


def test_data_read_besides_the_inputs_is_named(of_source, sample, tmp_path):
    later = bars(sample.rough("curated/candles").lazy()).select("symbol", "ts", next=close.shift(-1).over("symbol")).collect()
    later.write_parquet(tmp_path / "next.parquet")
    body = f"""
def compute(candles):
    {ROWS}
    other = pl.scan_parquet({str(tmp_path / "next.parquet")!r})
    return rows.join(other, on=["symbol", "ts"], how="left").select("symbol", "ts", x="next", y="close")
"""
    found = audit(of_source(body), sample, cuts=4)
    assert set(kinds(found)) == {"mine.x", "mine.y"}
    assert all("next.parquet" in leak.input for leak in found.leaks)


def test_a_family_that_fails_on_its_rows_is_an_error_with_its_name_and_inputs(of_source, sample):
    body = "def compute(candles):\n    raise ValueError('no such thing')\n"
    with pytest.raises(AuditError, match=r"features/mine fails on the rows of curated/candles as they are .*no such thing"):
        audit(of_source(body), sample, cuts=4)


def test_a_family_that_fails_in_another_future_is_named_with_the_input(sample):
    def compute(candles, fear):
        if (fear.collect()["value_pct"] > 96).any():
            raise ValueError("too greedy")
        return bars(candles).select("symbol", "ts", x=close)

    inputs = {"candles": "curated/candles", "fear": "raw/fear_greed"}
    found = audit(of_family(FeatureFamily("frail", inputs, timedelta(days=2), {"x": "a"}, compute)), sample, cuts=6)
    assert found.leaks == []
    assert len(found.errors) == 1
    assert "features/frail fails when the rows of raw/fear_greed after" in found.errors[0]
    assert "too greedy" in found.errors[0]


def test_code_that_refuses_a_short_history_gets_a_remark_and_a_verdict(sample):
    def compute(candles):
        rows = bars(candles).collect()
        if rows.height < 500:
            raise ValueError("too few bars")
        return rows.lazy().select("symbol", "ts", x=close.shift(-1).over("symbol"))

    family = FeatureFamily("choosy", {"candles": "curated/candles"}, timedelta(days=2), {"x": "a"}, compute)
    found = audit(of_family(family), sample, cuts=30)
    assert kinds(found) == {"choosy.x": "future"}
    assert found.errors == []


def test_an_order_of_rows_that_a_lake_yields_must_not_matter(sample):
    def compute(candles):
        return candles.select("symbol", pl.col("ts") + pl.duration(hours=1), x=close / close.shift(1))

    family = FeatureFamily("unsorted", {"candles": "curated/candles"}, timedelta(days=2), {"x": "a"}, compute)
    found = audit(of_family(family), sample, cuts=4)
    assert {leak.column for leak in found.leaks} == {"unsorted.x"}


def test_relying_on_an_order_within_a_coin_is_a_remark(sample):
    def compute(candles):
        return candles.select("symbol", pl.col("ts") + pl.duration(hours=1), x=(close / close.shift(1)).over("symbol"))

    family = FeatureFamily("trusting", {"candles": "curated/candles"}, timedelta(days=2), {"x": "a"}, compute)
    found = audit(of_family(family), sample, cuts=4)
    assert found.leaks == []
    assert found.remarks == ["features/trusting: x relies on the order of its input rows: sort them first"]


def test_the_magnitude_is_the_largest_change_and_the_first_row_the_earliest(sample):
    base = pl.DataFrame({"symbol": ["A"] * 4, "ts": sample.rough("curated/candles")["ts"][:4], "x": [1.0, 2.0, None, 4.0]})
    other = base.with_columns(x=pl.Series([1.0, 2.5, 3.0, 9.0]))
    found = Baseline(base, ("symbol", "ts")).against(other, base["ts"][2]).values["x"]
    assert (found.first_ts, found.magnitude, found.rows) == (base["ts"][1], 3.0, 2)
    assert not Baseline(base, ("symbol", "ts")).against(base.with_columns(x=pl.col("x") * (1 + 1e-12)))


def test_the_same_audit_says_the_same(sample):
    once, twice = (audit(of_family(LEAKS["centred_window"]), sample, cuts=8).leaks for _ in range(2))
    assert once == twice


def test_a_slow_family_is_audited_on_a_few_coins(sample):
    few = sample.fewer(4)
    assert few.symbols == (*sample.symbols[:2], *sample.symbols[-2:])
    assert set(few.rough("curated/candles")["symbol"]) == set(few.symbols)


def test_a_table_that_has_no_rows_is_remarked_on(sample):
    bare = Sample(Frames({"curated/candles": sample.plain("curated/candles")}), sample.window, sample.symbols, "bare")
    found = audit(of_family(CLEAN["last_funding"]), bare, cuts=4)
    assert found.leaks == []
    assert any("no value to look at in x" in remark for remark in found.remarks)
