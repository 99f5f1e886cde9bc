"""No clean family is flagged, however it looks."""

from __future__ import annotations

import pytest

from crypto_assets.audit import audit
from crypto_assets.audit.auditable import of_family
from crypto_assets_tests.audit.clean import CLEAN
from crypto_assets_tests.audit.further_clean import FURTHER_CLEAN
from crypto_assets_tests.audit.more_clean import MORE_CLEAN

READ_TEXTS = [name for name, family in CLEAN.items() if "curated/text_scores" in family.inputs.values()]


def test_there_are_many():
    assert len(CLEAN) + len(MORE_CLEAN) + len(FURTHER_CLEAN) >= 70


@pytest.mark.parametrize("name", [name for name in CLEAN if name not in READ_TEXTS])
@pytest.mark.filterwarnings("ignore:Sortedness")
def test_a_clean_family_is_not_flagged(name, sample):
    found = audit(of_family(CLEAN[name]), sample, cuts=6, light=True, seconds=0.5)
    assert found.leaks == []
    assert found.errors == []
    assert found.cuts >= 4


@pytest.mark.slow
@pytest.mark.parametrize("name", [*CLEAN, *MORE_CLEAN, *FURTHER_CLEAN])
@pytest.mark.filterwarnings("ignore:Sortedness")
def test_a_clean_family_is_not_flagged_by_many_cuts(name, sample):
    found = audit(of_family({**CLEAN, **MORE_CLEAN, **FURTHER_CLEAN}[name]), sample, seconds=3)
    assert found.leaks == []
    assert found.errors == []
