"""The report: what it draws agrees with what is measured, the page stands alone, and missing parts leave it whole."""

from __future__ import annotations

import json
import re
from datetime import timedelta

import numpy as np
import polars as pl
import pytest

from crypto_assets.dataset import labels as label_table
from crypto_assets.evaluation import metrics, report_data
from crypto_assets.evaluation import report_words as words
from crypto_assets.evaluation.performance import drawdown, hourly_returns, max_drawdown, performance
from crypto_assets.evaluation.report import write_report
from crypto_assets.evaluation.report_index import read_summary, summary, write_index
from crypto_assets.market.errors import SettingsError
from crypto_assets.trading.backtest import backtest, cost_sensitivity
from crypto_assets.trading.strategy import Direction, Relative
from crypto_assets_tests.trading.worlds import HOUR, START, candles, forecasts, walk

HOURS, COINS = 24 * 45, 4
WEIGHTS = pl.DataFrame(
    {
        "ts": [START + h * HOUR for h in range(1000) for _ in range(2)],
        "target": "1h",
        "member": ["logistic", "lightgbm"] * 1000,
        "weight": [0.6, 0.4] * 1000,
    }
)
EVIL = "</script><b>C</b>"


def table(seed: int) -> pl.DataFrame:
    p = 1 / (1 + np.exp(-np.random.default_rng(seed).normal(0, 0.2, (HOURS - 1, COINS))))
    rows = pl.concat([forecasts(p, h) for h in ("1h", "4h", "24h")])
    return rows.with_columns(p_beats_median=pl.when(pl.col("horizon") == "24h").then("p_beats_median"))


@pytest.fixture(scope="module")
def world() -> dict:
    prices = candles(walk(0, HOURS, COINS))
    tables = {"logistic": table(1), "lightgbm": table(2), "fused": table(3)}
    accounts = [backtest(tables["fused"], prices, None, s, model="fused") for s in (Direction("24h"), Relative())]
    row = {
        "n": 1000, "accuracy": 0.52, "accuracy_ci95": [0.51, 0.53], "auc": 0.53, "log_loss": 0.692, "log_loss_skill": 0.002,
        "log_loss_skill_ci95": [0.001, 0.003], "ece": 0.01, "accuracy_top10": 0.55, "rank_ic": 0.03, "kappa": 0.6,
        "vs_lightgbm": {"log_loss_diff": -0.001, "ci95": [-0.002, 0.0], "p": 0.04},
    }  # fmt: skip
    part = {name: {"n": 500, "accuracy": 0.52, "log_loss": 0.692} for name in ("one", "two")}
    scores = {
        "data": {"from": "2024-01-01", "to": "2024-02-14", "symbols": ["C0", "C1"], "rows": 4000, "world": "sandbox"},
        "direction": {t: dict.fromkeys(tables, row) for t in words.TARGETS},
        "volatility": {"har": {"n": 10, "qlike": 0.34, "r2_log": 0.5, "dm_vs_har_p": None}},
        "backtest": {"fused": performance(accounts[0])},
        "breakdown": {"1h": {m: {"coin": part, "month": part, "regime": part} for m in (*tables, "base_rate")}},
        "selection": {
            "trials": 12, "traded": 3, "sharpe_spread": 1.0, "expected_max_sharpe": 1.5, "deflated_sharpe": {"fused": 0.42},
            "pbo": 0.25, "pbo_loss": 0.1, "accounts": 3,
        },
        "trials": 12,
        "excluded_zero_returns": {"1h": 3},
        "holdout": None,
        "holdout_declared": {"from": "2024-11-01", "to": "2025-02-28", "reads": 2},
    }  # fmt: skip
    return {
        "scores": scores, "forecasts": tables, "candles": prices, "labels": label_table.compute(prices.lazy()).collect(),
        "backtests": accounts,
        "sensitivity": cost_sensitivity(tables["fused"], prices, None, Direction("24h"), model="fused"),
    }  # fmt: skip


