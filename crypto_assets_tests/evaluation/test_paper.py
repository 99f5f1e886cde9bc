"""A paper account on a hot store, over history fed hour by hour: parity with the batch, stops, bad hours, its page."""

from __future__ import annotations

import shutil
from contextlib import ExitStack, closing
from datetime import date, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from crypto_assets.evaluation import closed_hour, paper_report, parity
from crypto_assets.evaluation import paper as trading
from crypto_assets.evaluation.paper import Trader
from crypto_assets.evaluation.replayed import Feeder, PastLake, open_hot_of
from crypto_assets.features import families
from crypto_assets.lake import Lake
from crypto_assets.market.errors import LakeError, SettingsError, StaleDataError
from crypto_assets.market.time import DAY, HOUR, midnight
from crypto_assets.trading.paper import NO_FORECAST, Plan
from crypto_assets.trading.paper_ledger import PaperLedger
from crypto_assets_tests.evaluation import history
from crypto_assets_tests.evaluation.history import SYMBOLS, TODAY

FEW = [family for family in families().values() if family.name == "technical"]
BEGINS = midnight(TODAY) + 17 * HOUR
END = BEGINS + 9 * HOUR
"""Over midnight: a day is closed, and the next has begun."""


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Lake:
    return history.build(Lake(tmp_path_factory.mktemp("whole")), FEW, ("lightgbm", "logistic"), days=2)


class Life:
    """An account in a past lake, that may be stopped and begun again."""

    def __init__(self, whole: Lake, folder: Path, model: str = "lightgbm", strategy: str = "relative_24h") -> None:
        self.whole, self.folder = whole, folder
        self.plan = Plan("life", model, strategy, SYMBOLS, BEGINS)

    def live(self, until: datetime, stops: tuple[datetime, ...] = ()) -> list[tuple]:
        """Up to `until`, the process ending at each of `stops`; the ledger's digest."""
        for end in [*stops, until]:
            self._once(end)
        with closing(PaperLedger(self.folder / "life.sqlite")) as ledger:
            return ledger.digest()

    def _once(self, until: datetime) -> None:
        with ExitStack() as stack:
            ledger = stack.enter_context(closing(PaperLedger(self.folder / "life.sqlite")))
            newest = ledger.newest()
            past = PastLake(self.whole, self.folder, TODAY if newest is None else newest["ts"].date())
            hot = stack.enter_context(closing(open_hot_of(past)))
            trader = stack.enter_context(closing(Trader(past.lake, hot, ledger, self.plan, families=FEW, keeps=True)))
            feeder = Feeder(past, hot, SYMBOLS)
            if newest is None:
                for n in range(1, 17):
                    feeder.feed(midnight(TODAY) + n * HOUR)
            while trader.at < until:
                at = trader.at + HOUR
                feeder.feed(at)
                assert [hour.standing.at for hour in trader.follow()] == [at]
                past.reveal(at)


@pytest.fixture(scope="module")
def lived(whole, tmp_path_factory) -> tuple[Life, list[tuple]]:
    life = Life(whole, tmp_path_factory.mktemp("lived"))
    return life, life.live(END)


def test_lived_through_it_is_the_batch_to_the_last_bit(whole, lived):
    life, _ = lived
    rows = Lake(life.folder).scan("forecasts/latest").collect()
    with closing(PaperLedger(life.folder / "life.sqlite", is_writer=False)) as ledger:
        found = parity.compare(whole, rows, ledger, life.plan, END)
    assert found["differences"] == []
    assert max(found["largest"].values()) == found["tolerance"] == 0
    assert (found["forecasts"], found["hours"]) == (9 * 3 * len(SYMBOLS), 10)
    assert found["trades"] > 3


def test_parity_finds_a_changed_forecast_and_a_lost_trade(whole, lived):
    life, _ = lived
    rows = Lake(life.folder).scan("forecasts/latest").collect()
    at = (pl.col("ts") == BEGINS + 5 * HOUR) & (pl.col("symbol") == "SOL") & (pl.col("horizon") == "1h")
    changed = rows.with_columns(p_up=pl.when(at).then(pl.col("p_up") + 1e-12).otherwise("p_up"))
    with closing(PaperLedger(life.folder / "life.sqlite")) as ledger:
        kept = ledger.trades()
        first = parity.compare(whole, changed, ledger, life.plan, END)["differences"]
        lost = parity.differences("trades", kept, kept[1:], ("ts", "symbol", "reason"), parity.TRADE)
    assert [(d["table"], d["column"], d["rows"], d["ts"]) for d in first] == [("forecasts", "p_up", 1, BEGINS + 5 * HOUR)]
    assert "SOL 1h" in first[0]["text"]
    assert [(d.column, d.batch, d.lived) for d in lost] == [("row", "there", "missing")]


