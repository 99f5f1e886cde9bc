"""Every bad row is set aside with its reason and payload, every good one goes through."""

import json
import math
from datetime import date, timedelta

import polars as pl
import pytest

from crypto_assets.lake import Field, Lake, RawTable, quarantine
from crypto_assets.market.errors import SchemaError
from crypto_assets.market.time import Window, midnight

T0 = midnight(date(2024, 1, 1))


class RawQuarantineProbe(RawTable):
    name = "raw/quarantine_probe"
    symbol: str
    high: float = Field(gt=0)
    low: float = Field(gt=0)
    note: str | None

    @classmethod
    def rules(cls):
        return {"high >= low": pl.col("high") >= pl.col("low")}


def frame(*rows: tuple[float | None, float | None]) -> pl.DataFrame:
    n = len(rows)
    return pl.DataFrame(
        {
            "ts": [T0 + timedelta(hours=i) for i in range(n)],
            "available_at": [T0 + timedelta(hours=i + 1) for i in range(n)],
            "symbol": ["BTC"] * n,
            "source": ["test"] * n,
            "high": pl.Series([h for h, _ in rows], dtype=pl.Float64),
            "low": pl.Series([low for _, low in rows], dtype=pl.Float64),
        }
    )


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ((-1.0, -2.0), "high gt 0"),
        ((1.0, 2.0), "high >= low"),
        ((None, 1.0), "missing"),
        ((math.nan, 1.0), "finite"),
        ((math.inf, 1.0), "finite"),
    ],
)
def test_a_bad_row_is_set_aside_with_its_reason(bad, reason):
    parts = quarantine.split(RawQuarantineProbe, frame((2.0, 1.0), bad, (3.0, 2.0)))
    assert parts.good.height == 2
    assert parts.bad.height == 1
    assert reason in parts.bad["reason"][0]
    assert json.loads(parts.bad["payload"][0])["symbol"] == "BTC"


def test_repeats_are_dropped_and_contradictions_set_aside():
    once = frame((2.0, 1.0))
    other = once.with_columns(high=pl.lit(5.0))
    parts = quarantine.split(RawQuarantineProbe, pl.concat([once, once, other]))
    assert parts.good["high"].to_list() == [2.0]
    assert "a second row" in parts.bad["reason"][0]


def test_a_wrong_shape_is_an_error_not_a_bad_row():
    with pytest.raises(SchemaError, match="missing"):
        quarantine.split(RawQuarantineProbe, frame((2.0, 1.0)).drop("high"))
    with pytest.raises(SchemaError, match="unexpected"):
        quarantine.split(RawQuarantineProbe, frame((2.0, 1.0)).with_columns(extra=1))
    with pytest.raises(SchemaError, match="cannot be read"):
        quarantine.split(RawQuarantineProbe, frame((2.0, 1.0)).with_columns(high=pl.lit("a lot")))


def test_the_verdict_of_a_day_is_replaced_by_the_next(tmp_path):
    lake, window = Lake(tmp_path), Window.of_days(date(2024, 1, 1), date(2024, 1, 1))
    parts = quarantine.split(RawQuarantineProbe, frame((2.0, 1.0), (1.0, 2.0)))
    quarantine.keep_window(lake, "raw/quarantine_probe", window, parts.bad)
    assert quarantine.read(lake)["reason"].to_list() == ["high >= low"]
    quarantine.keep_window(lake, "raw/quarantine_probe", window, parts.bad.clear())
    assert quarantine.read(lake).is_empty()