def figures(html: str) -> dict:
    text = re.search(r"<script>const FIGURES=(\{.*?\});\nconst root", html, re.S)
    assert text is not None
    return json.loads(text[1].replace("<\\/", "</"))


@pytest.fixture(scope="module")
def html(world, tmp_path_factory) -> str:
    path = write_report(tmp_path_factory.mktemp("report") / "report.html", **world, weights=WEIGHTS)
    return path.read_text()


def test_the_page_stands_alone(html):
    page = html.replace(re.search(r"<script>/\*\*.*?</script>", html, re.S)[0], "")  # without plotly.js itself
    assert not re.search(r"""(src|href)\s*=\s*["']?(https?:)?//""", page)
    assert "@import" not in page
    assert "url(" not in page
    assert html.count("plotly.js v") == 1
    assert len(html) < 8_000_000


def test_every_section_is_there_and_every_chart_has_its_figure(html):
    for heading in (
        "How good are the forecasts?", "Price, forecast and position", "What would it have earned?",
        "Can the probabilities be believed?", "The members", "What an accuracy is worth", "Data and honesty",
        "How bad are the bad days?", "Luck of choosing", "Where is it good, and where not?",
    ):  # fmt: skip
        assert f"<h2>{heading}</h2>" in html
    drawn = set(re.findall(r'data-figure="([^"]+)"', html))
    known = figures(html)
    assert drawn <= set(known)
    assert {f"coin:C{n}:{view}" for n in range(COINS) for view in ("recent", "whole")} <= set(known)
    assert {"days", "volatility", "weights:1h", "kappa:1h", "coverage:1h", "by_month:1h"} <= drawn
    assert "simulated market" in html
    assert "locked hold-out: read 2 times so far; this report does not reach into it" in html


def test_the_cards_show_the_numbers_of_the_evaluation(html, world):
    found = dict(re.findall(r'<div class="card"><span>(.*?)</span><b class="\w*">(.*?)</b>', html))
    shown = world["scores"]["backtest"]["fused"]
    assert found["Right side, 1 hour ahead"] == "52.0%"
    assert found["κ, share of the possible"] == "60%"
    assert found["Trials counted"] == "12"
    assert found["Sharpe ratio after costs"] == f"{shown['sharpe_net']:.2f}".replace("-", "−")
    assert found["Return after costs"] == f"{shown['total_return_net']:+.1%}".replace("-", "−")


def test_the_same_input_gives_the_same_bytes(world, tmp_path):
    one, two = (write_report(tmp_path / name, **world).read_bytes() for name in ("a.html", "b.html"))
    assert one == two


def test_names_from_outside_are_escaped(world, tmp_path):
    renamed = world["candles"].with_columns(pl.col("symbol").replace("C0", EVIL))
    said = {m: t.with_columns(pl.col("symbol").replace("C0", EVIL)) for m, t in world["forecasts"].items()}
    path = write_report(
        tmp_path / "r.html", scores=world["scores"], forecasts=said, candles=renamed, labels=world["labels"], notes=[EVIL],
        title=EVIL,
    )  # fmt: skip
    html = path.read_text()
    assert EVIL not in html
    assert f"coin:{EVIL}:recent" in figures(html)


def test_without_accounts_scores_or_skill_the_page_is_still_whole(world, tmp_path):
    silent = {"base_rate": world["forecasts"]["fused"].with_columns(p_up=pl.lit(0.5), p_beats_median=pl.lit(None, pl.Float64))}
    html = write_report(
        tmp_path / "r.html", scores={}, forecasts=silent, candles=world["candles"], labels=world["labels"]
    ).read_text()
    assert "What would it have earned?" not in html
    assert "Data and honesty" in html


def test_a_suspicious_accuracy_on_real_data_is_called_a_leak(world, tmp_path):
    scores = json.loads(json.dumps(world["scores"]))
    scores["data"]["world"] = "archive"
    scores["direction"]["1h"]["fused"]["accuracy"] = 0.71
    html = write_report(tmp_path / "r.html", **world | {"scores": scores}).read_text()
    assert "leak until proven otherwise" in html
    assert "simulated market with" not in html


