"""The day's page of a paper account: whatever was wrong has a line on it."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from html import escape

import numpy as np
import polars as pl
import pytest

from crypto_assets.evaluation import paper_report
from crypto_assets.trading import account as accounts
from crypto_assets.trading import paper
from crypto_assets.trading.limits import Limits
from crypto_assets.trading.paper_ledger import PaperLedger
from crypto_assets.trading.venues import Rules
from crypto_assets_tests.trading.papers import plan, start, told
from crypto_assets_tests.trading.test_paper import BAD

FOREIGN = pl.DataFrame({"symbol": ["DOGE"], "value": [0.99], "model_version": ["v1"]})
MORE = {
    "forecast of an unlisted coin": (
        lambda t: replace(
            t,
            forecasts=pl.concat(
                [t.forecasts, FOREIGN.with_columns(ts=pl.lit(t.at).cast(pl.Datetime("us", "UTC")))], how="diagonal"
            ),
        ),
        paper.FOREIGN,
    ),
}
EVERY = {**BAD, **MORE}


def pages(ledger: PaperLedger, account: paper.Plan) -> str:
    return "".join(paper_report.page(ledger, account, day) for day in ledger.days())


@pytest.fixture(scope="module")
def told_badly(tmp_path_factory) -> str:
    """The pages of an account that meets one bad thing an hour, of coin C1, and limits that bite."""
    account = plan("direction_1h", limits=Limits(coin=0.1))
    memory, standing = start(account)
    bads = [bad for bad, _ in EVERY.values()]
    with closing(PaperLedger(tmp_path_factory.mktemp("page") / "x.sqlite")) as ledger:
        ledger.open(account, memory)
        for n in range(40):
            what = told(account, n)
            memory, hour = paper.advance(account, memory, standing, bads[n](what) if n < len(bads) else what)
            standing = hour.standing
            ledger.write(account, hour)
        return pages(ledger, account)


@pytest.mark.parametrize("name", list(EVERY))
def test_each_bad_input_has_a_line(name, told_badly):
    lines = told_badly.split("What was missing, left out or late")
    assert any(escape(EVERY[name][1]) in part.split("</section>")[0] for part in lines[1:])


def test_an_order_that_a_limit_cut_says_so(told_badly):
    assert "coin cap" in told_badly


def test_a_liquidation_says_so(tmp_path):
    account = plan("direction_1h", rules=Rules(maintenance=0.5), limits=Limits(gross=3.0))
    memory, standing = start(account)
    with closing(PaperLedger(tmp_path / "x.sqlite")) as ledger:
        ledger.open(account, memory)
        for n in range(40):
            what = told(account, n)
            if n == 2:
                standing = standing._replace(wanted=accounts.targets([2.9, 0.0, 0.0]))
                crashed = pl.when(pl.col("symbol") == "C0").then(1.0).otherwise("close").alias("close")
                what = replace(what, bars=what.bars.with_columns(crashed))
            memory, hour = paper.advance(account, memory, standing, what)
            standing = hour.standing
            ledger.write(account, hour)
        assert np.isfinite(hour.values["equity_usd"])
        assert "liquidation" in pages(ledger, account)
