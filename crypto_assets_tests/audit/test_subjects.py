"""What is no family: labels, matrix, fits, folds and lags are clean, and a planted slip in each is found."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest

from crypto_assets.audit import audit
from crypto_assets.audit.auditable import of_table
from crypto_assets.audit.findings import Outcome
from crypto_assets.audit.subjects import Context, calendar, checked, fits, graphs, registered, tables
from crypto_assets.dataset import labels
from crypto_assets.dataset.folds import walk_forward
from crypto_assets.features import built_in
from crypto_assets.lake import Derivation
from crypto_assets.market.time import DAY, Window
from crypto_assets.sources import discover


@pytest.fixture(scope="module")
def context(sample):
    return Context(sample, [built_in()["derivatives"], built_in()["technical"]])


@pytest.fixture(scope="module")
def subjects(context):
    return {what.name: what for what in registered(context)}


def test_everything_is_registered(subjects):
    assert {"curated/candles", "curated/text_scores", "labels/targets", "features/matrix"} <= set(subjects)
    assert {"models/nets inputs", "models/logistic", "models/lightgbm", "forecasts/lightgbm", "models/har_x"} <= set(subjects)


@pytest.mark.parametrize(
    "name",
    [
        "curated/candles",
        "labels/targets",
        "features/matrix",
        "models/nets inputs",
        "models/logistic",
        "forecasts/linear_lags",
        "models/graph edges",
        "models/fusion",
        "fusion/fused",
    ],
)
def test_it_is_clean(name, subjects, sample):
    found = audit(subjects[name], sample, cuts=4, light=True)
    assert found.leaks == []
    assert found.errors == []
    assert found.columns >= 1


def test_every_other_check_is_clean(context):
    for found in checked(context):
        assert found.leaks == [], found.name
        assert found.columns > 0


def test_a_label_that_claims_to_be_known_sooner_is_found(sample):
    def early(candles):
        return labels.compute(candles).with_columns(available_at=pl.col("ts") + pl.duration(hours=4))

    slip = replace(labels.DERIVATION, compute=early)
    found = {leak.column for leak in audit(of_table(slip), sample, cuts=4).leaks}
    assert {"targets.ret_24h", "targets.rv_24h"} <= found
    assert "targets.ret_4h" not in found


def test_a_label_that_looks_back_is_found(context, monkeypatch):
    def back(candles):
        before = pl.col("close").shift(1).over("symbol")
        return labels.compute(candles.sort("symbol", "ts").with_columns(close=(pl.col("close") * before).sqrt()))

    monkeypatch.setattr(labels, "DERIVATION", replace(labels.DERIVATION, compute=back))
    (found,) = tables.outcomes(Context(context.sample, context.families))
    assert {"targets.ret_1h", "targets.rv_24h"} <= {leak.column for leak in found.leaks}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["models/fusion", "fusion/fused"])
def test_a_fusion_that_uses_labels_before_they_have_closed_is_found(name, subjects, sample, monkeypatch):
    from crypto_assets.fusion import conformal, context, fitting, stacking

    for module in (conformal, context, fitting, stacking.contexts):
        monkeypatch.setattr(module, "closing_days", lambda hours: 0)
    assert audit(subjects[name], sample, cuts=4, light=True).leaks


def test_a_scaler_fitted_on_all_is_found(context, sample):
    panels = fits._Panels(fits._columns(context.matrix), tuple(sorted(context.matrix["symbol"].unique())))

    def on_all(panel, fold):
        from crypto_assets.models._base import Scaler

        fitted = Scaler.fit(panel.x_TNF, panel.listed_TN)
        return {"centre": fitted.centre_F, "scale": fitted.scale_F}

    found = audit(fits._fit("models/slip", on_all, panels, context.fold), sample)
    assert {leak.column for leak in found.leaks} == {"models/slip.centre", "models/slip.scale"}
    assert {leak.input for leak in found.leaks} == {"features/matrix"}


def test_a_fit_on_labels_that_are_not_known_yet_is_found(context, sample):
    panels = fits._Panels(fits._columns(context.matrix), tuple(sorted(context.matrix["symbol"].unique())))

    def unpurged(panel, fold):
        seen = panel.cut(Window(fold.train.start, fold.test.start))
        return {"mean": np.array([np.nanmean(seen.labels["ret_24h"])])}

    found = audit(fits._fit("models/slip", unpurged, panels, context.fold), sample)
    assert [(leak.column, leak.input) for leak in found.leaks] == [("models/slip.mean", "labels/targets")]


def test_a_graph_of_all_hours_is_found(context, sample):
    def of_all(u_TN, known_TN, ts):
        edges = graphs._trained(u_TN, known_TN, ts)
        return np.broadcast_to(edges[-1], edges.shape)

    symbols = tuple(sorted(context.matrix["symbol"].unique()))
    found = audit(graphs.of_edges(symbols, of_all), sample, cuts=4)
    assert "models/graph edges.correlation" in {leak.column for leak in found.leaks}


def test_a_fold_without_its_purge_is_found():
    folds = walk_forward(date(2024, 1, 1), date(2024, 3, 1), date(2024, 4, 30))
    assert calendar.overlaps(folds, DAY).leaks == []
    slipped = [replace(folds[0], valid=Window(folds[0].valid.start, folds[0].test.start)), *folds[1:]]
    (leak,) = calendar.overlaps(slipped, DAY).leaks
    assert (leak.column, leak.magnitude) == (f"fold {folds[0].name}.valid", 23.0)
    overlapping = [folds[0], replace(folds[1], test=Window(folds[1].test.start - 2 * DAY, folds[1].test.end))]
    assert "test" in calendar.overlaps(overlapping, timedelta(0)).leaks[-1].column


def test_rows_published_before_their_lag_are_found(sample):
    source = discover()["cboe_vix"]
    rows = sample.plain("raw/cboe_vix")
    found = Outcome("lags")
    calendar.early(source, rows, found)
    assert found.leaks == []
    calendar.early(source, rows.with_columns(pl.col("available_at") - pl.duration(hours=7)), found)
    (leak,) = found.leaks
    assert (leak.column, leak.magnitude, leak.rows) == ("raw/cboe_vix.available_at", 7.0, rows.height)


def test_a_curated_table_that_claims_to_be_known_too_soon_is_found(sample):
    from crypto_assets.curation import discover as curated

    derivation = curated()["candles"]

    def at_the_open(**tables):
        return derivation.compute(**tables).with_columns(available_at=pl.col("ts"))

    found = audit(of_table(Derivation(derivation.table, derivation.inputs, at_the_open)), sample, cuts=4)
    assert {"candles.close", "candles.volume"} <= {leak.column for leak in found.leaks}
