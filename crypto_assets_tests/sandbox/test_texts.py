from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import polars as pl
import pytest
from scipy.stats import spearmanr

from crypto_assets.curation._mentions import coins_in
from crypto_assets.curation.scorers.vader import score
from crypto_assets.market.time import DAY
from crypto_assets.sandbox import texts
from crypto_assets.sandbox.planting import LEVELS, SYMBOLS
from crypto_assets.sandbox.simulator import EPOCH, SimulatedMarket


def wordings(level: int) -> list[float]:
    return [score(w.format(name) + end) for w in texts.TEMPLATES[level] for name in texts.names("SOL") for end in texts.ENDINGS]


def test_score_grows_by_the_same_step_with_each_level_and_wordings_agree():
    scores = [wordings(level) for level in range(len(LEVELS))]
    np.testing.assert_allclose([np.mean(s) for s in scores], 0.4 * LEVELS, atol=0.03)
    assert max(np.std(s) for s in scores) < 0.03


def test_score_ranks_as_the_level():
    market = SimulatedMarket("standard", 7)
    news = market.headlines(EPOCH, EPOCH + 20 * DAY).with_columns(
        symbol=pl.col("title").map_elements(lambda t: coins_in(t)[0], return_dtype=pl.String),
        score=pl.col("title").map_elements(score, return_dtype=pl.Float64),
    )
    spoken = news.group_by("symbol", ts=pl.col("ts") + texts.STAMP_BEFORE).agg(pl.col("score").mean())
    both = market.truth(EPOCH, EPOCH + 20 * DAY).join(spoken, on=["symbol", "ts"])
    assert len(both) > 8 * 24 * 19
    assert spearmanr(both["score"], both["level"]).statistic > 0.98


@pytest.mark.parametrize("symbol", SYMBOLS)
def test_every_title_names_its_coin_and_no_other(symbol):
    for former in (False, True):
        for wording in (w for level in texts.TEMPLATES for w in level):
            for name in texts.names(symbol, former):
                assert coins_in(wording.format(name)) == [symbol]


def test_market_titles_name_no_coin_and_are_neutral():
    for title in texts.MARKET:
        assert coins_in(title) == ["ALL"]
        assert score(title) == 0.0


def test_a_coin_is_called_by_the_ticker_of_its_day(standard):
    rename = datetime(2024, 9, 10, tzinfo=UTC)
    before = standard.headlines(rename - 2 * DAY, rename)["title"]
    after = standard.headlines(rename, rename + 2 * DAY)["title"]
    assert before.str.contains("MATIC").any()
    assert not before.str.contains(r"\bPOL\b").any()
    assert after.str.contains(r"\bPOL\b").any()
    assert not after.str.contains("MATIC").any()


def test_files_are_hourly_and_ids_unique(standard):
    news = standard.headlines(EPOCH, EPOCH + 10 * DAY)
    assert news["id"].n_unique() == len(news)
    assert (news["ts"].dt.minute() == 30).all()
    assert news["ts"].n_unique() == 240
    assert news["url"].str.starts_with("https://").all()
    per_coin_hour = len(news.filter(~pl.col("title").is_in(texts.MARKET))) / (240 * 9)
    assert per_coin_hour == pytest.approx(1.5, abs=0.05)
