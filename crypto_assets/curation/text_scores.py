"""Texts of every kind scored and assigned to the coins they are about: headlines, and posts where there are any.

The scorer is that of the settings (`text_scorer`), by default VADER with the words of the trade. Every row says which one
made it.

A text is about the coins it names; where it names none, about the coin its table files it under (a subreddit's, a provider's).
Two tables may hold the same text: a Reddit post is known at once through Reddit, and two days later, with its votes, through
Arctic Shift: two versions of one row. Between other providers an article is not recognised, it counts once for each.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl

from crypto_assets.curation._mentions import NO_COIN, clauses_of
from crypto_assets.curation._urgency import urgency
from crypto_assets.curation.scorers import MOST_CHARACTERS, SCHEMA, Scorer, scorer
from crypto_assets.lake import Derivation, Field, RawTable, Table
from crypto_assets.market.errors import SchemaError
from crypto_assets.settings import load
from crypto_assets.sources.arctic_shift_posts import RawArcticShiftPosts
from crypto_assets.sources.coindesk_news import RawCoindeskNews
from crypto_assets.sources.cryptopanic_posts import RawCryptopanicPosts
from crypto_assets.sources.news import RawNews
from crypto_assets.sources.newsapi_articles import RawNewsapiArticles
from crypto_assets.sources.reddit_posts import RawRedditPosts
from crypto_assets.sources.rss_news import RawRssNews
from crypto_assets.sources.x_posts import RawXPosts


class TextScores(Table):
    """One row a text and coin it is about; `ts` and `available_at` are the text's."""

    name = "curated/text_scores"
    key = ("id", "symbol", "ts", "channel")

    id: str = Field(meaning="the text's id at its provider")
    symbol: str = Field(meaning=f"coin the text is about, or {NO_COIN} where that is not said")
    score: float = Field(ge=-1, le=1, meaning="sentiment of the whole text, -1 bad to 1 good")
    channel: str | None = Field(meaning="where the text appeared; ids are unique within it")
    entity_score: float | None = Field(ge=-1, le=1, meaning="sentiment of the clauses that name the coin")
    fear: float | None = Field(ge=0, le=1, meaning="share of fear in the text")
    joy: float | None = Field(ge=0, le=1, meaning="share of joy, the greed of the trade included")
    anger: float | None = Field(ge=0, le=1, meaning="share of anger")
    sadness: float | None = Field(ge=0, le=1, meaning="share of sadness")
    surprise: float | None = Field(ge=0, le=1, meaning="share of surprise")
    urgency: float | None = Field(ge=0, lt=1, meaning="how urgent it sounds")
    influence: float | None = Field(ge=0, meaning="log of 1 + votes and comments; null where the provider has none")
    scorer: str | None = Field(meaning="scorer and version that made the row")


@dataclass(frozen=True)
class Texts:
    """How a raw table holds its texts."""

    table: type[RawTable]
    channel: str
    id: str = "id"
    text: str = "title"
    is_filed: bool = False
    """Whether it has a `symbol`, the coin that a text is filed under."""
    influence: pl.Expr | None = None


READERS: Mapping[str, Texts] = {
    "news": Texts(RawNews, "gdelt"),
    "rss": Texts(RawRssNews, "rss"),
    "newsapi": Texts(RawNewsapiArticles, "newsapi", id="url"),
    "cryptopanic": Texts(RawCryptopanicPosts, "cryptopanic", is_filed=True),
    "coindesk": Texts(RawCoindeskNews, "coindesk"),
    "reddit": Texts(RawRedditPosts, "reddit", is_filed=True),
    "reddit_settled": Texts(
        RawArcticShiftPosts,
        "reddit",
        is_filed=True,
        influence=(pl.col("score").clip(lower_bound=0) + pl.col("num_comments")).cast(pl.Float64).log1p(),
    ),
    "x": Texts(RawXPosts, "x", text="text", is_filed=True),
}
"""Argument of `compute` -> what it reads."""
_TEXT = ["channel", "id", "ts", "available_at"]
_READ = pl.Schema(
    {
        "text": pl.String(),
        "named": pl.List(pl.String()),
        "entity_score": pl.List(pl.Float64()),
        **SCHEMA,
        "urgency": pl.Float64(),
        "scorer": pl.String(),
    }
)