def test_a_report_about_nothing_is_refused(world, tmp_path):
    with pytest.raises(SettingsError, match="at least one"):
        write_report(tmp_path / "r.html", **world | {"forecasts": {}})
    with pytest.raises(SettingsError, match="no forecasts; there are"):
        write_report(tmp_path / "r.html", **world, headline="unknown")


def test_outcomes_join_the_hour_that_was_forecast():
    close = walk(5, 60, 2)
    prices = candles(close)
    truth = label_table.compute(prices.lazy()).collect()
    p = np.random.default_rng(0).uniform(0.4, 0.6, (59, 2))
    rows = report_data.scored(forecasts(p, "1h"), truth, "1h")
    up = (close[1:] > close[:-1]).astype(float)[:59]
    expected = {(t, pp): u for t in range(59) for pp, u in zip(p[t], up[t], strict=True)}
    start = np.datetime64((START + HOUR).replace(tzinfo=None), "us")
    for pp, y, ts in zip(rows.p, rows.y, rows.ts, strict=True):
        assert expected[int((ts - start) / np.timedelta64(1, "h")), pp] == y


def scored_rows(n: int = 6000) -> report_data.Scored:
    rng = np.random.default_rng(1)
    p = rng.uniform(0.4, 0.65, n)
    ts = np.datetime64("2024-01-01", "us") + np.arange(n) // 4 * np.timedelta64(1, "h")
    return report_data.Scored(p, (rng.random(n) < p).astype(float), ts)


def test_the_reliability_picture_is_the_calibration_error():
    rows = scored_rows()
    bins = report_data.reliability(rows, "1h")
    drawn = float(((bins["p"] - bins["share"]).abs() * bins["n"]).sum()) / len(rows.p)
    assert drawn == pytest.approx(metrics.expected_calibration_error(rows.p, rows.y), abs=1e-3)
    inside = ((bins["low"] <= bins["p"]) & (bins["p"] <= bins["high"])).mean()
    assert inside > 0.75


def test_confidence_bins_hold_every_forecast():
    rows = scored_rows()
    bins = report_data.confidence(rows, "1h")
    assert bins["share"].sum() == pytest.approx(1.0)
    known = bins.drop_nulls("accuracy")
    assert np.corrcoef(known["mean"], known["accuracy"])[0, 1] > 0.7


def test_thinning_keeps_the_ends_and_the_deepest_trough(world):
    equity = world["backtests"][0].equity
    long = pl.concat([equity] * 5).with_columns(ts=pl.Series([START + i * HOUR for i in range(5 * len(equity))]))
    thin = report_data.curve(long)
    assert len(thin) <= report_data.MAX_POINTS
    assert thin["ts"][0] == long["ts"][0]
    assert thin["ts"][-1] == long["ts"][-1]
    assert thin["value"][-1] == long["equity_usd"][-1]
    assert thin["drawdown"].max() == pytest.approx(max_drawdown(long["equity_usd"].to_numpy()))
    assert drawdown(np.array([1.0, 1.0])).max() == 0


def test_coin_views_lie_on_an_even_grid(world):
    end = START + (HOURS - 1) * HOUR
    views = report_data.coin_views(
        world["candles"], world["forecasts"]["fused"], "p_up", "24h", world["backtests"][0], START + HOUR, end
    )
    recent = views["C1"]["recent"]
    assert recent.start == end - timedelta(days=30)
    assert len(recent.price) == 30 * 24 + 1
    close = world["candles"].filter(pl.col("symbol") == "C1", pl.col("ts") == end - HOUR)["close"][0]
    assert recent.price[-1] == pytest.approx(close, rel=1e-6)
    assert len(views["C1"]["whole"].price) <= report_data.MAX_POINTS


