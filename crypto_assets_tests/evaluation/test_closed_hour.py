"""The hour that has just closed: the row the daily run will write, from what was known then; forecasts by the checkpoints."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import date, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from crypto_assets.dataset.assemble import derivations
from crypto_assets.dataset.labels import DERIVATION as LABELS
from crypto_assets.dataset.panel import Panel, from_tables
from crypto_assets.evaluation import closed_hour, open_days
from crypto_assets.evaluation.open_days import OpenDays
from crypto_assets.evaluation.walkforward import predict_window
from crypto_assets.features import families
from crypto_assets.lake import TABLES, Frames, Lake, derive
from crypto_assets.lake.hot import Hot, SqliteHot
from crypto_assets.market.coins import Universe
from crypto_assets.market.errors import StaleDataError
from crypto_assets.market.time import DAY, HOUR, Window, midnight
from crypto_assets.models.checkpoint import Checkpoint
from crypto_assets.models.tracking import Silent
from crypto_assets.settings import Settings
from crypto_assets.sources import discover
from crypto_assets.sources.news import Mention
from crypto_assets.sources.stream import polling
from crypto_assets.sources.stream.tables import kind
from crypto_assets.sources.stream.writer import mark
from crypto_assets_tests.sources.loopback import Clock, client, market

TODAY = date(2024, 3, 13)
MIDNIGHT = midnight(TODAY)
SYMBOLS = ("BTC", "ETH", "SOL", "ADA")
CORE = {name: source for name, source in discover().items() if source.is_core}
FEW = [family for family in families().values() if family.name in ("derivatives", "macro")]
CHOSEN = [
    f for f in families().values() if f.name in ("technical", "cross_asset", "sentiment", "derivatives", "macro", "onchain")
]
VENUES = {"binance_candles": "binance_spot", "binance_perp_candles": "binance_futures"}
BARS = ["open", "high", "low", "close", "volume", "quote_volume_usd", "trades", "taker_buy_volume"]


def raw(start: datetime, end: datetime, known_by: datetime) -> dict[str, pl.DataFrame]:
    """The core raw tables as ingested at `known_by`."""
    tables = market().tables(start, end, SYMBOLS)
    mention = Mention.of(Universe.of(SYMBOLS))
    texts = tables["raw/news"]
    named = [mention(title, url) for title, url in texts.select("title", "url").iter_rows()]
    tables["raw/news"] = texts.filter(pl.Series(named, dtype=pl.Boolean))
    return {s.table.name: s.table.shape(tables[s.table.name]).filter(pl.col("available_at") <= known_by) for s in CORE.values()}


@pytest.fixture(scope="module")
def batch() -> pl.DataFrame:
    """What the daily run writes for TODAY and its neighbours, from all raw rows."""
    frames = Frames(raw(MIDNIGHT - 110 * DAY, MIDNIGHT + 2 * DAY, MIDNIGHT + 4 * DAY))
    for step in _steps():
        window = Window(MIDNIGHT - 35 * DAY, MIDNIGHT + 2 * DAY) if step.name.startswith("curated/") else None
        if window is None:
            parts = [derive(step, frames, Window(day, day + DAY)) for day in (MIDNIGHT, MIDNIGHT + DAY)]
            frames.frames[step.name] = pl.concat(parts)
        else:
            frames.frames[step.name] = derive(step, frames, window)
    return frames.frames["features/matrix"]


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Lake:
    """A lake that ends yesterday, as the daily run of this morning left it."""
    lake = Lake(tmp_path_factory.mktemp("closed"))
    tables = raw(MIDNIGHT - 110 * DAY, MIDNIGHT, MIDNIGHT + timedelta(hours=3, minutes=30))
    for name, rows in tables.items():
        lake.write(TABLES[name], rows, Window(MIDNIGHT - 110 * DAY, MIDNIGHT))
    for step in _steps():
        if step.name.startswith("curated/"):
            window = Window(MIDNIGHT - 35 * DAY, MIDNIGHT)
            lake.write(step.table, derive(step, lake, window), window)
    return lake


@pytest.fixture
def hour(request, built, tmp_path) -> Iterator[tuple[Lake, SqliteHot, datetime, object]]:
    """The lake, the hot store and the `live` tables as a stream that was polled a minute ago has them at an hour's close."""
    at = MIDNIGHT + int(request.param[:2]) * HOUR
    lake = Lake(tmp_path)
    for folder in ("raw", "curated"):
        (tmp_path / folder).symlink_to(built.root / folder)
    hot = SqliteHot(tmp_path / "hot.db")
    with client(Clock(at + timedelta(minutes=1)), symbols=",".join(SYMBOLS), lake=tmp_path) as http:
        for source in CORE.values():
            if source.name in VENUES:
                rows = source.fetch(Window(MIDNIGHT, at), http)
                name = kind(VENUES[source.name], "candles_1h")
                hot.put([Hot(name, r["symbol"], r["ts"], {c: r[c] for c in BARS}) for r in rows.to_dicts()])
            else:
                assert "new rows" in polling.poll(source, http, lake, is_first=True)
        mark(hot, list(VENUES.values()), at)
        yield lake, hot, at, http.settings
    hot.close()


