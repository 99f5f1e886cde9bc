"""The house rules that a reader relies on, read from the code itself: which way imports go, what is light, what is short."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "crypto_assets"
ROOMS = sorted(p.parent.name for p in PACKAGE.glob("*/__init__.py"))
MODULES = sorted(PACKAGE.rglob("*.py"))
ALL_FILES = sorted(f for folder in (PACKAGE, ROOT / "crypto_assets_tests", ROOT / "benchmarks") for f in folder.rglob("*.py"))
HEAVY = {
    *("torch", "torch_geometric", "mlflow", "ccxt", "sklearn", "numba", "antropy", "lightgbm", "scipy", "plotly", "fastapi"),
    *("praw", "pytrends", "optuna", "skfolio", "transformers", "onnxruntime", "pandera", "duckdb", "starlette", "uvicorn"),
}
"""Never loaded on the way to the definitions: they are for the steps, and for the commands that need them."""
PURE_ROOMS = ("market", "curation", "features", "dataset", "models", "fusion", "trading")
MAX_LINES = 500
MAX_STATEMENTS = 15


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def imported(path: Path) -> Iterator[str]:
    """Top names of everything the file imports, inside functions too."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.module.split(".")[0]


def dotted(node: ast.AST) -> str:
    """`a.b.c` of a name or an attribute, empty for anything else."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute) and (base := dotted(node.value)):
        return f"{base}.{node.attr}"
    return ""


def calls(path: Path) -> Iterator[tuple[str, ast.Call]]:
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Call):
            yield dotted(node.func), node


def test_data_walks_one_way():
    from importlinter.cli import lint_imports

    assert lint_imports(config_filename=str(ROOT / "pyproject.toml"), no_cache=True) == 0, "see `make check` for the chain"


def test_importing_the_definitions_loads_nothing_heavy(tmp_path):
    code = "import json, sys, crypto_assets.definitions; print(json.dumps(sorted(sys.modules)))"
    environment = {k: v for k, v in os.environ.items() if not k.startswith("CRYPTO_ASSETS_")}
    environment["CRYPTO_ASSETS_LAKE"] = str(tmp_path)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    loaded = {name.split(".")[0] for name in json.loads(done.stdout.splitlines()[-1])}
    assert "crypto_assets" in loaded
    assert loaded & HEAVY == set()
    assert list(tmp_path.iterdir()) == [], "importing must not touch the lake"


def test_the_command_line_starts_without_dagster_or_anything_heavy():
    code = "import json, sys, crypto_assets.cli; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {name.split(".")[0] for name in json.loads(done.stdout.splitlines()[-1])}
    assert loaded & (HEAVY | {"dagster", "polars"}) == set()


def test_dagster_is_imported_in_orchestration_and_definitions_only():
    allowed = {PACKAGE / "definitions.py", *(PACKAGE / "orchestration").rglob("*.py")}
    found = [name_of(path) for path in MODULES if path not in allowed and "dagster" in imported(path)]
    assert found == []


def test_orchestration_keeps_real_annotations():
    """Dagster reads the type hints of asset functions; as strings they are refused."""
    for path in [PACKAGE / "definitions.py", *(PACKAGE / "orchestration").rglob("*.py")]:
        futures = [n for n in tree(path).body if isinstance(n, ast.ImportFrom) and n.module == "__future__"]
        assert futures == [], name_of(path)


def dagster_functions() -> Iterator[tuple[str, ast.FunctionDef]]:
    """Functions decorated by `dg.something`."""
    for path in (PACKAGE / "orchestration").rglob("*.py"):
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.FunctionDef):
                names = [dotted(d.func if isinstance(d, ast.Call) else d) for d in node.decorator_list]
                if any(name.startswith("dg.") for name in names):
                    yield f"{name_of(path)}: {node.name}", node


def test_asset_bodies_are_short():
    found = dict(dagster_functions())
    assert len(found) >= 6
    for name, node in found.items():
        statements = [s for part in node.body for s in ast.walk(part) if isinstance(s, ast.stmt)]
        assert len(statements) <= MAX_STATEMENTS, f"{name} has {len(statements)} statements: move them to a pure function"


@pytest.mark.parametrize("room", ROOMS)
def test_every_room_says_what_belongs_in_it_and_what_does_not(room):
    doc = ast.get_docstring(tree(PACKAGE / room / "__init__.py")) or ""
    assert "Here belong" in doc
    assert "Nothing" in doc or "only" in doc


def test_every_module_opens_with_a_docstring():
    assert [name_of(path) for path in MODULES if not ast.get_docstring(tree(path))] == []


def test_no_file_is_longer_than_a_reader_can_hold():
    long = {name_of(path): n for path in ALL_FILES if (n := len(path.read_text().splitlines())) > MAX_LINES}
    assert long == {}


def test_no_room_for_odds_and_ends():
    vague = {"utils", "util", "helpers", "helper", "misc", "common", "stuff"}
    assert [name_of(path) for path in MODULES if path.stem.strip("_") in vague] == []


def test_no_clock_is_read_without_a_time_zone():
    naive = []
    for path in ALL_FILES:
        for name, call in calls(path):
            last = ".".join(name.split(".")[-2:])
            bare = last == "datetime.now" and not call.args and not call.keywords
            if bare or last in {"datetime.utcnow", "datetime.today", "datetime.utcfromtimestamp", "date.today"}:
                naive.append(f"{name_of(path)}:{call.lineno} {name}")
    assert naive == []


def test_pure_rooms_read_no_clock():
    """The same input must give the same bytes; `models/tracking.py` stamps MLflow's curves, which are no table."""
    clocks = {"datetime.now", "time.time", "time.time_ns", "settings.today"}
    files = [path for room in PURE_ROOMS for path in (PACKAGE / room).rglob("*.py") if path.stem != "tracking"]
    found = [f"{name_of(p)}:{c.lineno}" for p in files for name, c in calls(p) if ".".join(name.split(".")[-2:]) in clocks]
    assert found == []


def test_nothing_is_pickled():
    forbidden = {"pickle", "cloudpickle", "joblib", "dill", "shelve"}
    assert [name_of(path) for path in MODULES if forbidden & set(imported(path))] == []


def test_every_source_family_and_model_file_is_found_by_discovery():
    """A new file is all it takes, and no file lies there unused."""
    from crypto_assets import curation, sources
    from crypto_assets.features import built_in
    from crypto_assets.models.registry import MODELS

    def files(room: str) -> set[str]:
        return {p.stem for p in (PACKAGE / room).glob("*.py") if not p.stem.startswith("_")}

    assert set(sources.discover()) == files("sources")
    assert set(curation.discover()) == files("curation")
    assert set(built_in()) == files("features") - {"matrix"}
    modules = {target.split(":")[0].rsplit(".", 1)[1] for target in MODELS.values()}
    assert modules == files("models") - {"registry", "checkpoint", "tracking"}
