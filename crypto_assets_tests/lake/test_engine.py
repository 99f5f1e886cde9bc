"""The GPU collects frames only where its engine is installed and there is a GPU."""

from __future__ import annotations

import polars as pl
import pytest

from crypto_assets.lake import engine as engines


@pytest.mark.parametrize(
    ("is_installed", "has_card", "chosen"),
    [(True, True, "gpu"), (True, False, "auto"), (False, True, "auto"), (False, False, "auto")],
)
def test_the_choice(is_installed, has_card, chosen, monkeypatch, tmp_path):
    monkeypatch.setattr(engines, "find_spec", lambda name: object() if is_installed and name == "cudf_polars" else None)
    monkeypatch.setattr(engines, "DEVICE", tmp_path if has_card else tmp_path / "none")
    engines.engine.cache_clear()
    assert engines.engine() == ("gpu" if is_installed and has_card else "auto")
    engines.engine.cache_clear()


def test_polars_takes_the_choice():
    assert pl.LazyFrame({"x": [1]}).collect(engine=engines.engine()).item() == 1
