"""`score` on a market whose optimum is known: same rows for all, the JSON contract, κ, the null market."""

import json
from datetime import timedelta

import numpy as np
import polars as pl
import pytest
from sklearn import metrics as sk

from crypto_assets.evaluation.score import null_skill_failures, score
from crypto_assets.market.errors import SchemaError, SettingsError
from crypto_assets_tests.evaluation import market

PROBABILITY_KEYS = ("n", "accuracy", "accuracy_ci95", "auc", "log_loss", "log_loss_skill", "brier", "ece")
RANKING_KEYS = ("accuracy_top10", "accuracy_top5", "accuracy_top1", "rank_ic", "rank_icir", "kappa", "vs_lightgbm")
DIRECTION_KEYS = (*PROBABILITY_KEYS, *RANKING_KEYS)
PANEL, OPTIMUM = market.make(edge=0.3)


def forecasts(panel=PANEL, p=OPTIMUM, seed=0):
    rng = np.random.default_rng(seed)
    shape = panel.r_TN.shape
    noisy = np.clip(p + 0.02 * rng.normal(size=shape), 0.01, 0.99)
    fair = np.full(shape, 24 / 200**2)
    return {
        "base_rate": market.table(panel, p=0.5, relative=0.5),
        "lightgbm": market.table(panel, p=noisy, relative=rng.uniform(0.4, 0.6, shape), rv=fair * 1.1),
        "optimum": market.table(panel, p=p),
        "har": market.table(panel, rv=fair * np.exp(0.2 * rng.normal(size=shape))),
    }


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    tables = forecasts()
    return score(
        tables,
        market.labels_table(PANEL),
        study=market.study(tables),
        lake=tmp_path_factory.mktemp("lake"),
        oracle=market.oracle(PANEL, OPTIMUM),
        backtest={"lightgbm": {"sharpe_net": np.float64(1.0), "max_drawdown": float("nan"), "trades": np.int64(3)}},
        seconds=5.0,
    )


def test_the_json_has_the_keys_of_the_contract(result):
    text = json.dumps(result, allow_nan=False)
    assert json.loads(text) == result
    assert set(result) >= {"data", "direction", "volatility", "backtest", "trials", "seconds"}
    assert list(result["data"]) == ["from", "to", "symbols", "rows", "world"]
    assert list(result["direction"]) == ["1h", "4h", "24h", "24h_relative"]
    for models in result["direction"].values():
        for model, row in models.items():
            assert set(row) >= set(DIRECTION_KEYS if model != "oracle" else {"accuracy", "log_loss"})
        assert set(models["lightgbm"]["vs_lightgbm"]) == {"log_loss_diff", "ci95", "p"}
    for row in result["volatility"].values():
        assert set(row) >= {"n", "qlike", "r2_log", "dm_vs_har_p"}
    for model in ("base_rate", "lightgbm", "optimum"):
        row = result["direction"]["1h"][model]
        assert {"precision", "recall", "f1", "aurc", "accuracy_top50", "log_loss_top20", "mcs_p"} <= set(row)
    assert set(result["crash_days"]) >= {"threshold", "days", "direction", "volatility"}


def test_data_says_what_was_tested(result):
    assert (result["data"]["from"], result["data"]["to"]) == ("2024-03-01", "2024-05-09")
    assert result["data"]["rows"] == 70 * 24 * 4
    assert result["seconds"] > 5


def test_backtest_is_passed_through_as_plain_json(result):
    assert result["backtest"] == {"lightgbm": {"sharpe_net": 1.0, "max_drawdown": None, "trades": 3}}


def test_metrics_are_those_of_scikit_learn_on_the_rows_that_were_scored(result):
    s = PANEL.slice(market.folds()[0].test)
    s = slice(s.start, s.start + 70 * 24)
    y, p = PANEL.up("1h")[s].ravel(), OPTIMUM[s].ravel()
    row = result["direction"]["1h"]["optimum"]
    assert row["n"] == len(y) == 6720
    assert row["log_loss"] == pytest.approx(sk.log_loss(y, p))
    assert row["auc"] == pytest.approx(sk.roc_auc_score(y, p))
    assert row["accuracy"] == pytest.approx(sk.accuracy_score(y, p > 0.5))
    assert row["log_loss_skill"] == pytest.approx(1 - sk.log_loss(y, p) / np.log(2))
    low, high = row["accuracy_ci95"]
    assert low < row["accuracy"] < high


def test_kappa_is_one_for_the_optimum_and_zero_for_one_half(result):
    models = result["direction"]["1h"]
    assert models["optimum"]["kappa"] == pytest.approx(1.0)
    assert models["oracle"]["kappa"] == pytest.approx(1.0)
    assert models["base_rate"]["kappa"] == pytest.approx(0.0, abs=1e-9)
    assert 0.5 < models["lightgbm"]["kappa"] < 1
    assert models["optimum"]["kappa_latent"] < 1
    assert all(m["kappa"] is None for h in ("4h", "24h") for k, m in result["direction"][h].items() if k != "oracle")


