"""What is written about each coin, and the mood of the market.

A text counts from the first full hour at which it was known, once: a later version of it adds nothing. Decayed means weigh each
text by the exponential mean of that span in hours, and are null where less than a hundredth of one text is left.
"""

from __future__ import annotations

from datetime import timedelta

import polars as pl

from crypto_assets.features._as_known import as_known
from crypto_assets.features._bars import bars, change, clock, finite, hourly
from crypto_assets.features._family import Column, FeatureFamily

SPANS = (4, 24, 72)
LEAST_WEIGHT = 0.01
FEAR_GREED_MAX_AGE = timedelta(days=3)
FUNDING_MAX_AGE = timedelta(hours=24)
NO_WAIT = timedelta(microseconds=1)


def _hours(hours: float) -> timedelta:
    return timedelta(hours=hours)


COLUMNS = {
    "score_1h": Column("mean score of the coin's texts that became known in the last hour", "-1 to 1", _hours(2)),
    "count_1h": Column("log of 1 + number of those texts", "log", _hours(2)),
    **{f"score_{s}h": Column(f"mean score of the coin's texts, decayed over {s} h", "-1 to 1", _hours(10 * s)) for s in SPANS},
    "score_surprise": Column("score_1h less score_24h", "", _hours(240)),
    "count_24h": Column("log of 1 + number of the coin's texts, decayed over 24 h", "log", _hours(240)),
    "disagreement_24h": Column("standard deviation of the coin's scores, decayed over 24 h", "", _hours(240)),
    "market_score_1h": Column("mean score of all texts that became known in the last hour", "-1 to 1", _hours(2)),
    "market_score_24h": Column("mean score of all texts, decayed over 24 h", "-1 to 1", _hours(240)),
    "market_count_24h": Column("log of 1 + number of all texts, decayed over 24 h", "log", _hours(240)),
    "relative_score_24h": Column("score_24h less market_score_24h", "", _hours(240)),
    "score_funding": Column("score_1h times the last funding rate", "fraction a settlement", _hours(24)),
    "score_24h_funding": Column("score_24h times the last funding rate", "fraction a settlement", _hours(240)),
    "fear_greed": Column("Crypto Fear & Greed index, -1 fear to 1 greed", "-1 to 1", FEAR_GREED_MAX_AGE),
    "fear_greed_change_1d": Column("its change in a day", "", FEAR_GREED_MAX_AGE + _hours(24)),
    "fear_greed_change_7d": Column("its change in a week", "", FEAR_GREED_MAX_AGE + _hours(168)),
}


def compute(candles: pl.LazyFrame, texts: pl.LazyFrame, fear_greed: pl.LazyFrame, funding: pl.LazyFrame) -> pl.LazyFrame:
    """The columns at each bar's close; one row a coin and bar."""
    known = _first_known(texts).collect().lazy()
    grid = hourly(bars(candles).select("symbol", "ts"))
    named = grid.join(_by_hour(known, ["symbol", "ts"]), on=["symbol", "ts"], how="left").sort("symbol", "ts")
    coins = _decayed(named).with_columns(score_surprise=pl.col("score_1h") - pl.col("score_24h"))
    hours = clock(candles)
    everything = _by_hour(known.unique(["id", "ts"], keep="first", maintain_order=True), ["ts"])
    market = _decayed(hours.join(everything, on="ts", how="left").sort("ts"))
    market = market.select("ts", *[pl.col(c).alias(f"market_{c}") for c in ("score_1h", "score_24h", "count_24h")])
    rate = as_known(funding, grid, max_age=FUNDING_MAX_AGE, columns=["funding_rate"]).select("symbol", "ts", "funding_rate")
    rows = (
        coins.filter("is_bar")
        .join(market, on="ts", how="left")
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
    first = texts.sort("id", "symbol", "ts", "available_at").unique(["id", "symbol", "ts"], keep="first", maintain_order=True)
    return first.select("id", "symbol", hour.alias("ts"), "score").sort("ts", "symbol", "id")


def _by_hour(known: pl.LazyFrame, by: list[str]) -> pl.LazyFrame:
    """Sums and count by hour; in row order and eagerly, because the order of a sum shows in its last digit."""
    score = pl.col("score")
    groups = known.collect().group_by(by, maintain_order=True)
    return groups.agg(score.sum().alias("_sum"), score.pow(2).sum().alias("_squares"), pl.len().alias("_n")).lazy()


def _decayed(rows: pl.LazyFrame) -> pl.LazyFrame:
    """The score and count columns from the hourly sums, on a complete hourly grid."""
    n, total, squares = (pl.col(c).fill_null(0).cast(pl.Float64) for c in ("_n", "_sum", "_squares"))

    def decay(expr: pl.Expr, span: int) -> pl.Expr:
        return expr.ewm_mean(span=span, adjust=False).over("symbol") * (span + 1) / 2

    means = {s: pl.when(decay(n, s) >= LEAST_WEIGHT).then(decay(total, s) / decay(n, s)) for s in SPANS}
    spread = decay(squares, 24) / decay(n, 24) - means[24].pow(2)
    return rows.with_columns(
        (pl.col("_sum") / pl.col("_n")).alias("score_1h"),
        n.log1p().alias("count_1h"),
        *[mean.alias(f"score_{s}h") for s, mean in means.items()],
        decay(n, 24).log1p().alias("count_24h"),
        pl.when(spread > 1e-9).then(spread).when(spread.is_not_null()).then(0.0).sqrt().alias("disagreement_24h"),
    )


def _mood(hours: pl.LazyFrame, fear_greed: pl.LazyFrame) -> pl.LazyFrame:
    known = as_known(fear_greed, hours, by=(), max_age=FEAR_GREED_MAX_AGE, columns=["value_pct"])
    level = pl.col("value_pct") / 50 - 1
    return known.select("ts", level.alias("fear_greed"), *[change(level, d).alias(f"fear_greed_change_{d}d") for d in (1, 7)])


FAMILY = FeatureFamily(
    "sentiment",
    {
        "candles": "curated/candles",
        "texts": "curated/text_scores",
        "fear_greed": "raw/fear_greed",
        "funding": "raw/binance_funding",
    },
    timedelta(days=31),
    COLUMNS,
    compute,
)
