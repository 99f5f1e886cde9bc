"""How urgent a text sounds, by its surface: the same measure for every scorer.

urgency = x / (1 + x), in [0, 1), with x = words and pictures of urgency + shouted words / 2 + exclamation marks / 2. A shouted
word has at least five letters, all capitals, and is no name of a coin ("BREAKING", not "USDT" or "THETA"); where more than
half of the words are capitals, as in some publishers' headlines, they only count as one. Exclamation marks count up to three.
"""

from __future__ import annotations

import re

from crypto_assets.curation._mentions import NO_COIN, coins_in
from crypto_assets.curation.scorers import MOST_CHARACTERS

_URGENT = re.compile(
    r"(?<![\w-])(?:(?:breaking|developing|alert)(?=\s*[:!|–—]|\s+news)|urgent(?:ly)?|just in|immediate(?:ly)?|right now|asap|"
    r"hurry|act (?:now|fast)|last chance|emergency|deadline|don['’]t wait|before it['’]s too late|"
    r"(?:hours|minutes) (?:left|away|remaining)|sos)(?!\w)|🚨|⚠|‼|⏰|🔔",
    re.IGNORECASE,
)
_WORD = re.compile(r"[^\W\d_]{2,}")
_LONG = 5
_MOST_MARKS = 3


def urgency(text: str) -> float:
    """How urgent the first MOST_CHARACTERS of a text sound, in [0, 1); 0 where nothing in it does."""
    read = text[:MOST_CHARACTERS]
    words = _WORD.findall(read)
    capitals = [word for word in words if word.isupper()]
    shouted = sum(len(word) >= _LONG and coins_in(word) == [NO_COIN] for word in capitals)
    if len(capitals) * 2 > len(words) > 1:
        shouted = min(shouted, 1)
    x = len(_URGENT.findall(read)) + shouted / 2 + min(read.count("!"), _MOST_MARKS) / 2
    return x / (1 + x)
