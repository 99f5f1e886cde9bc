"""The ledger: whatever the process suffers, the account is that of one that was never stopped."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from crypto_assets.market.errors import LakeError, SettingsError
from crypto_assets.trading.limits import Limits
from crypto_assets.trading.paper import EVERYTHING, Complaint
from crypto_assets.trading.paper_ledger import PaperLedger, ledger_path
from crypto_assets_tests.trading import papers
from crypto_assets_tests.trading.papers import HOURS, go_on, plan
from crypto_assets_tests.trading.worlds import HOUR

ACCOUNT = plan("direction_1h", limits=Limits(coin=0.15))


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory) -> list[tuple]:
    with closing(PaperLedger(tmp_path_factory.mktemp("one") / "one.sqlite")) as ledger:
        go_on(ledger, ACCOUNT, HOURS)
        return ledger.digest()


def test_it_keeps_every_hour_order_and_fill(tmp_path):
    with closing(PaperLedger(tmp_path / "a.sqlite")) as ledger:
        go_on(ledger, ACCOUNT, HOURS)
        hours = papers.live(ACCOUNT)
        assert ledger.hours()["equity_usd"].to_list() == [h.values["equity_usd"] for h in hours]
        assert (
            ledger.trades()
            .select("symbol", "quantity")
            .equals(pl.concat([h.trades for h in hours]).select("symbol", "quantity"))
        )
        orders = ledger.orders()
        assert orders["id"].is_unique().all()
        assert orders["id"][0].startswith("direction_1h:C")
        last = hours[-1].standing.at
        assert set(orders.filter(pl.col("ts") < last)["status"]) <= {"filled", "unfilled", "none", "partial"}
        assert set(orders.filter(pl.col("ts") == last)["status"]) <= {"sent", "none"}
        filled = orders.filter(pl.col("ts") < last)["filled"].abs().sum()
        assert filled == pytest.approx(ledger.trades()["quantity"].sum())
        assert ledger.reasons()["coin cap"] > 10
        assert len(ledger.days()) == 2


@settings(max_examples=5, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.integers(1, 20), st.booleans()), min_size=1, max_size=5))
def test_any_stops_and_repeats_give_the_same_account(tmp_path_factory, uninterrupted, stops):
    """After each stop the process may try the hour it had written again, as one would that did not know."""
    path = tmp_path_factory.mktemp("any") / "a.sqlite"
    last = None
    for hours, repeats in [*stops, (HOURS, False)]:
        with closing(PaperLedger(path)) as ledger:
            go_on(ledger, ACCOUNT, hours)
            if repeats:
                last = last or papers.live(ACCOUNT, hours=1)[0]
                with pytest.raises(LakeError, match="UNIQUE"):
                    ledger.write(ACCOUNT, last)
    with closing(PaperLedger(path)) as ledger:
        assert ledger.digest() == uninterrupted


def test_an_hour_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    with closing(PaperLedger(tmp_path / "a.sqlite")) as ledger:
        go_on(ledger, ACCOUNT, 20)
        before = ledger.digest()
        monkeypatch.setattr(ledger, "_complain", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            go_on(ledger, ACCOUNT, 1)
        assert ledger.digest() == before


@pytest.mark.slow
def test_killed_at_any_moment_it_ends_with_the_same_account_to_the_bit(tmp_path, uninterrupted):
    """SIGKILL after a random time, a dozen times; then a run to the end."""
    path, chance, kills = tmp_path / "killed.sqlite", random.Random(0), 0
    command = [sys.executable, "-m", papers.__name__, ACCOUNT.strategy, str(path)]
    while True:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, cwd=Path(__file__).parents[2])
        assert process.stdout.readline() == b"ready\n"
        until = time.monotonic() + (chance.uniform(0.0, 0.5) if kills < 12 else 60.0)
        while process.poll() is None and time.monotonic() < until:
            time.sleep(0.005)
        if process.poll() == 0:
            break
        process.kill()
        process.wait()
        kills += 1
    with closing(PaperLedger(path)) as ledger:
        assert ledger.digest() == uninterrupted
    assert kills > 2


def test_two_processes_may_not_trade_one_account_but_anyone_may_read(tmp_path):
    path = tmp_path / "a.sqlite"
    with closing(PaperLedger(path)) as ledger:
        go_on(ledger, ACCOUNT, 2)
        with pytest.raises(LakeError, match="another process trades"):
            PaperLedger(path)
        with closing(PaperLedger(path, is_writer=False)) as reader:
            assert reader.counts()["hours"] == 2
    with pytest.raises(LakeError, match="no paper account"):
        PaperLedger(tmp_path / "none.sqlite", is_writer=False)


def test_another_plan_is_refused_and_names_the_difference(tmp_path):
    with closing(PaperLedger(tmp_path / "a.sqlite")) as ledger:
        go_on(ledger, ACCOUNT, 1)
        with pytest.raises(SettingsError, match=r"capital_usd 10000.0 instead of 5.0"):
            ledger.open(plan("direction_1h", limits=Limits(coin=0.15), capital_usd=5.0), papers.start(ACCOUNT)[0])


def test_a_complaint_outside_of_the_hours_is_kept_once(tmp_path):
    with closing(PaperLedger(tmp_path / "a.sqlite")) as ledger:
        go_on(ledger, ACCOUNT, 3)
        before = ledger.counts()["complaints"]
        for _ in range(2):
            ledger.complain(Complaint(EVERYTHING, "the clock went backwards"))
        assert ledger.counts()["complaints"] == before + 1
        assert ledger.complaints(papers.BEGINS + 2 * HOUR)["what"].to_list()[-1] == "the clock went backwards"


def test_a_name_is_a_files_name(tmp_path):
    assert ledger_path(tmp_path, "replay-2024-11").name == "replay-2024-11.sqlite"
    for wrong in ("", "../x", ".hidden", "a/b"):
        with pytest.raises(SettingsError, match="--name"):
            ledger_path(tmp_path, wrong)
