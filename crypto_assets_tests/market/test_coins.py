"""Symbols, renames, listings and errors that name near symbols."""

from datetime import date

import pytest

from crypto_assets.market.coins import COINS, Universe, resolve
from crypto_assets.market.errors import SettingsError


@pytest.mark.parametrize(
    ("name", "symbol"),
    [
        ("BTCUSDT", "BTC"),
        ("BTC/USDT:USDT", "BTC"),
        ("btc", "BTC"),
        ("MATICUSDT", "POL"),
        ("MATIC", "POL"),
        ("bitcoin", "BTC"),
        ("polygon-ecosystem-token", "POL"),
        ("ETH-USD", "ETH"),
        ("XBT", "BTC"),
        ("nonsense", None),
    ],
)
def test_every_providers_name_resolves_to_our_symbol(name, symbol):
    assert resolve(name) == symbol


def test_every_name_of_every_coin_resolves_to_it():
    for coin in COINS.values():
        for provider in ("binance_spot", "binance_futures", "coinmetrics", "coingecko"):
            assert resolve(coin.name_at(provider)) == coin.symbol, (coin.symbol, provider)


def test_a_renamed_coin_has_the_name_of_the_day():
    pol = COINS["POL"]
    assert pol.symbol_on(date(2024, 9, 9)) == "MATIC"
    assert pol.symbol_on(date(2024, 9, 10)) == "POL"
    assert pol.name_at("binance_spot", date(2024, 1, 1)) == "MATIC/USDT"


def test_a_coin_is_listed_from_its_first_day():
    assert not COINS["SOL"].is_listed(date(2020, 9, 14))
    assert COINS["SOL"].is_listed(date(2020, 9, 15))


@pytest.mark.parametrize(("symbols", "hint"), [(["BTX"], "BTC"), (["MATIC"], "POL"), ([], "empty"), (["BTC", "BTC"], "twice")])
def test_a_wrong_universe_is_refused_with_a_hint(symbols, hint):
    with pytest.raises(SettingsError, match=hint):
        Universe.of(symbols)
