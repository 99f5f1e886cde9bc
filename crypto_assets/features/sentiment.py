"""What is written about each coin, and the mood of the market.

A text counts from the first full hour at which it was known, once: a later version of it adds nothing, but for its votes, which
count from when they are known. Decayed means weigh each text by the exponential mean of that span in hours, and are null where
less than a hundredth of one text is left. Posts with their votes are known two days after they were written, which is why a
column of the last hour looks back that far.
"""

from __future__ import annotations

from datetime import timedelta

import polars as pl

from crypto_assets.features._as_known import as_known
from crypto_assets.features._bars import GONE_H, bars, change, clock, finite, hourly, of_each, trading
from crypto_assets.features._family import Column, FeatureFamily
from crypto_assets.features._totals import COUNT, totals

SPANS = (4, 24, 72)
LEAST_WEIGHT = 0.01
FEAR_GREED_MAX_AGE = timedelta(days=3)
FUNDING_MAX_AGE = timedelta(hours=24)
NO_WAIT = timedelta(microseconds=1)
LATEST = 48
"""Hours until the last kind of text is known."""
MEANINGS = {
    "fear": "share of fear",
    "joy": "share of joy, the greed of the trade included,",
    "anger": "share of anger",
    "sadness": "share of sadness",
    "surprise": "share of surprise",
    "urgency": "urgency",
}
"""Column of `curated/text_scores` -> what its decayed mean is called."""
LOOKBACK = timedelta(days=46)
"""The 1,024 hours of a decayed mean over 72 h, and the two days until the last text before them is known."""
READ = ("score", "entity_score", *MEANINGS)
MARKET = ("score_1h", "score_24h", "count_24h", "disagreement_24h", *(f"{c}_24h" for c in MEANINGS), "influence_score_24h")
"""Columns that are also made of all texts."""


def _hours(hours: float) -> timedelta:
    return timedelta(hours=hours)


_LAST, _DECAYED = _hours(LATEST + 2), _hours(LATEST + 240)
COLUMNS = {
    "score_1h": Column("mean score of the coin's texts that became known in the last hour", "-1 to 1", _LAST),
    "count_1h": Column("log of 1 + number of those texts", "log", _LAST),
    **{
        f"score_{s}h": Column(f"mean score of the coin's texts, decayed over {s} h", "-1 to 1", _hours(LATEST + 10 * s))
        for s in SPANS[:-1]
    },
    "score_72h": Column("mean score of the coin's texts, decayed over 72 h", "-1 to 1"),
    "score_surprise": Column("score_1h less score_24h", "", _DECAYED),
    "count_24h": Column("log of 1 + number of the coin's texts, decayed over 24 h", "log", _DECAYED),
    "disagreement_24h": Column("standard deviation of the coin's scores, decayed over 24 h", "", _DECAYED),
    "market_score_1h": Column("mean score of all texts that became known in the last hour", "-1 to 1", _LAST),
    "market_score_24h": Column("mean score of all texts, decayed over 24 h", "-1 to 1", _DECAYED),
    "market_count_24h": Column("log of 1 + number of all texts, decayed over 24 h", "log", _DECAYED),
    "relative_score_24h": Column("score_24h less market_score_24h", "", _DECAYED),
    "score_funding": Column("score_1h times the last funding rate", "fraction a settlement", _LAST),
    "score_24h_funding": Column("score_24h times the last funding rate", "fraction a settlement", _DECAYED),
    "fear_greed": Column("Crypto Fear & Greed index, -1 fear to 1 greed", "-1 to 1", FEAR_GREED_MAX_AGE),
    "fear_greed_change_1d": Column("its change in a day", "", FEAR_GREED_MAX_AGE + _hours(24)),
    "fear_greed_change_7d": Column("its change in a week", "", FEAR_GREED_MAX_AGE + _hours(168)),
    "entity_score_24h": Column("mean score of the clauses that name the coin, decayed over 24 h", "-1 to 1", _DECAYED),
    "influence_score_24h": Column(
        "mean score of the coin's texts that are voted on, weighed by 1 + influence, decayed over 24 h", "-1 to 1", _DECAYED
    ),
    "count_surprise": Column("log of texts an hour decayed over 4 h less decayed over 72 h, each plus 1/24 of a text", "log"),
    **{
        f"{c}_24h": Column(f"mean {what} in the coin's texts, decayed over 24 h", "0 to 1", _DECAYED)
        for c, what in MEANINGS.items()
    },
    "market_disagreement_24h": Column("standard deviation of all scores, decayed over 24 h", "", _DECAYED),
    "market_influence_score_24h": Column(
        "mean score of all texts that are voted on, weighed by 1 + influence, decayed over 24 h", "-1 to 1", _DECAYED
    ),
    **{
        f"market_{c}_24h": Column(f"mean {what} in all texts, decayed over 24 h", "0 to 1", _DECAYED)
        for c, what in MEANINGS.items()
    },
}


