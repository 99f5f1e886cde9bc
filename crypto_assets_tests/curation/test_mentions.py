"""Which clauses of a text speak of which coin."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crypto_assets.curation._mentions import clauses_of, coins_in
from crypto_assets.curation.scorers.vader import score


@pytest.mark.parametrize(
    ("text", "clauses"),
    [
        ("Bitcoin rallies, Ethereum plunges", {"BTC": "Bitcoin rallies", "ETH": "Ethereum plunges"}),
        ("Bitcoin surges and Ethereum slides", {"BTC": "Bitcoin surges", "ETH": "Ethereum slides"}),
        ("Bitcoin's rally and Ethereum's slide", {"BTC": "Bitcoin's rally", "ETH": "Ethereum's slide"}),
        ("While Bitcoin rallies, Ethereum slides", {"BTC": "Bitcoin rallies", "ETH": "Ethereum slides"}),
        ("Despite Bitcoin crash, Ethereum soars", {"BTC": "Bitcoin crash", "ETH": "Ethereum soars"}),
        ("Bitcoin soars while traders dump Ethereum", {"BTC": "Bitcoin soars", "ETH": "traders dump Ethereum"}),
        ("Bitcoin slides as Ethereum rallies", {"BTC": "Bitcoin slides", "ETH": "Ethereum rallies"}),
        ("Breaking: Bitcoin soars, ETH crashes", {"BTC": "Breaking: Bitcoin soars", "ETH": "ETH crashes"}),
        ("Cardano (ADA) up 5%, DOT down 3.5%", {"ADA": "Cardano (ADA) up 5%", "DOT": "DOT down 3.5%"}),
        ("Bitcoin hits high — Solana outage", {"BTC": "Bitcoin hits high", "SOL": "Solana outage"}),
        ("Bitcoin calm\nSolana halts", {"BTC": "Bitcoin calm", "SOL": "Solana halts"}),
        (
            "Bitcoin rallies but analysts warn of a crash. Ethereum slides",
            {"BTC": "Bitcoin rallies but analysts warn of a crash.", "ETH": "Ethereum slides"},
        ),
    ],
)
def test_each_coin_has_its_clause(text, clauses):
    assert clauses_of(text) == {coin: [clause] for coin, clause in clauses.items()}


@pytest.mark.parametrize(
    "text",
    [
        "Bitcoin, Ethereum and Solana rally",
        "Bitcoin (BTC) and Ethereum (ETH) rally",
        "Analysts bullish on Bitcoin and Solana",
        "Hackers drain Bitcoin, Ethereum and Solana wallets",
        "Bitcoin as well as Ethereum rally",
        "Solana outperforms Ethereum",
        "BTC/ETH pair moves 1.5%",
    ],
)
def test_what_is_said_of_several_is_said_of_each(text):
    assert clauses_of(text) == {coin: [text] for coin in coins_in(text)}


def test_a_coin_may_have_several_clauses():
    found = clauses_of("Bitcoin slides; Ethereum slides; Bitcoin recovers")
    assert found == {"BTC": ["Bitcoin slides;", "Bitcoin recovers"], "ETH": ["Ethereum slides;"]}


@pytest.mark.parametrize("text", ["", "Rates stay, traders yawn; no coin", "Bitcoin falls, then rallies; all is well"])
def test_one_coin_or_none_is_one_clause(text):
    assert clauses_of(text) == {coins_in(text)[0]: [text]}


def test_coins_of_one_text_can_have_opposite_scores():
    clauses = clauses_of("Bitcoin soars to record, while Ethereum crashes after hack")
    assert score(clauses["BTC"][0]) > 0.5
    assert score(clauses["ETH"][0]) < -0.5


WORDS = [
    "Bitcoin",
    "ETH",
    "$SOL",
    "and",
    "but",
    "while",
    ",",
    ".",
    ";",
    "as",
    "well",
    "—",
    "\n",
    "rallies",
    "crash",
    "🚀",
    "ß",
    "'s",
]


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from(WORDS), max_size=30).map(" ".join))
def test_every_coin_named_has_clauses_of_the_text_that_name_it(text):
    found = clauses_of(text)
    assert list(found) == coins_in(text)
    for coin, clauses in found.items():
        assert clauses
        assert all(clause in text for clause in clauses)
        assert coin == "ALL" or all(coin in coins_in(clause) for clause in clauses)
