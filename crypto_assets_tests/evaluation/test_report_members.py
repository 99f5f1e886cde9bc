"""The report's members: noise, a copy, and a member that leaks into its training period are shown for what they are."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import polars as pl
import pytest

from crypto_assets.evaluation.report_findings import Findings
from crypto_assets.evaluation.report_sections import members
from crypto_assets.evaluation.score import score
from crypto_assets.fusion.fitting import fit
from crypto_assets.fusion.fused import apply
from crypto_assets.fusion.tables import weight_rows
from crypto_assets.market.time import Window
from crypto_assets.models._base import Forecast
from crypto_assets_tests.evaluation import market

TRAINED, START, END = (datetime(2024, *day, tzinfo=UTC) for day in ((1, 20), (3, 1), (5, 12)))
NAMES = ("good", "copy", "noise", "leak")
SAID = dict.fromkeys(NAMES, frozenset({"p_up"}))


def cut(tables, panel, first: datetime, last: datetime):
    """Forecasts and labels of the hours `first <= ts < last`, on one time axis."""
    s = panel.slice(Window(first, last))
    within = (pl.col("ts") >= first) & (pl.col("ts") < last)
    found = {name: Forecast.from_table(rows.filter(within), panel.ts[s], panel.symbols) for name, rows in tables.items()}
    return found, {name: values[s] for name, values in panel.labels.items()}


@pytest.fixture(scope="module")
def findings(tmp_path_factory):
    """What a run of four members would hand to the report; the leak was right in the hours it learned from, then guesses."""
    panel, optimum = market.make(edge=0.3)
    g, shape = np.random.default_rng(1), optimum.shape
    good = np.clip(0.5 + 0.8 * (optimum - 0.5) + 0.03 * g.normal(size=shape), 0.02, 0.98)
    learned = (panel.ts < np.datetime64(TRAINED.replace(tzinfo=None)))[:, None]
    right = np.where(np.nan_to_num(panel.labels["ret_1h"]) > 0, 0.95, 0.05)
    leak = np.where(learned, right, 0.5 + 0.08 * g.normal(size=shape)).clip(0.05, 0.95)
    said = {"good": good, "copy": good, "noise": (0.5 + 0.08 * g.normal(size=shape)).clip(0.05, 0.95), "leak": leak}
    tables = {name: market.table(panel, p=p) for name, p in said.items()}
    past, known = cut(tables, panel, TRAINED, START)
    versions = {name: name for name in NAMES}
    checkpoint = fit(past, known, start=START, outputs=SAID, versions=versions)
    now, labels = cut(tables, panel, START, END)
    made = apply(checkpoint, now, labels, versions=versions, cost=0.0014)
    listed = np.ones(made.forecast.p_up_HTN.shape[1:], dtype=bool)
    tables |= {"base_rate": market.table(panel, p=0.5), "fused": made.forecast.table("fused", "0" * 16, TRAINED, listed)}
    lake = tmp_path_factory.mktemp("lake")
    scores = score(tables, market.labels_table(panel), study=market.study(tables), lake=lake)
    weights = weight_rows(made, "0" * 16)
    return Findings(scores, tables, pl.DataFrame(), market.labels_table(panel), (), {}, "fused", weights, {})


@pytest.fixture(scope="module")
def html(findings) -> str:
    return members(findings)


def test_noise_and_leak_have_no_skill_and_are_named(findings, html):
    rows = findings.of("1h")
    assert rows["good"]["log_loss_skill_ci95"][0] > 0.01
    assert rows["leak"]["log_loss_skill"] < 0
    assert "No skill shown, the interval reaches 0: noise, leak." in html


def test_a_copy_is_called_one(html):
    assert "As good as copies, correlation 0.98 or more: good and copy." in html


def test_the_picture_of_similarity_has_the_copy_at_one_and_noise_at_none(findings, html):
    (heat,) = findings.figures["similarity:1h"].data
    at = {name: i for i, name in enumerate(heat.y)}
    assert heat.z[at["good"]][at["copy"]] == pytest.approx(1)
    assert abs(heat.z[at["good"]][at["noise"]]) < 0.1


def test_the_picture_of_weights_shares_the_good_one_with_its_copy_and_leaves_the_others_near_zero(findings, html):
    weight = {line.name: float(np.mean(line.y)) for line in findings.figures["weights:1h"].data}
    assert weight["noise"] < 0.1
    assert weight["leak"] < 0.1
    assert weight["good"] + weight["copy"] > 0.7


def test_the_fused_forecast_loses_nothing_by_them(findings):
    rows = findings.of("1h")
    assert rows["fused"]["log_loss"] < rows["good"]["log_loss"] + 3e-4