def compute(
    candles: pl.LazyFrame, market: pl.LazyFrame, texts: pl.LazyFrame, fear_greed: pl.LazyFrame, funding: pl.LazyFrame
) -> pl.LazyFrame:
    """The columns at each bar's close; one row a coin and bar. `market` are the candles of all coins, for their hours."""
    grid = hourly(bars(candles).select("symbol", "ts"))
    hours = clock(market)
    texts = texts.collect().lazy()
    known, voted = _first_known(texts), _first_known(texts.filter(pl.col("influence").is_not_null()))
    named = _joined(grid, known, voted, ["symbol", "ts"]).sort("symbol", "ts")
    named = named.with_columns(pl.when(trading(GONE_H)).then(pl.col("^_.*$")))
    coins = _decayed(named).with_columns(score_surprise=pl.col("score_1h") - pl.col("score_24h"))
    once = [each.unique(["id", "ts", "channel"], keep="first", maintain_order=True) for each in (known, voted)]
    mood = _decayed(_joined(hours, once[0], once[1], ["ts"]).sort("ts"))
    mood = mood.select("ts", *[pl.col(c).alias(f"market_{c}") for c in MARKET])
    rate = as_known(funding, grid, max_age=FUNDING_MAX_AGE, columns=["funding_rate"]).select("symbol", "ts", "funding_rate")
    rows = (
        coins.filter("is_bar")
        .join(mood, on="ts", how="left")
        .join(_mood(hours, fear_greed), on="ts", how="left")
        .join(rate, on=["symbol", "ts"], how="left")
        .with_columns(
            relative_score_24h=pl.col("score_24h") - pl.col("market_score_24h"),
            score_funding=pl.col("score_1h") * pl.col("funding_rate"),
            score_24h_funding=pl.col("score_24h") * pl.col("funding_rate"),
        )
    )
    return finite(rows.select("symbol", "ts", *COLUMNS), list(COLUMNS))


def _first_known(texts: pl.LazyFrame) -> pl.LazyFrame:
    """Each text once, `ts` the first full hour at which it was known."""
    hour = (pl.col("available_at") - NO_WAIT).dt.truncate("1h") + pl.duration(hours=1)
    key = ["id", "symbol", "ts", "channel"]
    first = texts.sort(*key, "available_at").unique(key, keep="first", maintain_order=True)
    named = first.select("id", "symbol", "channel", hour.alias("ts"), *READ, "influence")
    return named.sort("ts", "symbol", "id", "channel")


def _joined(grid: pl.LazyFrame, known: pl.LazyFrame, voted: pl.LazyFrame, by: list[str]) -> pl.LazyFrame:
    """The grid with sums and counts by hour of all texts, and of those that are voted on from when the votes are known."""
    score, weight = pl.col("score"), 1 + pl.col("influence")
    every = totals(known.collect(), by, {**{f"_{c}": pl.col(c) for c in READ}, "_squares": score.pow(2)})
    every = every.rename({f"{COUNT}_{c}": f"_n_{c}" for c in READ}).drop(f"{COUNT}_squares")
    weighed = totals(voted.collect(), by, {"_influence_score": score * weight, "_n_influence_score": weight})
    weighed = weighed.select(*by, "_influence_score", "_n_influence_score")
    return grid.join(every.lazy(), on=by, how="left").join(weighed.lazy(), on=by, how="left")


def _decayed(rows: pl.LazyFrame) -> pl.LazyFrame:
    """The columns made of texts, from their hourly sums, on a complete hourly grid."""

    def decay(column: str, span: int) -> pl.Expr:
        return of_each(pl.col(column), "decayed", 1 - 2 / (span + 1))

    def mean(column: str, span: int = 24) -> pl.Expr:
        n = decay(f"_n_{column}", span)
        return pl.when(n >= LEAST_WEIGHT).then(decay(f"_{column}", span) / n)

    spread = decay("_squares", 24) / decay("_n_score", 24) - mean("score").pow(2)
    rates = {s: decay("_n_score", s) * 2 / (s + 1) + 1 / 24 for s in (4, 72)}
    return rows.with_columns(
        (pl.col("_score") / pl.col("_n_score")).alias("score_1h"),
        pl.col("_n_score").fill_null(0).cast(pl.Float64).log1p().alias("count_1h"),
        *[mean("score", s).alias(f"score_{s}h") for s in SPANS],
        decay("_n_score", 24).log1p().alias("count_24h"),
        pl.when(spread > 1e-9).then(spread).when(spread.is_not_null()).then(0.0).sqrt().alias("disagreement_24h"),
        *[mean(c).alias(f"{c}_24h") for c in ("entity_score", "influence_score", *MEANINGS)],
        (rates[4] / rates[72]).log().alias("count_surprise"),
    )


def _mood(hours: pl.LazyFrame, fear_greed: pl.LazyFrame) -> pl.LazyFrame:
    known = as_known(fear_greed, hours, by=(), max_age=FEAR_GREED_MAX_AGE, columns=["value_pct"])
    level = pl.col("value_pct") / 50 - 1
    return known.select("ts", level.alias("fear_greed"), *[change(level, d).alias(f"fear_greed_change_{d}d") for d in (1, 7)])


FAMILY = FeatureFamily(
    "sentiment",
    {
        "candles": "curated/candles",
        "market": "curated/candles",
        "texts": "curated/text_scores",
        "fear_greed": "raw/fear_greed",
        "funding": "raw/binance_funding",
    },
    LOOKBACK,
    COLUMNS,
    compute,
    grid="candles",
    by_coin=("candles", "funding"),
)