def _steps():
    return [s for s in derivations(CHOSEN) if s.name != "labels/targets"]


@pytest.mark.parametrize("hour", ["02:00", "14:00", "24:00"], indirect=True)
def test_the_row_is_that_of_the_daily_run_to_the_last_bit(hour, batch):
    lake, hot, at, settings = hour
    found = closed_hour.features_now(lake, hot, settings, families=CHOSEN).sort("symbol")
    expected = batch.filter(pl.col("ts") == at).sort("symbol")
    assert found.height == len(SYMBOLS)
    assert sum(found[c].null_count() == 0 for c in found.columns) > 200, "the columns of the tables that are streamed"
    assert_frame_equal(found, expected, check_exact=True)


@pytest.mark.parametrize("hour", ["14:00"], indirect=True)
def test_the_newest_checkpoints_forecast_and_the_day_keeps_every_hour(hour, batch, monkeypatch):
    lake, hot, at, settings = hour
    monkeypatch.setattr(closed_hour, "all_families", lambda: {f.name: f for f in FEW})
    checkpoint = _checkpoint(at)
    checkpoint.save(lake.root / "models" / "logistic" / "fold=2024-03-01")
    _checkpoint(at + DAY).save(lake.root / "models" / "logistic" / "fold=2024-03-15")  # not trained yet at that hour
    closed = closed_hour.close_hour(lake, hot, settings)
    panel = from_tables(batch.filter(pl.col("ts") <= at), LABELS.table.empty(), SYMBOLS, checkpoint.columns)
    expected = predict_window(checkpoint, panel, Window(at, at + HOUR))
    found = closed.forecasts.filter(model="logistic").drop("model")
    assert_frame_equal(found, expected.select(found.columns), rel_tol=1e-6)
    assert set(closed.forecasts["model"]) >= {"logistic", "fused"}
    (row,) = hot.newest("forecasts", "BTC")
    assert row.value["logistic"]["1h"]["p_up"] == found.filter(symbol="BTC", horizon="1h")["p_up"][0]
    assert hot.newest("features", "BTC")[0].value["return_1h"] == closed.features.filter(symbol="BTC")["return_1h"][0]
    again = closed_hour.close_hour(lake, hot, settings)
    for _ in range(2):
        assert closed_hour.mirror(lake, again.forecasts).equals(closed.forecasts)
    later = closed.forecasts.with_columns(pl.col("ts", "available_at") + timedelta(hours=1))
    assert closed_hour.mirror(lake, later).height == 2 * closed.forecasts.height


