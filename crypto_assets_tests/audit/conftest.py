"""The simulated market's sample, read once."""

from __future__ import annotations

import pytest

from crypto_assets.audit import Sample
from crypto_assets.cli.audit import simulated


@pytest.fixture(scope="session")
def sample() -> Sample:
    return simulated()
