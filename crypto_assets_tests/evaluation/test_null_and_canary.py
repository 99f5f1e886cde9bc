"""The last leak detectors: nothing is found where there is nothing, a planted leak is seen, and what is there is found.

Everything goes the way of `evaluate`: simulated tables, features, panel, walk-forward run, score.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import polars as pl
import pytest

from crypto_assets.dataset.assemble import Assembled, assemble
from crypto_assets.dataset.folds import PURGE, Fold
from crypto_assets.dataset.panel import from_tables
from crypto_assets.evaluation.score import null_skill_failures, score
from crypto_assets.evaluation.walkforward import run
from crypto_assets.features import families
from crypto_assets.lake import Frames
from crypto_assets.market.coins import DEFAULT_SYMBOLS
from crypto_assets.market.time import DAY, HOUR, Window
from crypto_assets.models.registry import NETS
from crypto_assets.sandbox.simulator import EPOCH, SimulatedMarket

SEED = 5
HOURS = 3_000
MODELS = ("base_rate", "reversal", "coin_prior", "logistic", "linear_lags", "lightgbm", *NETS)


@dataclass(frozen=True)
class World:
    """A simulated history, assembled."""

    market: SimulatedMarket
    tables: Assembled
    fold: Fold

    def scored(self, matrix: pl.DataFrame, names: Sequence[str], lake: Any) -> dict[str, Any]:
        """Fit and score `names` on the one fold, with the features of `matrix`."""
        panel = from_tables(matrix, self.tables.labels, DEFAULT_SYMBOLS)
        forecasts = run(panel, [self.fold], names, preset="debug", seed=SEED, extra_members={})
        best = self.market.oracle(self.fold.test.start, self.fold.test.end)
        study = forecasts.study(panel, [self.fold], "sandbox")
        return score(forecasts, self.tables.labels, study=study, lake=lake, oracle=best)


@cache
def world(market: str, hours: int, *chosen: str) -> World:
    """`hours` of the market with the families `chosen`; 70 % to fit, a quarter of it held out to stop on, 30 % to test."""
    simulated, window = SimulatedMarket(market, SEED), Window(EPOCH, EPOCH + hours * HOUR)
    raw = Frames(simulated.tables(EPOCH - 416 * DAY, window.end))
    known = families()
    tables = assemble(raw, window, [known[name] for name in chosen])
    test = Window(EPOCH + int(0.7 * hours) * HOUR, window.end)
    valid = Window(test.start - PURGE - int(0.175 * hours) * HOUR, test.start - PURGE)
    return World(simulated, tables, Fold("70-30", Window(EPOCH, valid.start - PURGE), valid, test))


def returns(matrix: pl.DataFrame, lag: int) -> pl.DataFrame:
    """The matrix with one more feature: the coin's return of the bar that closes `-lag` hours after `ts`."""
    moved = matrix.select("symbol", pl.col("ts").dt.offset_by(f"{lag}h"), canary="return_1h")
    return matrix.join(moved.rename({"canary": "mine.canary"}), on=["symbol", "ts"], how="left")


@pytest.mark.slow
def test_where_there_is_nothing_to_find_nothing_is_found(tmp_path):
    null = world("null", HOURS, *families())
    result = null.scored(null.tables.matrix, MODELS, tmp_path)
    assert null_skill_failures(result) == []
    for target, models in result["direction"].items():
        for model in MODELS:
            low, high = models[model]["log_loss_skill_ci99"]
            assert low <= 0 or low == high == 0, (target, model)
    for model in set(MODELS) - {"base_rate", "coin_prior"}:
        low, high = result["direction"]["1h"][model]["accuracy_ci95"]
        width = (high - low) / 2 / 1.96
        assert abs(result["direction"]["1h"][model]["accuracy"] - 0.5) < 3.5 * width, model
        assert result["direction"]["1h"][model]["kappa"] is None


@pytest.mark.slow
@pytest.mark.parametrize("model", ["logistic", "lightgbm"])
def test_a_feature_that_knows_the_next_return_is_seen(tmp_path, model):
    null = world("null", HOURS, "derivatives")
    result = null.scored(returns(null.tables.matrix, -1), ("base_rate", model), tmp_path)
    found = result["direction"]["1h"][model]
    assert found["accuracy"] > 0.95
    assert found["auc"] > 0.99
    assert f"1h/{model}" in null_skill_failures(result)


@pytest.mark.slow
@pytest.mark.parametrize("model", ["logistic", "lightgbm"])
def test_the_return_that_is_known_at_the_decision_is_no_leak(tmp_path, model):
    null = world("null", HOURS, "derivatives")
    result = null.scored(returns(null.tables.matrix, 0), ("base_rate", model), tmp_path)
    assert result["direction"]["1h"][model]["accuracy"] < 0.54
    assert null_skill_failures(result) == []


def test_the_canary_is_the_label_one_hour_on_and_the_past_at_lag_zero():
    """The detector itself: off by one hour either way, and it would test something else."""
    null = world("null", 1_000, "derivatives")
    keys = ["symbol", "ts"]
    ahead = returns(null.tables.matrix, -1).join(null.tables.labels.select(*keys, "ret_1h"), on=keys).drop_nulls("ret_1h")
    ahead = ahead.drop_nulls("mine.canary")
    assert ahead.height > 7_000
    assert (ahead["mine.canary"] - ahead["ret_1h"]).abs().max() < 1e-12
    now = returns(null.tables.matrix, 0)
    assert now["mine.canary"].equals(now["return_1h"], null_equal=True)


@pytest.mark.slow
def test_with_the_oracle_s_own_inputs_the_harness_finds_what_is_there(tmp_path):
    """Tests the harness, not the model: panel, folds, fit, forecast and kappa lose nothing on the way."""
    standard = world("standard", 12_000, "derivatives")
    truth = standard.market.truth(EPOCH, EPOCH + 12_000 * HOUR)
    btc = truth.filter(pl.col("symbol") == "BTC").select("ts", leader="last_e")
    inputs = truth.join(btc, on="ts").select(
        "symbol",
        "ts",
        pl.col("level").alias("mine.level"),
        (pl.col("level") * pl.col("funding")).alias("mine.level_funding"),
        pl.when(pl.col("symbol") != "BTC").then("leader").otherwise(0.0).alias("mine.leader"),
        (pl.col("last_e") * (2 * pl.col("p_regime") - 1)).alias("mine.regime"),
        pl.col("daily_mean").alias("mine.daily"),
    )
    meta = [c for c in standard.tables.matrix.columns if "." not in c]
    matrix = standard.tables.matrix.select(meta).join(inputs, on=["symbol", "ts"], how="left")
    result = standard.scored(matrix, ("base_rate", "logistic"), tmp_path)
    assert 0.95 <= result["direction"]["1h"]["logistic"]["kappa"] <= 1.0


@pytest.mark.slow
def test_what_is_planted_is_found_by_every_net_and_more_of_it_than_by_the_plain_regression(tmp_path):
    """Five months: hundreds of inputs of which a dozen matter, and a few independent months to tell them by."""
    standard = world("standard", 4_000, *families())
    result = standard.scored(standard.tables.matrix, ("base_rate", "logistic", *NETS), tmp_path)
    found = {model: row["kappa"] for model, row in result["direction"]["1h"].items()}
    for net in NETS:
        assert found[net] > max(0.35, found["logistic"]), found
