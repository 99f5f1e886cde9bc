"""Every planted leak is caught, its column, its size and the input that carried it named."""

from __future__ import annotations

import pytest

from crypto_assets.audit import audit
from crypto_assets.audit.auditable import of_family
from crypto_assets_tests.audit.further_leaks import FURTHER_LEAKS
from crypto_assets_tests.audit.leaks import LEAKS
from crypto_assets_tests.audit.more_leaks import MORE_LEAKS

CARRIED = {
    "daily_on_its_own_day": "raw/cboe_vix",
    "asof_on_the_day_described": "raw/fear_greed",
    "lagged_too_little": "raw/defillama_tvl",
    "revised_instead_of_first": "raw/defillama_tvl",
    "nearest_publication": "raw/coinmetrics_onchain",
    "next_settlement": "raw/binance_funding",
    "texts_of_the_hour_that_begins": "curated/text_scores",
    "count_of_the_day": "curated/text_scores",
    "backfilled_between_publications": "curated/candles + raw/fear_greed",
    "interpolated_yield": "raw/treasury_10y",
    "not_the_same_twice": None,
}
READ_TEXTS = [name for name, family in LEAKS.items() if "curated/text_scores" in family.inputs.values()]
"""Slow because the sample's texts are scored first."""


def test_there_are_many():
    assert len(LEAKS) + len(MORE_LEAKS) + len(FURTHER_LEAKS) >= 130


def caught(family, sample):
    found = audit(of_family(family), sample, seconds=10)
    assert [leak.column for leak in found.leaks] == [f"{family.name}.x"]
    leak = found.leaks[0]
    assert leak.magnitude > 0
    assert leak.rows > 0
    assert leak.cut is None or leak.first_ts <= leak.cut
    assert leak.input == CARRIED.get(family.name, "curated/candles")


@pytest.mark.parametrize("name", [name for name in LEAKS if name not in READ_TEXTS])
@pytest.mark.filterwarnings("ignore:Sortedness")
def test_a_planted_leak_is_caught(name, sample):
    caught(LEAKS[name], sample)


@pytest.mark.slow
@pytest.mark.parametrize("name", READ_TEXTS)
def test_a_planted_leak_of_texts_is_caught(name, sample):
    caught(LEAKS[name], sample)


@pytest.mark.slow
@pytest.mark.parametrize("name", [*MORE_LEAKS, *FURTHER_LEAKS])
@pytest.mark.filterwarnings("ignore:Sortedness")
def test_another_planted_leak_is_caught(name, sample):
    found = audit(of_family({**MORE_LEAKS, **FURTHER_LEAKS}[name]), sample, seconds=20)
    assert [leak.column for leak in found.leaks] == [f"{name}.x"]
