"""`doctor`: the JSON of the contract, in a running sandbox and without one, and never the value of a key."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from crypto_assets.cli.app import app
from crypto_assets.sources import discover
from crypto_assets_tests.sources.loopback import client

KEYS = {"name", "provider", "world", "keyed", "status", "reason", "last_partition"}


def doctor(tmp_path, monkeypatch, **environment):
    for name, value in environment.items():
        monkeypatch.setenv(f"CRYPTO_ASSETS_{name.upper()}", value)
    out = tmp_path / "doctor.json"
    said = CliRunner().invoke(app, ["doctor", "--lake", str(tmp_path / "lake"), "--json", str(out)], catch_exceptions=False)
    assert said.exit_code == 0
    return json.loads(out.read_text()), said.output + said.stderr


def test_every_source_is_listed_with_the_contracts_keys(tmp_path, monkeypatch):
    with client() as http:
        found, _ = doctor(tmp_path, monkeypatch, sandbox_url=http.settings.sandbox_url)
    assert {row["name"] for row in found["sources"]} == set(discover())
    assert all(row.keys() >= KEYS for row in found["sources"])
    assert {row["status"] for row in found["sources"] if not row["keyed"]} == {"ok"}
    assert all(row["status"] == "no key" and "CRYPTO_ASSETS_" in row["reason"] for row in found["sources"] if row["keyed"])
    assert found["gpu"]["sample"]["is_right"]
    assert found["services"]["sandbox"]["status"] == "ok"


def test_a_sandbox_that_does_not_run_is_said_with_what_to_do(tmp_path, monkeypatch):
    found, said = doctor(tmp_path, monkeypatch, sandbox_url="http://127.0.0.1:9")
    assert {row["status"] for row in found["sources"] if not row["keyed"]} == {"unreachable"}
    assert "crypto-assets sandbox" in said


@pytest.mark.parametrize("name", ["coinmetrics_key", "glassnode_key", "redis_url"])
def test_the_value_of_a_key_is_never_shown(tmp_path, monkeypatch, name):
    secret = "redis://:s3cr3t-value@127.0.0.1:9/0" if name == "redis_url" else "s3cr3t-value"
    found, said = doctor(tmp_path, monkeypatch, sandbox_url="http://127.0.0.1:9", **{name: secret})
    assert "s3cr3t-value" not in said + json.dumps(found)
