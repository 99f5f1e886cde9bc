"""A small built lake of the simulated market: tables, a fold's checkpoints and forecasts, as a build leaves it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta

import polars as pl

from crypto_assets.dataset.assemble import derivations
from crypto_assets.dataset.folds import walk_forward
from crypto_assets.dataset.labels import DERIVATION as LABELS
from crypto_assets.dataset.panel import from_tables
from crypto_assets.evaluation.walkforward import fit_fold, predict_fold
from crypto_assets.features import FeatureFamily
from crypto_assets.lake import Lake, derive, world
from crypto_assets.market.coins import Universe
from crypto_assets.market.time import DAY, Window, midnight
from crypto_assets.models._base import forecast_table
from crypto_assets.orchestration.access import stamp
from crypto_assets.settings import Settings
from crypto_assets.sources import discover
from crypto_assets.sources.news import Mention
from crypto_assets_tests.sources.loopback import market

TODAY = date(2024, 3, 13)
"""First test day."""
SYMBOLS = ("BTC", "ETH", "SOL", "ADA")
TRAIN_DAYS, RAW_DAYS, CURATED_DAYS = 16, 110, 35


def build(lake: Lake, families: Sequence[FeatureFamily], models: Sequence[str] = ("lightgbm",), days: int = 3) -> Lake:
    """History up to `days` days from TODAY on; features from `TRAIN_DAYS` before."""
    start = midnight(TODAY)
    end, first = start + days * DAY, start - TRAIN_DAYS * DAY
    settings = Settings(lake=lake.root, symbols=SYMBOLS, start=first.date(), warmup_days=TRAIN_DAYS)
    world.claim(lake, stamp(settings))
    _raw(lake, Window(start - RAW_DAYS * DAY, end))
    for step in derivations(list(families)):
        if step.name != LABELS.name:
            begin = start - CURATED_DAYS * DAY if step.name.startswith("curated/") else first
            for chunk in Window(begin, end).chunks(CURATED_DAYS):
                lake.write(step.table, derive(step, lake, chunk), chunk)
    labels = derive(LABELS, lake, Window(first, end))
    lake.write(LABELS.table, labels, Window(first, end))
    (fold,) = walk_forward(first.date(), TODAY, (end - DAY).date(), "2w")
    panel = from_tables(lake.scan("features/matrix").collect(), labels, SYMBOLS)
    for name in models:
        checkpoint = fit_fold(panel, fold, name, preset="debug", seed=0)
        checkpoint.save(lake.root / "models" / name / f"fold={fold.name}")
        lake.write(forecast_table(name), predict_fold(checkpoint, panel, fold), fold.test)
    return lake


def _raw(lake: Lake, window: Window) -> None:
    """The core raw tables as ingested a day after the end."""
    tables = market().tables(window.start, window.end, SYMBOLS)
    mention = Mention.of(Universe.of(SYMBOLS))
    texts = tables["raw/news"]
    named = [mention(title, url) for title, url in texts.select("title", "url").iter_rows()]
    tables["raw/news"] = texts.filter(pl.Series(named, dtype=pl.Boolean))
    for source in discover().values():
        if source.is_core:
            rows = source.table.shape(tables[source.table.name]).filter(
                pl.col("available_at") <= window.end + timedelta(days=1)
            )
            lake.write(source.table, rows.filter(pl.col("ts") < window.end), window)
