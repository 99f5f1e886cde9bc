"""Settings name the variable, the value and what is allowed."""

from datetime import timedelta

import pytest

from crypto_assets.market.errors import SettingsError
from crypto_assets.settings import load, today


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("CRYPTO_ASSETS_WORLD", "mars", "'sandbox', 'archive' or 'live'"),
        ("CRYPTO_ASSETS_SYMBOLS", "BTC,XYZ", "unknown symbol 'XYZ'"),
        ("CRYPTO_ASSETS_START", "yesterday", "yesterday"),
        ("CRYPTO_ASSETS_WARMUP_DAYS", "0", "greater than or equal to 14"),
        ("CRYPTO_ASSETS_START", "2009-01-01", "before any market"),
    ],
)
def test_a_wrong_variable_is_named_with_its_value(monkeypatch, variable, value, said):
    monkeypatch.setenv(variable, value)
    with pytest.raises(SettingsError) as error:
        load()
    assert said in str(error.value)


def test_dates_in_the_future_and_reversed_are_refused():
    with pytest.raises(SettingsError, match="future"):
        load(start=today() + timedelta(days=2))
    with pytest.raises(SettingsError, match="swap"):
        load(start=today() - timedelta(days=2), end=today() - timedelta(days=9))


def test_a_secret_prints_as_stars(monkeypatch):
    monkeypatch.setenv("CRYPTO_ASSETS_COINMETRICS_KEY", "very-secret")
    settings = load()
    assert "very-secret" not in repr(settings)
    assert "very-secret" not in settings.model_dump_json()


def test_an_option_wins_over_the_environment(monkeypatch):
    monkeypatch.setenv("CRYPTO_ASSETS_MARKET", "null")
    assert load().market == "null"
    assert load(market="regime").market == "regime"


def test_redis_is_found_under_its_plain_name_too(monkeypatch):
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:1/0")
    assert load().redis_url.get_secret_value() == "redis://127.0.0.1:1/0"
    monkeypatch.setenv("CRYPTO_ASSETS_REDIS_URL", "redis://127.0.0.1:2/0")
    assert load().redis_url.get_secret_value() == "redis://127.0.0.1:2/0"
