"""History traded by what the HTTP interface says: the batch's trades, its forecasts but for the rounding."""

from __future__ import annotations

from contextlib import closing
from datetime import datetime
from pathlib import Path

import polars as pl
import pytest

from crypto_assets.evaluation import parity
from crypto_assets.evaluation.replayed import Feeder, PastLake, open_hot_of
from crypto_assets.features import families
from crypto_assets.lake import Lake
from crypto_assets.market.errors import SettingsError, StaleDataError
from crypto_assets.market.time import DAY, HOUR, midnight
from crypto_assets.serving.lived import Driven, ServedTrader, bundle_for, serving
from crypto_assets.settings import Settings
from crypto_assets.sources.stream.writer import closed_hours
from crypto_assets.trading.paper import Plan
from crypto_assets.trading.paper_ledger import PaperLedger
from crypto_assets_tests.evaluation import history
from crypto_assets_tests.evaluation.history import SYMBOLS, TODAY

FEW = [family for family in families().values() if family.name == "technical"]
BEGINS = midnight(TODAY)
END = BEGINS + 9 * HOUR
PLAN = Plan("served", "lightgbm", "relative_24h", SYMBOLS, BEGINS)


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Lake:
    return history.build(Lake(tmp_path_factory.mktemp("whole")), FEW, days=2)


@pytest.fixture(scope="module")
def lived(whole, tmp_path_factory) -> tuple[pl.DataFrame, Path, str]:
    """Nine hours by a real server: what it said, the ledger, and what was said about an hour that it does not serve."""
    folder = tmp_path_factory.mktemp("lived")
    past = PastLake(whole, folder, TODAY)
    bundle = bundle_for(past.lake, "lightgbm", TODAY, TODAY)
    with closing(open_hot_of(past)) as hot, closing(PaperLedger(folder / "served.sqlite")) as ledger:
        feeder = Feeder(past, hot, SYMBOLS)
        settings = Settings(lake=folder, symbols=SYMBOLS)
        service = Driven(settings, bundle, clock=lambda: closed_hours(hot)[-1], families=FEW)
        told = (service, "", bundle, past.lake, hot, ledger, PLAN)
        with serving(service) as url, closing(ServedTrader(told[0], url, *told[2:], families=FEW, keeps=True)) as trader:
            while trader.at < END:
                feeder.feed(trader.at + HOUR)
                list(trader.follow())
            with pytest.raises(StaleDataError) as found:
                trader.rows_at(END + HOUR)
    return Lake(folder).scan("forecasts/latest").collect(), folder / "served.sqlite", str(found.value)


def compared(whole: Lake, lived: tuple[pl.DataFrame, Path, str], rows: pl.DataFrame) -> dict:
    with closing(PaperLedger(lived[1], is_writer=False)) as ledger:
        return parity.compare(whole, rows, ledger, PLAN, END, is_served=True)


def test_its_trades_are_the_batchs_to_the_bit_and_its_forecasts_to_six_digits(whole, lived):
    found = compared(whole, lived, lived[0])
    assert found["differences"] == []
    assert (found["forecasts"], found["hours"], found["tolerance"]) == (9 * 3 * len(SYMBOLS), 10, 0)
    assert found["largest"]["trades"] == found["largest"]["equity"] == 0
    assert 0 < found["largest"]["forecasts"] < 1e-6
    assert found["trades"] > 3


def test_an_answer_that_is_off_by_more_than_the_rounding_is_found(whole, lived):
    at = (pl.col("ts") == BEGINS + 5 * HOUR) & (pl.col("symbol") == "SOL") & (pl.col("horizon") == "1h")
    changed = lived[0].with_columns(p_up=pl.when(at).then(pl.col("p_up") * (1 + 2e-5)).otherwise("p_up"))
    (first,) = compared(whole, lived, changed)["differences"]
    assert (first["table"], first["column"], first["rows"], first["key"]) == ("forecasts", "p_up", 1, "SOL 1h")


def test_an_answer_about_another_hour_is_refused(lived):
    assert lived[2].startswith(f"the interface answers about {datetime.isoformat(END).replace('+00:00', 'Z')}")


def test_days_of_two_folds_are_refused(whole):
    with pytest.raises(SettingsError, match=f"a fold begins on {TODAY}"):
        bundle_for(whole, "lightgbm", TODAY - DAY, TODAY)