@pytest.mark.parametrize(
    ("ic", "accuracy", "surest", "ratio"),
    [(0.02, 0.506, 0.517, 1.0), (0.05, 0.516, 0.541, 2.4), (0.10, 0.532, 0.582, 4.8), (0.20, 0.564, 0.663, 9.6)],
)
def test_what_an_accuracy_implies(ic, accuracy, surest, ratio):
    found = words.implied_by(0.5 + np.arcsin(ic) / np.pi)
    assert found[0] == pytest.approx(ic)
    assert found[1] == pytest.approx(surest, abs=2e-3)
    assert found[2] == pytest.approx(ratio, abs=0.06)
    assert 0.5 + np.arcsin(ic) / np.pi == pytest.approx(accuracy, abs=5e-4)


def test_the_accuracy_on_the_surest_tenth_by_simulation():
    rng = np.random.default_rng(0)
    forecast = rng.normal(size=400_000)
    outcome = 0.15 * forecast + np.sqrt(1 - 0.15**2) * rng.normal(size=len(forecast))
    surest = np.abs(forecast) > np.quantile(np.abs(forecast), 0.9)
    hit = (np.sign(forecast) == np.sign(outcome))[surest].mean()
    assert words.implied_by(0.5 + np.arcsin(0.15) / np.pi)[1] == pytest.approx(hit, abs=0.006)


def test_break_even_accuracies():
    assert words.break_even(10e-4, 1, 0.55) == pytest.approx(0.607, abs=1e-3)
    assert words.break_even(20e-4, 24, 0.55) == pytest.approx(0.544, abs=1e-3)


def test_accuracy_by_coverage_is_that_of_the_metrics():
    rows = scored_rows()
    drawn = report_data.coverage(rows, "1h")
    (curve,) = metrics.means_of_most_confident(rows.p, rows.hit)
    assert drawn["coverage"][-1] == 1
    for share, accuracy in drawn.select("coverage", "accuracy").iter_rows():
        assert accuracy == pytest.approx(metrics.at_coverage(curve, share))
    assert (drawn["low"] < drawn["accuracy"]).all()
    same = report_data.Scored(np.full(500, 0.6), rows.y[:500], rows.ts[:500])
    assert report_data.coverage(same, "1h")["coverage"].to_list() == [1.0]


def test_rolling_volatility_of_steady_noise_is_its_own(world):
    found = report_data.rolling_volatility(world["backtests"][0].buy_and_hold)
    r = hourly_returns(world["backtests"][0].buy_and_hold)
    assert found["volatility"].mean() == pytest.approx(r.std() * np.sqrt(8760), rel=0.1)


def test_thinned_weights_still_sum_to_one():
    thin = report_data.thin_weights(WEIGHTS.drop("target"))
    assert thin["ts"].n_unique() <= report_data.MAX_WEIGHTS
    assert np.allclose(thin.group_by("ts").agg(pl.col("weight").sum())["weight"], 1)


def test_the_index_lists_every_report_newest_first(world, tmp_path):
    for name in ("20240101-000000", "20240102-000000"):
        write_report(tmp_path / f"{name}.html", **world, title=EVIL)
    (tmp_path / "other.html").write_text("<p>not a report</p>")
    (tmp_path / "latest.html").write_bytes((tmp_path / "20240102-000000.html").read_bytes())
    html = write_index(tmp_path).read_text()
    assert re.findall(r'<a href="(.*?)">', html) == ["20240102-000000.html", "20240101-000000.html"]
    assert all(part in html for part in ("2 runs", "52.00%", "42.0%", "60%"))
    assert "plotly.js" not in html
    assert len(html) < 30_000
    assert read_summary(tmp_path / "20240101-000000.html") == summary(world["scores"], "fused")
    assert write_index(tmp_path).read_text() == html


def test_a_folder_without_reports_has_an_index_that_says_so(tmp_path):
    assert "0 runs" in write_index(tmp_path).read_text()
