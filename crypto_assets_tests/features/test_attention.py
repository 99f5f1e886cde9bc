"""What attention adds to its daily series: the market's means, and sentiment weighted by how much is said."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest

from crypto_assets.features.attention import FAMILY, MARKET
from crypto_assets.lake import Frames, derive
from crypto_assets.market.time import Window
from crypto_assets_tests.features.market import random_market

WINDOW = Window.of_days(date(2024, 3, 1), date(2024, 3, 5))
SYMBOLS = ("BTC", "ETH", "SOL", "ADA")


@pytest.fixture(scope="module")
def tables():
    return random_market(SYMBOLS, date(2024, 2, 1), 35, seed=6, before=120)


@pytest.fixture(scope="module")
def rows(tables):
    return derive(FAMILY.derivation(), Frames(tables), WINDOW)


def test_the_market_is_the_mean_of_three_coins_or_more(rows):
    for name in MARKET:
        of_hour = rows.group_by("ts").agg(pl.col(name).drop_nulls(), pl.col(f"market_{name}").unique())
        for values, market in of_hour.select(name, f"market_{name}").iter_rows():
            assert market == ([None] if len(values) < 3 else [pytest.approx(np.mean(values), rel=1e-9, abs=1e-12)]), name


def test_social_sentiment_is_the_mean_score_of_a_day_times_the_surprise_of_talk(tables, rows):
    texts = tables["curated/text_scores"].sort("available_at").unique(["id", "symbol", "ts"], keep="first")
    known = 0
    for bar in rows.filter(pl.col("ts").dt.hour() % 7 == 0).iter_rows(named=True):
        mine = texts.filter(
            pl.col("symbol") == bar["symbol"],
            pl.col("available_at") <= bar["ts"],
            pl.col("available_at") > bar["ts"] - timedelta(hours=24),
        )
        score, talk = mine["score"].mean(), bar["talk_z_90d"]
        wanted = None if score is None or talk is None else score * talk
        assert bar["social_sentiment"] == (None if wanted is None else pytest.approx(wanted, rel=1e-9, abs=1e-12))
        known += wanted is not None
    assert known > 20


def test_without_texts_and_without_counts_there_is_no_social_sentiment(tables, rows):
    for table, others in (("curated/text_scores", ["social_sentiment"]), ("raw/arctic_shift_counts", [])):
        bare = derive(FAMILY.derivation(), Frames({**tables, table: tables[table].clear()}), WINDOW)
        assert bare["social_sentiment"].null_count() == bare.height
        if others:
            assert bare.drop(others).equals(rows.drop(others))
