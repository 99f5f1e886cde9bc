"""Scorers of texts: what a text says of mood, in numbers. One file a scorer, and the one that the settings name.

Here belongs reading a text by itself. Which coin it is about, how urgent it sounds and how many people minded it is found out
by `curation/text_scores.py`, whatever the scorer.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from functools import lru_cache
from typing import Protocol, runtime_checkable

import polars as pl

from crypto_assets.market.errors import SettingsError

EMOTIONS = ("fear", "joy", "anger", "sadness", "surprise")
"""Of Ekman's basic emotions (1992) those that are told apart in texts about money; joy is the greed of the trade too."""
SCHEMA = pl.Schema(dict.fromkeys(("score", *EMOTIONS), pl.Float64()))
MOST_CHARACTERS = 2_000
"""What lies behind is not read: a title is shorter, and VADER's time grows with the square of the length."""


@runtime_checkable
class Scorer(Protocol):
    """Reads texts one by one: the numbers of a text do not depend on the other texts of a call, nor on their order."""

    @property
    def name(self) -> str:
        """Its name in the settings."""

    @property
    def version(self) -> str:
        """Whatever changes its numbers changes this: word lists, weights."""

    def score(self, texts: Sequence[str]) -> pl.DataFrame:
        """One row a text, in order, with the columns of SCHEMA.

        `score` in [-1, 1], bad to good; each of EMOTIONS in [0, 1], together at most 1 (the rest is neutral). No nulls. Of a
        text only the first MOST_CHARACTERS are read.
        """


@lru_cache(maxsize=4)
def scorer(name: str, *, download: bool = False) -> Scorer:
    """The scorer of this name: `vader`, `transformers`, or `package.module:OBJECT`, a Scorer of your own.

    `download` lets `transformers` fetch models that are not in the local cache. Raises SettingsError for any other name, and
    for an object that is no Scorer.
    """
    if name == "vader":
        from crypto_assets.curation.scorers.vader import VaderScorer

        return VaderScorer()
    if name == "transformers":
        from crypto_assets.curation.scorers.transformer import TransformerScorer

        return TransformerScorer(download=download)
    return _own(name)


def _own(name: str) -> Scorer:
    module, colon, attribute = name.partition(":")
    if not colon:
        raise SettingsError(f"text_scorer {name!r}: expected vader, transformers, or package.module:OBJECT of a Scorer")
    try:
        found = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise SettingsError(f"text_scorer {name!r}: cannot be imported ({error}): check the spelling and PYTHONPATH") from None
    if not isinstance(found, Scorer):
        raise SettingsError(f"text_scorer {name!r}: expected an object with name, version and score(texts), found {found!r}")
    return found