def test_stopped_in_the_day_and_at_midnight_it_goes_on_to_the_same_account(whole, lived, tmp_path):
    stops = (BEGINS + 3 * HOUR, midnight(TODAY) + DAY)
    assert Life(whole, tmp_path).live(END, stops) == lived[1]


def test_hours_without_forecasts_are_traded_without_and_said(whole, lived, tmp_path, monkeypatch):
    life = Life(whole, tmp_path)
    life.live(BEGINS + HOUR)

    def none(*_: object) -> pl.DataFrame:
        raise StaleDataError("no bar closed at 02:00: run the stream")

    monkeypatch.setattr(Trader, "_forecasts", none)
    life.live(BEGINS + 2 * HOUR)
    with closing(PaperLedger(tmp_path / "life.sqlite")) as ledger:
        said = ledger.complaints(BEGINS + 2 * HOUR)
    assert said["what"].to_list()[0].startswith("no forecast: no bar closed")
    assert said.filter(pl.col("what") == NO_FORECAST)["symbol"].to_list() == sorted(SYMBOLS)


def test_a_clock_that_goes_backwards_trades_nothing_and_is_said(lived, tmp_path):
    life, digest = lived
    shutil.copytree(life.folder, tmp_path, symlinks=True, dirs_exist_ok=True)
    (tmp_path / "hot.db").unlink()
    with ExitStack() as stack:
        past = PastLake(life.whole, tmp_path, END.date())
        hot = stack.enter_context(closing(open_hot_of(past)))
        Feeder(past, hot, SYMBOLS).feed(END - 5 * HOUR)
        ledger = stack.enter_context(closing(PaperLedger(tmp_path / "life.sqlite")))
        trader = stack.enter_context(closing(Trader(past.lake, hot, ledger, life.plan, families=FEW)))
        assert list(trader.follow()) == list(trader.follow()) == []
        (what,) = [w for w in ledger.complaints()["what"] if w.startswith(trading.BACKWARDS)]
        assert len(ledger.digest()) == len(digest) + 1
    assert "2024-03-13 21:00" in what


def test_the_days_page_says_what_the_ledger_says(lived, tmp_path):
    life, _ = lived
    with closing(PaperLedger(life.folder / "life.sqlite")) as ledger:
        written = paper_report.write_due(tmp_path, ledger, life.plan)
        assert paper_report.write_due(tmp_path, ledger, life.plan) == []
        equity = ledger.hours().filter(pl.col("ts") == midnight(TODAY) + DAY)["equity_usd"][0]
        orders = ledger.orders(BEGINS, midnight(TODAY) + DAY).height
        assert paper_report.page(ledger, life.plan, TODAY) == written[-1].read_text()
    assert [path.stem for path in written] == [str(TODAY)]
    text = written[-1].read_text()
    assert f"{equity:,.2f}" in text
    assert f"Orders of the day ({orders})" in text
    assert "http" not in text.replace("http-equiv", "")
    assert text.count("<polyline") == 1


def test_what_cannot_be_lived_through_is_refused(whole, tmp_path):
    with pytest.raises(LakeError, match="has no candles of"):
        PastLake(whole, tmp_path, date(2020, 1, 1))
    with pytest.raises(SettingsError, match="no model 'oracle'"):
        closed_hour.members_of("oracle")
    with closing(PaperLedger(tmp_path / "x.sqlite")) as ledger, pytest.raises(LakeError, match="forecasts/har"):
        parity.compare(whole, pl.DataFrame(), ledger, Plan("x", "har", "relative_24h", SYMBOLS, BEGINS), END)


def test_of_the_next_fold_nothing_is_taken_before_it_begins(whole, tmp_path):
    from crypto_assets.evaluation.closed_hour import newest_checkpoint

    lake = Lake(tmp_path)
    shutil.copytree(whole.root / "models", tmp_path / "models")
    folder = tmp_path / "models" / "lightgbm"
    shutil.copytree(folder / f"fold={TODAY}", folder / f"fold={TODAY + timedelta(days=1)}")
    (folder / f"fold={TODAY + timedelta(days=1)}" / "config.json").write_text("not looked at")
    assert newest_checkpoint(lake, "lightgbm", BEGINS) is not None
    assert newest_checkpoint(lake, "lightgbm", BEGINS - DAY) is None
