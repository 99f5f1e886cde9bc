"""The demo, as a user runs it: the whole graph, the JSON contract, the same lake again, the other commands on it."""

import hashlib
import json
from pathlib import Path

import pytest

from crypto_assets.lake import Lake, catalog
from crypto_assets.market.coins import DEFAULT_SYMBOLS
from crypto_assets.models.registry import NETS
from crypto_assets_tests.orchestration.conftest import DAYS, crypto_assets

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

DIRECTION = {"base_rate", "reversal", "coin_prior", "logistic", "linear_lags", "lightgbm", *NETS, "pool", "fused"}
VOLATILITY = {"last_rv", "ewma", "har", "har_x", "lightgbm", "har_x_lightgbm", *NETS, "fused"}
METRICS = {
    "n",
    "accuracy",
    "accuracy_ci95",
    "auc",
    "log_loss",
    "log_loss_skill",
    "brier",
    "ece",
    "accuracy_top10",
    "accuracy_top5",
    "accuracy_top1",
    "rank_ic",
    "rank_icir",
    "kappa",
    "vs_lightgbm",
}
ACCOUNT = {"sharpe_gross", "sharpe_net", "max_drawdown", "turnover_per_day", "total_return_net", "final_value_usd", "trades"}


def digests(lake: Path) -> dict[str, str]:
    tables = [p for p in lake.rglob("*.parquet") if not any(part.startswith(".") for part in p.relative_to(lake).parts)]
    weights = list(lake.rglob("*.safetensors"))
    return {str(p.relative_to(lake)): hashlib.sha256(p.read_bytes()).hexdigest() for p in [*tables, *weights]}


def test_the_json_keeps_its_contract(built):
    result = built.result
    assert set(result["direction"]) == {"1h", "4h", "24h", "24h_relative"}
    for horizon, models in result["direction"].items():
        assert set(models) - {"oracle"} == DIRECTION, horizon
        for model in DIRECTION:
            assert set(models[model]) >= METRICS, (horizon, model)
    assert {"accuracy", "log_loss"} <= set(result["direction"]["1h"]["oracle"])
    assert set(result["volatility"]) >= VOLATILITY
    assert all(
        {"n", "qlike", "r2_log", "dm_vs_har_p"} <= set(m) for name, m in result["volatility"].items() if name != "oracle"
    )
    assert all(set(account) >= ACCOUNT for account in result["backtest"].values())
    assert {"data", "trials", "seconds", "assets", "partitions", "events", "peak_rss_mb"} <= set(result)
    assert set(result["data"]) >= {"from", "to", "symbols", "rows", "world"}


def test_every_day_of_every_table_is_there_and_the_checks_are_green(built):
    lake = Lake(built.lake)
    for table in ("raw/binance_perp_candles", "curated/candles", "features/matrix", "labels/targets"):
        assert len(lake.days(table)) == DAYS, table
    assert "check:" not in built.stderr
    assert "error" not in built.stderr


def test_every_model_is_scored_on_the_same_rows(built):
    for horizon, models in built.result["direction"].items():
        assert len({m["n"] for name, m in models.items() if name != "oracle"}) == 1, horizon


def test_kappa_is_measured_against_an_oracle_that_nothing_beats_by_more_than_noise(built):
    oracle = built.result["direction"]["1h"]["oracle"]
    assert oracle["log_loss"] < 0.69
    assert all(m["kappa"] is None or m["kappa"] < 1 for n, m in built.result["direction"]["1h"].items() if n != "oracle")


def test_the_catalog_answers_and_the_report_is_there(built):
    days = catalog.query(Lake(built.lake), "SELECT count(DISTINCT date) AS days FROM raw.binance_perp_candles").item()
    assert days == DAYS
    page = (built.lake / "reports" / "latest.html").read_text()
    assert "plotly" in page.lower()
    assert "http://" not in page.split("<script")[0]