def test_the_oracle_stands_beside_the_models(result):
    oracle = result["direction"]["1h"]["oracle"]
    assert oracle["log_loss"] == result["direction"]["1h"]["optimum"]["log_loss"]
    assert oracle["expected_accuracy"] == pytest.approx(oracle["accuracy"], abs=0.02)
    assert result["direction"]["4h"]["oracle"] == {"accuracy": None, "log_loss": None}
    assert result["volatility"]["oracle"]["captured_share"] == pytest.approx(1.0)


def test_the_difference_to_lightgbm_is_paired(result):
    models = result["direction"]["1h"]
    gap = models["optimum"]["log_loss"] - models["lightgbm"]["log_loss"]
    assert models["optimum"]["vs_lightgbm"]["log_loss_diff"] == pytest.approx(gap)
    assert models["lightgbm"]["vs_lightgbm"] == {"log_loss_diff": 0.0, "ci95": [0.0, 0.0], "p": 1.0}
    assert models["base_rate"]["vs_lightgbm"]["p"] < 1e-4


def test_volatility_is_compared_with_har(result):
    assert result["volatility"]["har"]["dm_vs_har_p"] == 1.0
    assert result["volatility"]["lightgbm"]["qlike_diff_vs_har"] < 0
    assert result["volatility"]["lightgbm"]["dm_vs_har_p"] < 0.01


def test_a_model_is_scored_only_on_what_it_says(result):
    assert "optimum" not in result["direction"]["24h_relative"]
    assert "har" not in result["direction"]["1h"]
    assert set(result["volatility"]) == {"lightgbm", "har", "oracle"}


def test_a_panel_and_its_labels_table_give_the_same(result, tmp_path):
    tables = forecasts()
    again = score(tables, PANEL, study=market.study(tables), lake=tmp_path, oracle=market.oracle(PANEL, OPTIMUM))
    assert again["direction"] == result["direction"]
    assert again["volatility"] == result["volatility"]


def test_all_models_are_scored_on_the_same_rows(tmp_path):
    tables = forecasts()
    rng = np.random.default_rng(2)
    for name in ("lightgbm", "optimum"):
        holes = pl.Series(rng.uniform(size=tables[name].height) < 0.3)
        tables[name] = tables[name].filter(~holes)
    found = score(tables, PANEL, study=market.study(tables), lake=tmp_path)
    for target, models in found["direction"].items():
        assert {row["n"] for row in models.values()} == {found["rows"][target]["scored"]}
        assert (
            found["rows"][target]["scored"] + found["rows"][target]["not_forecast_by_all"] == found["rows"][target]["labelled"]
        )
    assert found["direction"]["1h"]["base_rate"]["n"] == pytest.approx(0.7 * 0.7 * 6720, rel=0.05)


def test_rows_in_any_order_give_the_same(result, tmp_path):
    tables = {m: t.sample(fraction=1.0, shuffle=True, seed=3) for m, t in forecasts().items()}
    labels = market.labels_table(PANEL).sample(fraction=1.0, shuffle=True, seed=4)
    found = score(tables, labels, study=market.study(tables), lake=tmp_path, oracle=market.oracle(PANEL, OPTIMUM))
    assert found["direction"] == result["direction"]


def test_zero_returns_and_ties_are_left_out_and_counted(tmp_path):
    labels = market.labels_table(PANEL)
    first = pl.col("ts").dt.date() == market.FIRST
    labels = labels.with_columns(
        ret_1h=pl.when(first & (pl.col("symbol") == "BTC")).then(0.0).otherwise("ret_1h"),
        above_median_24h=pl.when(first).then(None).otherwise("above_median_24h"),
    )
    tables = forecasts()
    found = score(tables, labels, study=market.study(tables), lake=tmp_path)
    assert found["excluded_zero_returns"] == {"1h": 24, "4h": 0, "24h": 0, "24h_relative": 96}
    assert found["direction"]["1h"]["base_rate"]["n"] == 6720 - 24


def test_crash_days_are_the_largest_and_their_labels_are_gone(tmp_path):
    panel, p = market.make(seed=9)
    labels = market.labels_table(panel)
    crash = market.FIRST + timedelta(days=20)
    midnight = pl.col("ts") == pl.lit(str(crash)).str.to_datetime("%Y-%m-%d", time_zone="UTC", time_unit="us")
    labels = labels.with_columns(ret_24h=pl.when(midnight).then(-0.5).otherwise("ret_24h"))
    tables = forecasts(panel, p)
    found = score(tables, labels, study=market.study(tables), lake=tmp_path)
    assert found["crash_days"]["days"] == [str(crash)]
    assert found["crash_days"]["threshold"] == pytest.approx(0.5)
    lost = {t: found["rows"][t]["scored"] - found["crash_days"]["rows"][t]["scored"] for t in ("1h", "4h", "24h")}
    assert lost == {"1h": 24 * 4, "4h": (24 + 3) * 4, "24h": (24 + 23) * 4}


