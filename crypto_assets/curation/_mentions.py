"""Which coins a text names, and which of its clauses speaks of which coin."""

from __future__ import annotations

import re
from functools import lru_cache

from crypto_assets.market.coins import COINS

NO_COIN = "ALL"
"""`symbol` of a text that names no coin."""

_CONTRAST = "but|while|whereas|though|although|yet|however|despite"
_HARD = re.compile(rf"(?<=[.!?;:|])\s+|\n|\s+[-–—|]\s+|—|,?\s+(?:{_CONTRAST})\s", re.IGNORECASE)
"""Where another statement begins, whatever follows."""
_SOFT = re.compile(
    r"\s*,\s*(?:(?:and|or|as|with)\s+)?|\s+(?:and|or|after|with|amid)\s+|(?<!\swell)\s+as\s+(?!well\s)", re.IGNORECASE
)
"""Where another statement begins if one about a coin ends and one whose subject is a coin follows; else a list goes on."""
_LINK = re.compile(rf"^(?:\s|[-–—|,;])*(?:(?:{_CONTRAST}|and|or|as|after|with|amid)\s+)?", re.IGNORECASE)
"""What links a clause to the one before it: taken off, since "despite" would deny what the clause itself says."""


def coins_in(title: str) -> list[str]:
    """Our symbols of the coins a title names, sorted; `["ALL"]` where it names none.

    A name counts in any case ("bitcoin"), a ticker only in capitals ("LINK", "$SOL"), because many tickers are English
    words; a name that is the ticker's word counts as it is written ("Aave"). The longest name wins: Ethereum Classic is not
    Ethereum.
    """
    pattern, meanings = _names()
    found = {meanings[m.lower()] for m in pattern.findall(title)}
    return sorted(found) or [NO_COIN]


def clauses_of(text: str) -> dict[str, list[str]]:
    """By coin that the text names, in the order of `coins_in`: the clauses that speak of it.

    A text about one coin or none is one clause. A clause that names no coin goes on about the coin of the one before it (at
    the beginning: of the one after it). A clause that names several coins is about all of them: "Solana outperforms Ether"
    says the same of both.
    """
    coins = coins_in(text)
    if len(coins) < 2:
        return {coins[0]: [text]}
    clauses = [_LINK.sub("", text[start:end]).rstrip() for start, end in _spans(text)]
    return {coin: [clause for clause in clauses if coin in coins_in(clause)] or [text] for coin in coins}


def _spans(text: str) -> list[tuple[int, int]]:
    """Where the clauses begin and end, in order; one without a coin is added to its neighbour."""
    hard = [m.start() for m in _HARD.finditer(text)]
    pieces = zip([0, *hard], [*hard, len(text)], strict=True)
    spans: list[tuple[int, int]] = []
    start = 0
    for end in (end for piece in pieces for end in _soft_ends(text, *piece)):
        names_a_coin = coins_in(text[start:end]) != [NO_COIN]
        if names_a_coin:
            spans.append((start, end))
        elif spans:
            spans[-1] = (spans[-1][0], end)
        start = end if spans else 0
    return spans


def _soft_ends(text: str, start: int, end: int) -> list[int]:
    """Where the clauses of a statement end: a statement about a coin, followed by one that begins with a coin."""
    ends = []
    for boundary in _SOFT.finditer(text, start, end):
        if _says_something_of_a_coin(text[start : boundary.start()]) and _begins_with_a_coin(text[boundary.end() : end]):
            ends.append(boundary.start())
            start = boundary.start()
    return [*ends, end]


def _says_something_of_a_coin(left: str) -> bool:
    spans = [m.span() for m in _names()[0].finditer(left)]
    return bool(spans) and bool(re.search(r"\w", left[spans[-1][1] :]))


def _begins_with_a_coin(right: str) -> bool:
    found = _names()[0].search(right)
    return found is not None and not re.search(r"\w", right[: found.start()])


@lru_cache(maxsize=1)
def _names() -> tuple[re.Pattern[str], dict[str, str]]:
    """One pattern of all names, longest first, and what each (in lower case) means."""
    meanings: dict[str, str] = {}
    alternatives: dict[str, str] = {}
    for coin in COINS.values():
        tickers = [coin.symbol, *(old for old, _ in coin.former)]
        for ticker in tickers:
            meanings[ticker.lower()] = coin.symbol
            alternatives[ticker.lower()] = ticker
        for word in coin.words:
            meanings[word] = coin.symbol
            own = f"(?i:{re.escape(word)})"
            alternatives[word] = own if word.upper() not in tickers else f"(?:{word.upper()}|{re.escape(coin.name)})"
    ordered = [alternatives[name] for name in sorted(alternatives, key=lambda n: (-len(n), n))]
    return re.compile(rf"(?<![A-Za-z0-9])(?:{'|'.join(ordered)})(?![A-Za-z0-9])"), meanings