def test_mlflow_has_a_run_for_each_fit_with_curves_and_the_report(built):
    from mlflow.tracking import MlflowClient

    client = MlflowClient(tracking_uri=f"sqlite:///{built.lake / '.mlflow' / 'mlflow.db'}")
    fits = client.search_runs([client.get_experiment_by_name("walk-forward").experiment_id], max_results=1000)
    assert all(run.info.status == "FINISHED" for run in fits)
    assert {run.data.tags["model"] for run in fits} >= {"lightgbm", *NETS, "har"}
    deep = next(run for run in fits if run.data.tags["model"] == "transformer")
    curve = [name for name in deep.data.metrics if "loss" in name]
    assert curve, deep.data.metrics
    assert len(client.get_metric_history(deep.info.run_id, curve[0])) > 1
    report = client.search_runs([client.get_experiment_by_name("reports").experiment_id])[0]
    assert any(f.path.endswith(".html") for f in client.list_artifacts(report.info.run_id))


def test_checkpoints_hold_no_pickle_and_refuse_other_features(built):
    from crypto_assets.market.errors import CheckpointError
    from crypto_assets.models.checkpoint import Checkpoint

    folders = sorted((built.lake / "models").glob("*/fold=*"))
    assert folders
    assert {p.name for f in folders for p in f.iterdir()} == {"weights.safetensors", "config.json"}
    checkpoint = Checkpoint.load(next(f for f in folders if f.parent.name == "logistic"))
    with pytest.raises(CheckpointError, match="retrain"):
        checkpoint.require(("technical.something_else", *checkpoint.columns))


def test_the_same_demo_again_changes_no_byte(built):
    before = digests(built.lake)
    again = crypto_assets("demo", "--days", str(DAYS), "--preset", "debug", "--lake", str(built.lake))
    assert again.returncode == 0, again.stderr[-3000:]
    after = digests(built.lake)
    assert {k for k in before | after if before.get(k) != after.get(k)} == set()


def test_evaluate_makes_the_forecasts_the_assets_made(built, tmp_path):
    scored = built.result["data"]
    out = tmp_path / "evaluate.json"
    arguments = [
        "--from",
        scored["from"][:10],
        "--to",
        scored["to"][:10],
        "--models",
        "base_rate,logistic,lightgbm,har",
        "--preset",
        "debug",
    ]
    done = crypto_assets(
        "evaluate", *arguments, "--symbols", ",".join(DEFAULT_SYMBOLS), "--lake", str(built.lake), "--json", str(out)
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(out.read_text())
    for model in ("base_rate", "logistic", "lightgbm"):
        ours, theirs = found["direction"]["1h"][model], built.result["direction"]["1h"][model]
        assert ours["log_loss"] == pytest.approx(theirs["log_loss"], abs=2e-4), model


def test_another_world_is_refused_on_this_lake(built):
    for arguments in (("demo", "--market", "null"), ("demo", "--seed", "8"), ("build", "--world", "live")):
        refused = crypto_assets(*arguments, "--lake", str(built.lake))
        assert refused.returncode == 2, refused.stderr
        assert "belongs to the world" in refused.stderr.replace("\n", " ")


def test_a_rerun_of_one_day_writes_no_file(built):
    """A row does not depend on where the read began, so a day by itself is what the run over all days wrote."""
    before = digests(built.lake)
    day = Lake(built.lake).days("features/matrix")[-2]
    done = crypto_assets("build", "--from", str(day), "--to", str(day), "--select", "ingest", "--lake", str(built.lake))
    assert done.returncode == 0, done.stderr[-3000:]
    assert digests(built.lake) == before


def test_query_and_quarantine_commands(built):
    shown = crypto_assets("query", "SELECT symbol FROM curated.candles GROUP BY 1 ORDER BY 1", "--lake", str(built.lake))
    assert "BTC" in shown.stdout
    assert crypto_assets("quarantine", "--lake", str(built.lake)).returncode == 0


def test_forecasts_are_out_of_sample(built):
    lake = Lake(built.lake)
    for table in ("forecasts/lightgbm", "fusion/fused"):
        rows = lake.scan(table).select("ts", "trained_until", "available_at").collect()
        assert rows.height
        assert (rows["ts"] >= rows["trained_until"]).all()
        assert (rows["available_at"] >= rows["ts"]).all()
