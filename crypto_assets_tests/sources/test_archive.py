"""Bring your own history: what is refused, what is set aside, what is staged."""

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from crypto_assets.lake import Lake
from crypto_assets.market.errors import ImportRefusedError, LakeError
from crypto_assets.sources import _archive, discover

HEADER = "ts,symbol,open,high,low,close,volume"
GOOD = ["2024-01-01T00:00:00Z,BTCUSDT,1,3,1,2,10", "2024-01-01T01:00:00Z,BTCUSDT,2,3,1,2,10"]


def csv(path, *rows, header=HEADER):
    path.write_text("\n".join([header, *rows]) + "\n")
    return path


def stage(tmp_path, *rows, header=HEADER, **options):
    return _archive.stage(
        "binance_candles", [csv(tmp_path / "in.csv", *rows, header=header)], Lake(tmp_path / "lake"), **options
    )


def test_good_rows_are_staged_with_the_publication_lag(tmp_path):
    report = stage(tmp_path, *GOOD)
    assert (report.rows, report.accepted, report.quarantined, report.symbols) == (2, 2, 0, ["BTC"])
    rows = _archive.read(Lake(tmp_path / "lake"), discover()["binance_candles"])
    assert (rows["available_at"] - rows["ts"]).unique().to_list() == [timedelta(hours=1)]
    assert not (tmp_path / "lake" / "raw").exists()


def test_importing_twice_adds_nothing(tmp_path):
    stage(tmp_path, *GOOD)
    stage(tmp_path, *reversed(GOOD))
    assert _archive.read(Lake(tmp_path / "lake"), discover()["binance_candles"]).height == 2


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("2024-01-01T02:00:00Z,BTCUSDT,1,3,1,-2,10", "close gt 0"),
        ("2024-01-01T02:00:00Z,BTCUSDT,1,1,3,2,10", "high >= low"),
        ("2024-01-01T02:00:00Z,BTCUSDT,1,3,1,plenty,10", "close = plenty"),
        ("2024-01-01T00:00:00Z,BTCUSDT,1,4,1,2,10", "a second row"),
        ("2024-01-01T02:00:00Z,WHATUSDT,1,3,1,2,10", "no coin is called WHATUSDT"),
        ("not a time Z,BTCUSDT,1,3,1,2,10", "is not a UTC time"),
        ("2024-01-01T02:00:00Z,BTCUSDT,1,3,1,,10", "close is missing"),
    ],
)
def test_a_bad_row_is_set_aside_with_its_reason(tmp_path, row, reason):
    report = stage(tmp_path, *GOOD, row)
    assert (report.accepted, report.quarantined) == (2, 1)
    assert any(reason in found for found in report.reasons), report.reasons


@pytest.mark.parametrize(
    ("header", "rows", "said"),
    [
        ("ts,symbol,open,high,low,volume", ["2024-01-01T00:00:00Z,BTC,1,3,1,9"], r"needs \['close'\]"),
        (HEADER, ["2024-01-01 00:00:00,BTC,1,3,1,2,9"], "no time zone"),
        (HEADER, ["2024-01-01T00:00:00Z,BTC,1,3,1,-2,9"], "no row"),
        (HEADER, [], "no rows"),
    ],
)
def test_a_file_that_cannot_be_the_table_is_refused(tmp_path, header, rows, said):
    with pytest.raises(ImportRefusedError, match=said):
        stage(tmp_path, *rows, header=header)


def test_extra_columns_are_reported_and_names_mapped(tmp_path):
    report = stage(
        tmp_path,
        "1704067200000,BTC,1,3,1,2,9,x",
        header="when,coin,open,high,low,last,volume,extra",
        mapping={"when": "ts", "last": "close"},
    )
    assert report.unused == ["extra"]
    assert report.from_ == "2024-01-01 00:00:00+00:00"


@pytest.mark.parametrize(
    "text", ["1704067200", "1704067200000", "1704067200000000", "2024-01-01T01:00:00+01:00", "2024-01-01 00:00:00 UTC"]
)
def test_every_unambiguous_way_to_write_a_time_is_read(tmp_path, text):
    assert stage(tmp_path, f"{text},BTC,1,3,1,2,9").from_ == "2024-01-01 00:00:00+00:00"


def test_where_filters_before_anything_is_judged(tmp_path):
    report = stage(tmp_path, *GOOD, "2024-01-01T02:00:00Z,WHATUSDT,1,3,1,2,10", where="symbol = 'BTCUSDT'")
    assert (report.rows, report.quarantined) == (2, 0)


def test_parquet_with_dates_and_metrics(tmp_path):
    frame = pl.DataFrame(
        {"asset": ["BTC"], "date": [datetime(2024, 1, 1, tzinfo=UTC).date()], "metric": ["TxCnt"], "value": [1.0]}
    )
    frame.write_parquet(tmp_path / "m.parquet")
    report = _archive.stage("raw/coinmetrics_onchain", [tmp_path / "m.parquet"], Lake(tmp_path / "lake"), source="mine")
    rows = _archive.read(Lake(tmp_path / "lake"), discover()["coinmetrics_onchain"])
    assert report.accepted == 1
    assert rows["source"][0] == "mine"
    assert rows["available_at"][0] == datetime(2024, 1, 2, 3, tzinfo=UTC)


def test_unknown_tables_files_maps_and_folders_are_named(tmp_path):
    lake = Lake(tmp_path / "lake")
    with pytest.raises(ImportRefusedError, match="binance_candles"):
        _archive.stage("binance_candle", [], lake)
    with pytest.raises(ImportRefusedError, match="no file"):
        _archive.stage("binance_candles", [tmp_path / "absent.csv"], lake)
    with pytest.raises(ImportRefusedError, match="no column 'x'"):
        stage(tmp_path, *GOOD, mapping={"x": "close"})
    (tmp_path / "file").write_text("")
    with pytest.raises(LakeError, match="cannot be written"):
        _archive.stage("binance_candles", [csv(tmp_path / "in.csv", *GOOD)], Lake(tmp_path / "file" / "lake"))
