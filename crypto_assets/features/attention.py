"""How much a coin is looked at, talked about and built: page views, posts, comments, commits, news, by coin and in the market.

Counts are logs of 1 + the day's count, compared with the same weekday a week before and with their own past; commits are means
of seven days. Every value is the newest day known at the decision time, as first published.
"""

from __future__ import annotations

from datetime import timedelta

import polars as pl

from crypto_assets.features._bars import bars, clock, finite, hourly, of_each, trading
from crypto_assets.features._daily import CHANGE, LEVEL, SCORE, STEP, WEEK, Series, across, known, logs, mean_of_week
from crypto_assets.features._family import Column, FeatureFamily
from crypto_assets.features._totals import COUNT, mean, totals

FEWEST = 3
"""Coins in a mean of the market."""
DAY_H = 24
LATE = timedelta(days=8)
"""Counts of posts come three days late."""
LATER = timedelta(days=14)
"""Commits count eight days after their day."""
LATEST = timedelta(days=40)
"""A free key at Santiment is 31 days behind."""
LOOKBACK = timedelta(days=132)


def _count(column: str) -> pl.Expr:
    return pl.col(column).cast(pl.Float64).log1p()


TALK = Series("talk", "1 + posts and comments in the coin's subreddit", (SCORE,), max_age=LATE)
BY_COIN: tuple[tuple[Series, str, pl.Expr], ...] = (
    (Series("views", "1 + views of the coin's Wikipedia article"), "views", _count("views")),
    (Series("posts", "1 + posts in the coin's subreddit", max_age=LATE), "reddit", _count("posts")),
    (Series("comments", "1 + comments in the coin's subreddit", max_age=LATE), "reddit", _count("comments")),
    (TALK, "reddit", (pl.col("posts") + pl.col("comments")).cast(pl.Float64).log1p()),
    (Series("x_posts", "1 + posts about the coin at X"), "x", _count("posts")),
    (Series("tone", "the mean tone of the coin's news", (LEVEL, CHANGE, SCORE), "-100 to 100"), "gdelt", pl.col("tone")),
    (Series("news_volume", "the coin's share of all news"), "gdelt", logs(pl.col("volume_pct"))),
    (
        Series("social_volume", "1 + mentions in social media (Santiment)", (STEP, CHANGE, SCORE), max_age=LATEST),
        "santiment/social_volume_total",
        _count("value"),
    ),
    (
        Series("weighted_sentiment", "social sentiment times social volume (Santiment)", (LEVEL, CHANGE), "sd", LATEST),
        "santiment/sentiment_weighted_total",
        pl.col("value"),
    ),
    (
        Series("development", "1 + development events (Santiment)", (CHANGE, SCORE)),
        "santiment/dev_activity",
        _count("value"),
    ),
)
"""Series, the table it is from (and its metric there), its value."""
BY_REPO: tuple[tuple[Series, str], ...] = (
    (
        Series("commits", "1 + commits a day (7-day mean, mean of repositories)", (CHANGE, SCORE), "log", LATER, made_of=WEEK),
        "commits",
    ),
    (
        Series("authors", "1 + authors a day (7-day mean, mean of repositories)", (CHANGE, SCORE), "log", LATER, made_of=WEEK),
        "authors",
    ),
)
MARKET = ("views_z_90d", "posts_z_90d", "comments_z_90d", "commits_z_90d", "tone", "news_volume_z_90d", "social_volume_z_90d")
"""Columns whose mean over the coins every coin gets."""
OWN = {
    **{n: c for series, _, _ in BY_COIN for n, c in series.columns().items()},
    **{n: c for series, _ in BY_REPO for n, c in series.columns().items()},
    "social_sentiment": Column(
        "mean score of the coin's texts of the last 24 h times talk_z_90d", "sd", LATE + timedelta(days=90)
    ),
}
COLUMNS = OWN | {f"market_{n}": Column(f"mean over the coins: {OWN[n].meaning}", OWN[n].unit, OWN[n].lookback) for n in MARKET}


def compute(candles: pl.LazyFrame, texts: pl.LazyFrame, commits: pl.LazyFrame, **tables: pl.LazyFrame) -> pl.LazyFrame:
    """The columns at each bar's close; one row a coin and bar. A market's mean needs three coins."""
    grid, hours = bars(candles).select("symbol", "ts").collect(), clock(candles).select("ts").collect()
    daily = [known(_rows(tables, where).with_columns(value=expr), grid, series, ["symbol"]) for series, where, expr in BY_COIN]
    rows = pl.concat([grid, *daily], how="horizontal")
    for series, column in BY_REPO:
        weeks = mean_of_week(commits, ["symbol", "repo"], pl.col(column))
        rows = rows.join(
            across(weeks, hours, series, "repo", ["symbol"]), on=["symbol", "ts"], how="left", maintain_order="left"
        )
    rows = rows.join(_scores(candles, texts), on=["symbol", "ts"], how="left", maintain_order="left")
    rows = rows.with_columns(social_sentiment=pl.col("_score") * pl.col("talk_z_90d"))
    sums = totals(rows, ["ts"], {n: pl.col(n) for n in MARKET})
    enough = {n: pl.when(pl.col(f"{COUNT}{n}") >= FEWEST).then(mean(n)) for n in MARKET}
    market = sums.select("ts", **{f"market_{n}": value for n, value in enough.items()})
    return finite(rows.join(market, on="ts", how="left").lazy().select("symbol", "ts", *COLUMNS), list(COLUMNS))


def _rows(tables: dict[str, pl.LazyFrame], where: str) -> pl.LazyFrame:
    table, _, metric = where.partition("/")
    return tables[table].filter(pl.col("metric") == metric) if metric else tables[table]


def _scores(candles: pl.LazyFrame, texts: pl.LazyFrame) -> pl.DataFrame:
    """symbol, ts and `_score`: the mean score of the texts that became known in the last 24 h, each once."""
    hour = (pl.col("available_at") - timedelta(microseconds=1)).dt.truncate("1h") + pl.duration(hours=1)
    once = texts.sort("id", "symbol", "ts", "available_at").unique(["id", "symbol", "ts"], keep="first", maintain_order=True)
    known = once.select("symbol", "id", "score", ts=hour).sort("symbol", "ts", "id").collect()
    sums = totals(known, ["symbol", "ts"], {"_sum": pl.col("score"), "_n": pl.lit(1.0) * pl.col("ts").is_not_null()})
    sums = sums.select("symbol", "ts", "_sum", "_n")
    grid = hourly(bars(candles).select("symbol", "ts")).join(sums.lazy(), on=["symbol", "ts"], how="left").sort("symbol", "ts")
    day = {c: of_each(pl.col(c).fill_null(0), "total", DAY_H, 1) for c in ("_sum", "_n")}
    grid = grid.with_columns(pl.when(trading(7 * DAY_H)).then(pl.col("_sum", "_n")))
    mean = pl.when(pl.col("_n") > 0.5).then(pl.col("_sum") / pl.col("_n"))
    return grid.with_columns(**day).select("symbol", "ts", _score=mean).collect()


FAMILY = FeatureFamily(
    "attention",
    {
        "candles": "curated/candles",
        "texts": "curated/text_scores",
        "commits": "raw/github_commits",
        "views": "raw/wikimedia_pageviews",
        "reddit": "raw/arctic_shift_counts",
        "x": "raw/x_counts",
        "gdelt": "raw/gdelt_tone",
        "santiment": "raw/santiment_metrics",
    },
    LOOKBACK,
    COLUMNS,
    compute,
    grid="candles",
    lookbacks={"candles": WEEK + 2 * timedelta(hours=DAY_H)},
)
