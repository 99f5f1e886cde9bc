"""A lake as it was: what is revealed when, what cannot be lived through, and that the fusion of an hour is then the batch's."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from crypto_assets.dataset.panel import from_tables
from crypto_assets.evaluation import parity
from crypto_assets.evaluation.closed_hour import forecasts_at, newest_checkpoint
from crypto_assets.evaluation.fusing import fit_in, fuse_hour, fuse_window, fusion_at
from crypto_assets.evaluation.replayed import PastLake, begun, check_livable
from crypto_assets.evaluation.walkforward import forecast_window, predict_window
from crypto_assets.features import families
from crypto_assets.fusion.tables import FusedForecasts
from crypto_assets.lake import Lake
from crypto_assets.market.errors import CheckpointError, LakeError
from crypto_assets.market.time import DAY, HOUR, Window, midnight
from crypto_assets.models._base import forecast_table
from crypto_assets_tests.evaluation import history
from crypto_assets_tests.evaluation.history import SYMBOLS, TODAY

FEW = [family for family in families().values() if family.name == "technical"]
MEMBERS = ("logistic", "lightgbm")
START = midnight(TODAY)
FOLD = Window(START - 5 * DAY, START + 2 * DAY)
"""Of the fusion; it begins before the day that is lived through, so that outcomes of its first days have closed by then."""


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Lake:
    """With forecasts of two members from ten days before TODAY on, fused from five days before."""
    lake = history.build(Lake(tmp_path_factory.mktemp("whole")), FEW, MEMBERS, days=2)
    matrix, labels = (lake.scan(name).collect() for name in ("features/matrix", "labels/targets"))
    panel = from_tables(matrix, labels, SYMBOLS)
    fits = {name: newest_checkpoint(lake, name, START) for name in MEMBERS}
    forecasts = {}
    for name, fit in fits.items():
        assert fit is not None
        before = Window(START - 10 * DAY, START)
        lake.write(forecast_table(name), predict_window(fit, panel, before), before)
        forecasts[name] = forecast_window(fit, panel, FOLD)
    versions = {name: fit.version for name, fit in fits.items() if fit}
    fitted = fit_in(lake, SYMBOLS, FOLD.start, versions, first=START - 10 * DAY, seed=0)
    fitted.save(lake.root / "models" / "fusion" / f"fold={FOLD.start.date()}")
    until = max(fit.trained_until for fit in fits.values() if fit)
    lake.write(FusedForecasts, fuse_window(fitted, panel, forecasts, versions, until).fused, FOLD)
    return lake


def test_days_are_revealed_when_they_are_over_and_outcomes_a_day_later(whole, tmp_path):
    past = PastLake(whole, tmp_path, TODAY)
    newest = {name: past.lake.days(name)[-1] for name in ("curated/candles", "labels/targets", "forecasts/logistic")}
    assert newest == {
        "curated/candles": TODAY - DAY,
        "labels/targets": TODAY - 2 * DAY,
        "forecasts/logistic": TODAY - DAY,
    }
    known = past.lake.scan("labels/targets").select("ret_24h", "available_at").collect()
    assert known["available_at"].max() <= START
    past.reveal(START + 23 * HOUR)
    assert past.lake.days("features/matrix")[-1] == TODAY - DAY
    past.reveal(START + DAY)
    assert past.lake.days("features/matrix")[-1] == TODAY
    assert past.lake.days("labels/targets")[-1] == TODAY - DAY


def test_what_a_replay_writes_is_its_own(whole, tmp_path):
    latest = whole.root / "forecasts" / "latest" / f"date={TODAY - DAY}"
    latest.mkdir(parents=True)
    try:
        past = PastLake(whole, tmp_path, TODAY)
        assert past.lake.days("forecasts/latest") == []
        own = tmp_path / "forecasts" / "latest" / f"date={TODAY}"
        own.mkdir(parents=True)
        PastLake(whole, tmp_path, TODAY + DAY)
        assert own.is_dir()
    finally:
        latest.rmdir()
        latest.parent.rmdir()


def test_the_fusion_of_an_hour_lived_through_is_that_of_the_batch(whole, tmp_path):
    """All of it: the intervals too, which move with the outcomes of the days before."""
    past = PastLake(whole, tmp_path, TODAY)
    matrix = whole.scan("features/matrix").collect()
    empty = whole.scan("labels/targets").head(0).collect()
    short, full = [], []
    for at in (START + 3 * HOUR, START + DAY + 7 * HOUR):
        past.reveal(at)
        panel = from_tables(matrix.filter(pl.col("ts") <= at), empty, SYMBOLS)
        short.append(forecasts_at(past.lake, panel, at, "fused"))
        fits = {name: fit for name in MEMBERS if (fit := newest_checkpoint(past.lake, name, at))}
        versions = {name: fit.version for name, fit in fits.items()}
        now = {name: forecast_window(fit, panel, Window(at, at + HOUR)) for name, fit in fits.items()}
        fusion = fusion_at(past.lake, SYMBOLS, at, versions)
        full.append(fuse_hour(fusion, past.lake, panel, now, versions, max(f.trained_until for f in fits.values()), at))
    for made in (short, full):
        lived = pl.concat(made)
        batch = whole.scan("fusion/fused").filter(pl.col("ts").is_in(lived["ts"].unique().implode())).collect()
        columns = [c for c in lived.columns if c in batch.columns and c not in ("ts", "symbol", "horizon")]
        found = parity.differences("fused", batch, lived, ("ts", "symbol", "horizon"), columns, parity.TOLERANCE)
        assert [str(d) for d in found] == []
        assert lived.height == 2 * 3 * len(SYMBOLS)
    assert "low_90" in columns


def test_only_what_a_model_needs_is_computed(whole, monkeypatch):
    from crypto_assets.evaluation import closed_hour

    seen: list[str] = []
    plain = closed_hour.forecast_window
    monkeypatch.setattr(closed_hour, "forecast_window", lambda fit, *rest: seen.append(fit.model) or plain(fit, *rest))
    monkeypatch.setattr(closed_hour, "fusion_at", lambda *_: pytest.fail("nobody asked for the fusion"))
    panel = from_tables(whole.scan("features/matrix").collect(), whole.scan("labels/targets").head(0).collect(), SYMBOLS)
    one = forecasts_at(whole, panel, START + 3 * HOUR, "logistic")
    assert (seen, set(one["model"])) == (["logistic"], {"logistic"})


def test_days_and_models_that_are_not_there_are_refused_with_what_there_is(whole):
    check_livable(whole, "logistic", TODAY, TODAY + DAY)
    last = TODAY + 2 * DAY
    with pytest.raises(LakeError, match=rf"no candles of {last}, it has .* to {TODAY + DAY}"):
        check_livable(whole, "logistic", TODAY, last)
    with pytest.raises(LakeError, match=f"no checkpoint before {TODAY}"):
        check_livable(whole, "logistic", TODAY - DAY, TODAY)
    with pytest.raises(CheckpointError, match="no checkpoint of har:"):
        check_livable(whole, "har", TODAY, TODAY)
    with pytest.raises(CheckpointError, match="no checkpoint of linear_lags:"):
        begun(whole, "pool")
    assert begun(whole, "fused") == TODAY


def test_a_mean_near_nought_is_compared_by_its_standard_deviation():
    row = {"ts": START, "symbol": "BTC", "horizon": "1h", "mean": 6.2e-7, "log_var": 2 * np.log(0.01)}
    key, columns = ("ts", "symbol", "horizon"), ("mean", "log_var")

    def off(by: float, tolerance: float) -> int:
        a, b = pl.DataFrame([row]), pl.DataFrame([{**row, "mean": row["mean"] + by}])
        return len(parity.differences("forecasts", a, b, key, columns, tolerance))

    assert (off(5e-10, 1e-5), off(2e-9, 1e-5), off(5e-10, 0.0)) == (0, 1, 1)