@pytest.mark.parametrize("hour", ["14:00"], indirect=True)
def test_the_job_latest_makes_and_mirrors_it(hour, monkeypatch):
    from crypto_assets.definitions import build_defs

    lake, _, at, settings = hour
    monkeypatch.setattr(closed_hour, "all_families", lambda: {f.name: f for f in FEW})
    _checkpoint(at).save(lake.root / "models" / "logistic" / "fold=2024-03-01")
    defs = build_defs(Settings(lake=lake.root, symbols=settings.symbols, start=TODAY - 60 * DAY))
    done = defs.resolve_job_def("latest").execute_in_process()
    (event,) = done.asset_materializations_for_node("forecasts__latest")
    assert event.metadata["hour"].value == at.isoformat()
    kept = lake.scan("forecasts/latest").collect()
    assert kept.height == event.metadata["dagster/row_count"].value > 0
    assert kept["ts"].unique().to_list() == [at]


def _checkpoint(trained_until: datetime) -> Checkpoint:
    """Logistic regression fitted on a small planted panel with the columns of this test."""
    from crypto_assets.models import registry
    from crypto_assets_tests.evaluation import market as planted

    panel, _ = planted.make(edge=0.3)
    fold = planted.folds()[0]
    columns = tuple(sorted(f"{f.name}.{c}" for f in FEW for c in f.columns))
    noise = np.random.default_rng(0).normal(size=(*panel.listed_TN.shape, len(columns))).astype(np.float32)
    wide = replace(panel, x_TNF=panel.x_TNF + noise, columns=columns, symbols=SYMBOLS)
    fitted = registry.load("logistic").fit(wide, fold, preset="debug", seed=0, recorder=Silent())
    return replace(fitted, trained_until=trained_until)


def test_an_empty_store_and_an_old_lake_are_refused(tmp_path, built):
    with closing(SqliteHot(tmp_path / "hot.db")) as hot:
        with pytest.raises(StaleDataError, match="crypto-assets stream"):
            closed_hour.features_now(built, hot, Settings(lake=built.root), families=CHOSEN)
        with pytest.raises(StaleDataError, match="crypto-assets build"):
            closed_hour.matrix_since(built, hot, MIDNIGHT + 9 * DAY, CHOSEN)
        with pytest.raises(StaleDataError, match="no bar closed"):
            closed_hour.features_now(built, hot, Settings(lake=built.root), MIDNIGHT + 5 * HOUR, families=CHOSEN)


@pytest.mark.parametrize("hour", ["14:00"], indirect=True)
def test_kept_warm_the_rows_and_the_panel_are_the_same_hour_after_hour(hour):
    """OpenDays: an earlier hour first, then this one, then again after a bar was put right and a day was built."""
    lake, hot, at, _ = hour
    warm = OpenDays(lake, hot, SYMBOLS, families=CHOSEN)

    def fresh(when: datetime) -> pl.DataFrame:
        return closed_hour.matrix_since(lake, hot, when, CHOSEN)

    warm.rows(at - 3 * HOUR)
    before = warm.rows(at)
    assert_frame_equal(before, fresh(at), check_exact=True)
    _same_panel(warm.panel(at), before)
    (bar,) = hot.range("binance_futures.candles_1h", "SOL", at - 2 * HOUR, at - HOUR)
    hot.put([bar._replace(value={**bar.value, "close": bar.value["high"]})])
    _own(lake, "raw")
    table = TABLES["raw/fear_greed"]
    today = pl.DataFrame({"ts": [MIDNIGHT], "available_at": [MIDNIGHT + HOUR], "source": ["test"], "value_pct": [1.0]})
    lake.write(table, table.shape(today), Window(MIDNIGHT, MIDNIGHT + DAY))
    after = warm.rows(at)
    assert_frame_equal(after, fresh(at), check_exact=True)
    assert not after.equals(before)
    warm.close()


