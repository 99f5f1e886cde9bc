"""The offline scorer: VADER with the words of the trade, and counted words of emotion.

Score: the compound score of VADER (Hutto & Gilbert, ICWSM 2014) with the words of the trade added, in [-1, 1]. VADER is a
lexicon of social media English: it knows "approval" and "fraud" but not "rally", "plunges" or "liquidated".

Emotions: n_e / (1 + sum of n), where n_e counts the words of emotion e that are not denied within the three words before
(VADER's own reach); a text without any is neutral.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

import polars as pl

from crypto_assets.curation.scorers import EMOTIONS, MOST_CHARACTERS, SCHEMA
from crypto_assets.curation.scorers._emotions import EMOTION_OF
from crypto_assets.curation.scorers._lexicon import LEXICON, PICTURES

if TYPE_CHECKING:
    from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

_TOKEN = re.compile(r"\w+(?:['’]\w+)*|[^\w\s]")
_REACH = 3


class VaderScorer:
    """Words counted: no model, no download."""

    name = "vader"

    @property
    def version(self) -> str:
        """A digest of the word lists."""
        lists = json.dumps([LEXICON, PICTURES, EMOTION_OF], sort_keys=True)
        return hashlib.sha256(lists.encode()).hexdigest()[:8]

    def score(self, texts: Sequence[str]) -> pl.DataFrame:
        """One row a text, in order, with the columns of SCHEMA."""
        rows = [(score(text), *emotions(text)) for text in texts]
        return pl.DataFrame(rows, schema=SCHEMA, orient="row")


def score(text: str) -> float:
    """VADER's compound score with LEXICON and PICTURES, in [-1, 1]."""
    return float(_analyzer().polarity_scores(text[:MOST_CHARACTERS])["compound"])


def emotions(text: str) -> tuple[float, ...]:
    """The share of each of EMOTIONS, in [0, 1]."""
    from vaderSentiment.vaderSentiment import negated

    words = _TOKEN.findall(text[:MOST_CHARACTERS].lower().replace("’", "'"))
    counts = dict.fromkeys(EMOTIONS, 0)
    for i, word in enumerate(words):
        for emotion in EMOTION_OF.get(word, ()):
            before = words[max(0, i - _REACH) : i]
            counts[emotion] += not (negated(before) or "no" in before)
    total = 1 + sum(counts.values())
    return tuple(count / total for count in counts.values())


@lru_cache(maxsize=1)
def _analyzer() -> SentimentIntensityAnalyzer:
    from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

    analyzer = SentimentIntensityAnalyzer()
    analyzer.lexicon.update(LEXICON)
    analyzer.emojis.update(PICTURES)
    return analyzer