def compute(news: pl.LazyFrame, **more: pl.LazyFrame) -> pl.LazyFrame:
    """Read every text once and give a row to each coin it is about; the columns of TextScores.

    `more` are further tables by their names in READERS. Raises SettingsError where the scorer cannot be had.
    """
    frames = {"news": news, **more}
    texts = (
        pl.concat(_texts(READERS[name], frame) for name, frame in frames.items())
        .group_by(_TEXT, maintain_order=True)
        .agg(pl.col("text").first(), pl.col("filed").drop_nulls().unique().sort(), pl.col("influence").max())
    )
    read = texts.select(pl.col("text").unique().sort()).map_batches(
        _read, schema=_READ, predicate_pushdown=False, projection_pushdown=False, slice_pushdown=False
    )
    names_none = pl.col("named") == NO_COIN
    rows = texts.join(read, on="text").explode("named", "entity_score")
    about = pl.when(names_none & (pl.col("filed").list.len() > 0)).then("filed").otherwise(pl.concat_list("named"))
    return rows.with_columns(symbol=about).explode("symbol").select(c for c in TextScores.dtypes)


def _texts(reader: Texts, frame: pl.LazyFrame) -> pl.LazyFrame:
    nothing = pl.lit(None, dtype=pl.String)
    return frame.select(
        pl.lit(reader.channel).alias("channel"),
        pl.col(reader.id).alias("id"),
        "ts",
        "available_at",
        pl.col(reader.text).alias("text"),
        (pl.col("symbol") if reader.is_filed else nothing).alias("filed"),
        (pl.lit(None, dtype=pl.Float64) if reader.influence is None else reader.influence).alias("influence"),
    )


def _read(frame: pl.DataFrame) -> pl.DataFrame:
    """The texts with the coins they name, each coin's score, and the columns of SCHEMA."""
    settings = load()
    chosen = scorer(settings.text_scorer, download=settings.allow_model_download)
    return read(frame["text"].to_list(), chosen)


def read(texts: list[str], by: Scorer) -> pl.DataFrame:
    """What a scorer, and everything that does not depend on it, says of texts that differ; the columns of _READ."""
    clauses = [clauses_of(text[:MOST_CHARACTERS]) for text in texts]
    parts = sorted({part for of in clauses for found in of.values() for part in found} - set(texts))
    scored = _scored(by, [*texts, *parts])
    score = dict(zip([*texts, *parts], scored["score"], strict=True))
    rows: dict[str, Any] = {
        "text": texts,
        "named": [list(of) for of in clauses],
        "entity_score": [[sum(map(score.__getitem__, found)) / len(found) for found in of.values()] for of in clauses],
        **scored.head(len(texts)).to_dict(),
        "urgency": [urgency(text) for text in texts],
        "scorer": [f"{by.name} {by.version}"] * len(texts),
    }
    return pl.DataFrame(rows, schema=_READ)


def _scored(by: Scorer, texts: list[str]) -> pl.DataFrame:
    """What the scorer says. Raises SchemaError where it breaks the protocol."""
    found = by.score(texts)
    if found.schema != SCHEMA or found.height != len(texts):
        raise SchemaError(
            f"scorer {by.name}: expected {len(texts)} rows of {dict(SCHEMA)}, found {found.height} of {dict(found.schema)}"
        )
    return found


DERIVATION = Derivation(
    TextScores,
    {name: reader.table.name for name, reader in READERS.items()},
    compute,
    doc="Sentiment, emotions and urgency of each headline, and of posts where there are any, by coin it is about.",
)