@pytest.mark.parametrize("hour", ["14:00"], indirect=True)
def test_what_is_made_ahead_of_a_close_is_what_the_close_would_have_made(hour):
    """Once as expected, once with a coin that has no bar, once with a table that changed in between."""
    lake, full, at, _ = hour
    with closing(SqliteHot(lake.root / "live.db")) as hot:
        warm = OpenDays(lake, hot, SYMBOLS, families=CHOSEN)

        def close(when: datetime, symbols: tuple[str, ...] = SYMBOLS) -> pl.DataFrame:
            for kept in (kind(venue, "candles_1h") for venue in VENUES.values()):
                hot.put([row for s in symbols for row in full.range(kept, s, MIDNIGHT, when)])
            return warm.rows(when)

        def used(rows: pl.DataFrame, when: datetime) -> int:
            assert_frame_equal(rows, closed_hour.matrix_since(lake, hot, when, CHOSEN), check_exact=True)
            before, warm._early.used = warm._early.used, 0
            return before

        assert used(close(at - 3 * HOUR), at - 3 * HOUR) == 0
        warm.ahead(at - 2 * HOUR)
        assert used(close(at - 2 * HOUR), at - 2 * HOUR) == sum(bool(f.grid) for f in CHOSEN) == 3
        warm.ahead(at - HOUR)
        assert used(close(at - HOUR, SYMBOLS[1:]), at - HOUR) == 0
        assert used(close(at - HOUR), at - HOUR) == 3, "the bar came late, and all is as it was expected"
        warm.ahead(at)
        table = TABLES["raw/fear_greed"]
        row = pl.DataFrame({"ts": [MIDNIGHT], "available_at": [MIDNIGHT + HOUR], "source": ["test"], "value_pct": [1.0]})
        _own(lake, "raw")
        lake.write(table, table.shape(row), Window(MIDNIGHT, MIDNIGHT + DAY))
        assert used(close(at), at) == 2, "all but sentiment"
        warm.close()


def _own(lake: Lake, part: str) -> None:
    """A copy of what was a link."""
    folder = lake.root / part
    kept = folder.resolve()
    folder.unlink()
    shutil.copytree(kept, folder)


@pytest.mark.parametrize("hour", ["24:00"], indirect=True)
def test_kept_warm_an_open_day_that_is_over_is_derived_again_only_when_it_changes(hour, monkeypatch):
    lake, hot, at, _ = hour
    days: list[datetime] = []
    monkeypatch.setattr(open_days, "derive", lambda step, reader, day: days.append(day.start) or derive(step, reader, day))
    warm = OpenDays(lake, hot, SYMBOLS, families=FEW, at_once=1)
    first = warm.rows(at)
    assert set(days) == {MIDNIGHT, MIDNIGHT + DAY}
    days.clear()
    assert_frame_equal(warm.rows(at), first)
    assert set(days) == {MIDNIGHT + DAY}
    (bar,) = hot.range("binance_futures.candles_1h", "SOL", at - 20 * HOUR, at - 19 * HOUR)
    hot.put([bar._replace(value={**bar.value, "close": bar.value["high"]})])
    days.clear()
    assert_frame_equal(warm.rows(at), closed_hour.matrix_since(lake, hot, at, FEW), check_exact=True)
    assert MIDNIGHT in days


def test_panels_follow_each_other_over_a_gap():
    from crypto_assets_tests.evaluation import market as planted

    whole = planted.make()[0]
    begin, end = (datetime.fromisoformat(f"2024-02-{day}T00:00:00+00:00") for day in ("01", "03"))
    past, new = whole.cut(Window(begin - DAY, begin)), whole.cut(Window(begin + 3 * HOUR, end))
    both = open_days.followed(past, new)
    inside = whole.slice(Window(begin - DAY, end))
    np.testing.assert_array_equal(both.ts, whole.ts[inside])
    assert both.listed_TN.sum(axis=0).tolist() == [24 + 45] * 4
    np.testing.assert_array_equal(both.r_TN[-45:], new.r_TN)
    np.testing.assert_array_equal(
        open_days.followed(whole.cut(Window(begin, end)), new).x_TNF, whole.cut(Window(begin, end)).x_TNF
    )


def _same_panel(found: Panel, rows: pl.DataFrame) -> None:
    """The panel ends with what these rows say; the lake of these tests has no matrix before."""
    expected = from_tables(
        rows.filter(pl.col("ts") <= pl.lit(found.ts[-1]).dt.replace_time_zone("UTC")), LABELS.table.empty(), SYMBOLS
    )
    np.testing.assert_array_equal(found.ts, expected.ts)
    np.testing.assert_array_equal(found.x_TNF, expected.x_TNF)
    np.testing.assert_array_equal(found.r_TN, expected.r_TN)
