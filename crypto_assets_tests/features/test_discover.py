"""A user's own family: the printed example runs as printed, and every mistake is named."""

from __future__ import annotations

import subprocess
import sys
from datetime import date, timedelta
from importlib.metadata import EntryPoint, EntryPoints

import polars as pl
import pytest

from crypto_assets.features import FeatureFamily, built_in, families, load_family
from crypto_assets.features.matrix import matrix
from crypto_assets.lake import Frames, derive
from crypto_assets.market.errors import SchemaError, SettingsError
from crypto_assets.market.time import Window
from crypto_assets_tests.features import invariance
from crypto_assets_tests.features.market import random_market

EXAMPLE = """
from datetime import timedelta
import polars as pl
from crypto_assets.features import FeatureFamily

def compute(candles: pl.LazyFrame) -> pl.LazyFrame:      # one argument per input, by name; returns symbol, ts, the columns
    return candles.sort("symbol", "ts").select("symbol", pl.col("ts") + pl.duration(hours=1),
        momentum_1d=pl.col("close").pct_change(24).over("symbol"))

FAMILY = FeatureFamily(name="mine", inputs={"candles": "curated/candles"}, lookback=timedelta(days=2),
                       columns={"momentum_1d": "24 h return, fraction"}, compute=compute)
"""
WINDOW = Window.of_days(date(2024, 1, 3), date(2024, 1, 9))


@pytest.fixture
def write(tmp_path):
    def _write(text: str, name: str = "mine.py"):
        path = tmp_path / name
        path.write_text(text)
        return path

    return _write


def test_the_printed_example_runs_and_joins_the_matrix(write):
    tables = random_market(("BTC", "ETH"), date(2024, 1, 1), 10)
    chosen = families([write(EXAMPLE)])
    assert list(chosen)[-1] == "mine"
    tables["features/mine"] = derive(chosen["mine"].derivation(), Frames(tables), WINDOW)
    assert tables["features/mine"]["momentum_1d"].null_count() == 0
    rows = derive(matrix([chosen["mine"]]), Frames(tables), WINDOW)
    assert rows["mine.momentum_1d"].equals(tables["features/mine"]["momentum_1d"])
    cuts = [WINDOW.start + timedelta(days=2), WINDOW.start + timedelta(days=4)]
    assert invariance.leaks(invariance.of_family(chosen["mine"]), tables, WINDOW, cuts) == {}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = 1", "has no FAMILY"),
        ("FAMILY = {}", "must be a FeatureFamily, is dict"),
        ("import nothing_of_the_kind", "cannot be run .ModuleNotFoundError"),
        ("def (", "cannot be run .SyntaxError"),
        (EXAMPLE.replace('name="mine"', 'name="my family"'), "must be a Python identifier"),
        (EXAMPLE.replace('"curated/candles"', '"labels/targets"'), "must be raw or curated tables"),
        (EXAMPLE.replace('"curated/candles"', '"oracle/p_up"'), "must be raw or curated tables"),
        (EXAMPLE.replace('{"candles":', '{"bars":'), "compute cannot be called with the inputs"),
        (EXAMPLE.replace('{"momentum_1d": "24 h return, fraction"}', "{}"), "no columns"),
        (EXAMPLE.replace('{"momentum_1d":', '{"ts":'), "are reserved"),
        (EXAMPLE.replace("lookback=timedelta(days=2)", "lookback=timedelta(days=-2)"), "a family looks back"),
    ],
)
def test_what_is_wrong_with_a_file_is_said(text, message, write):
    with pytest.raises(SettingsError, match=message):
        load_family(write(text))


def test_no_such_file_and_a_file_of_another_kind(tmp_path, write):
    with pytest.raises(SettingsError, match="no feature file"):
        load_family(tmp_path / "absent.py")
    with pytest.raises(SettingsError, match="is not a Python file"):
        load_family(write("FAMILY = 1", "family.txt"))


@pytest.mark.parametrize("name", ["technical", "matrix"])
def test_a_name_that_is_taken_is_refused(name, write):
    with pytest.raises(SettingsError, match=f"'{name}' of .* has the name of another"):
        families([write(EXAMPLE.replace('"mine"', f'"{name}"'))])


def test_two_files_of_one_name_are_refused(write):
    with pytest.raises(SettingsError, match=r"has the name of another .*mine\.py"):
        families([write(EXAMPLE), write(EXAMPLE, "again.py")])


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (("momentum_1d=pl", "momentum=pl"), r"lacks \['momentum_1d'\] and has the undeclared \['momentum'\]"),
        (('select("symbol", pl', "select(pl"), r"lacks \['symbol'\]"),
        (("return candles", "return 7 #"), "must return a polars LazyFrame, returned int"),
    ],
)
def test_columns_other_than_declared_are_refused(edit, message, write):
    text = EXAMPLE.replace(*edit)
    if "7 #" in text:
        text = text.replace('        momentum_1d=pl.col("close").pct_change(24).over("symbol"))\n', "")
    family = load_family(write(text))
    with pytest.raises(SchemaError, match=message):
        derive(family.derivation(), Frames(random_market(("BTC",), date(2024, 1, 1), 10)), WINDOW)


def test_a_family_may_come_from_an_installed_package(monkeypatch, write):
    import importlib.metadata

    path = write(EXAMPLE.replace('"mine"', '"theirs"'), "their_features.py")
    monkeypatch.syspath_prepend(str(path.parent))
    point = EntryPoint("theirs", "their_features:FAMILY", "crypto_assets.features")
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda group: EntryPoints([point]))
    assert isinstance(families()["theirs"], FeatureFamily)
    broken = EntryPoint("broken", "their_features:NOTHING", "crypto_assets.features")
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda group: EntryPoints([broken]))
    with pytest.raises(SettingsError, match="entry point broken = their_features:NOTHING cannot be loaded"):
        families()


def test_importing_features_loads_nothing_heavy():
    """What a user's file imports stays light: no TA-Lib, no pandera, no numerics beyond polars."""
    heavy = ("talib", "polars_talib", "pandera", "torch", "sklearn", "scipy", "pandas", "dagster", "vaderSentiment", "duckdb")
    code = f"import sys, crypto_assets.features as f; f.built_in(); print([m for m in {heavy!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_built_in_families_carry_their_module_name():
    for name, family in built_in().items():
        assert family.compute.__module__ == f"crypto_assets.features.{name}"
        assert isinstance(family.derivation().doc, str)
        assert pl.Float64 in family.derivation().table.schema().dtypes()