def test_on_a_null_market_nothing_shows_skill_and_a_leak_does(tmp_path):
    panel, fair = market.make(seed=11)
    rng = np.random.default_rng(5)
    tables = forecasts(panel, np.clip(fair + 0.01 * rng.normal(size=fair.shape), 0, 1))
    study = market.study(tables)
    assert null_skill_failures(score(tables, panel, study=study, lake=tmp_path)) == []
    tables["optimum"] = market.table(panel, p=0.5 + 0.1 * np.sign(np.nan_to_num(panel.labels["ret_1h"])))
    assert "1h/optimum" in null_skill_failures(score(tables, panel, study=study, lake=tmp_path))


def test_trials_are_counted_once_and_kept_with_their_metrics(tmp_path):
    tables = forecasts()
    for _ in range(2):
        found = score(tables, PANEL, study=market.study(tables), lake=tmp_path)
        assert found["trials"] == 4
    found = score(tables, PANEL, study=market.study(tables, width=2), lake=tmp_path)
    assert found["trials"] == 8
    row = next(json.loads(p.read_text()) for p in (tmp_path / "ledger").glob("*.json") if '"lightgbm"' in p.read_text())
    assert row["results"]["direction"]["1h"]["n"] == 6720


def test_without_base_rate_bar_or_oracle_their_numbers_are_null(tmp_path):
    tables = {"optimum": forecasts()["optimum"]}
    row = score(tables, PANEL, study=market.study(tables), lake=tmp_path)["direction"]["1h"]["optimum"]
    assert row["log_loss_skill"] is row["kappa"] is row["vs_lightgbm"]["p"] is None


def test_one_day_gives_numbers_without_intervals(tmp_path):
    tables = forecasts()
    day = market.folds(market.FIRST, market.FIRST)
    found = score(tables, PANEL, study=market.study(tables, day), lake=tmp_path)
    row = found["direction"]["1h"]["optimum"]
    assert (row["n"], row["accuracy_ci95"]) == (96, None)
    json.dumps(found, allow_nan=False)


def test_no_labels_yet_give_no_rows(tmp_path):
    tables = forecasts()
    labels = market.labels_table(PANEL).with_columns(pl.lit(None, dtype=pl.Float64).alias("ret_24h"))
    found = score(tables, labels, study=market.study(tables), lake=tmp_path)
    assert found["direction"]["24h"]["base_rate"]["n"] == 0
    assert found["crash_days"]["days"] == []
    json.dumps(found, allow_nan=False)


def _refused(case):
    tables = forecasts()
    table = tables["lightgbm"]
    if case == "twice":
        table = pl.concat([table, table.head(1 + 3 * 24 * 90)])
    elif case == "used labels until":
        table = table.with_columns(trained_until=pl.col("ts") - timedelta(hours=1))
    elif case == "off the hour":
        table = table.with_columns(pl.col("ts") + pl.duration(minutes=7))
    elif case == "none has a forecast of every model":
        tables["optimum"] = tables["optimum"].filter(pl.col("symbol") == "BTC")
        table = table.filter(pl.col("symbol") == "ETH")
    return tables | {"lightgbm": table}


@pytest.mark.parametrize("case", ["twice", "used labels until", "off the hour", "none has a forecast of every model"])
def test_tables_that_cannot_be_scored_are_refused(case, tmp_path):
    tables = _refused(case)
    with pytest.raises(SchemaError, match=case):
        score(tables, PANEL, study=market.study(tables), lake=tmp_path)
    assert not (tmp_path / "ledger").exists()


def test_nothing_is_scored_around_the_ledger(tmp_path):
    with pytest.raises(SettingsError, match="no configuration"):
        score(forecasts(), PANEL, study=market.study(["lightgbm"]), lake=tmp_path)


def test_parts_add_up_to_the_whole(result):
    for target, models in result["breakdown"].items():
        measure = "qlike" if target == "volatility" else "log_loss"
        whole = result["volatility"] if target == "volatility" else result["direction"][target]
        for model, kinds in models.items():
            for kind in ("coin", "month"):
                rows = kinds[kind].values()
                assert sum(r["n"] for r in rows) == whole[model]["n"]
                mean = sum(r["n"] * r[measure] for r in rows) / whole[model]["n"]
                assert mean == pytest.approx(whole[model][measure])
    assert list(result["breakdown"]["1h"]["lightgbm"]["coin"]) == list(market.SYMBOLS)
    assert list(result["breakdown"]["1h"]["lightgbm"]["month"]) == ["2024-03", "2024-04", "2024-05"]
    assert set(result["breakdown"]["1h"]["lightgbm"]["regime"]) <= {"calm", "normal", "turbulent"}


def test_the_optimum_stays_in_the_confidence_set_and_the_coin_toss_does_not(result):
    rows = result["direction"]["1h"]
    assert rows["optimum"]["mcs_p"] == 1
    assert rows["base_rate"]["mcs_p"] < 0.05
    assert "mcs_p" not in rows["oracle"]
