"""The price of leverage: funding of the perpetual and its basis over spot.

Funding is the last settled rate, known at its settlement; means and scores weigh each hour by the rate that was then the last.
"""

from __future__ import annotations

from datetime import timedelta

import polars as pl

from crypto_assets.features._as_known import as_known
from crypto_assets.features._bars import bars, change, finite, hourly, rolling, trading, z_score
from crypto_assets.features._family import Column, FeatureFamily

MAX_AGE = timedelta(hours=24)
"""Three settlements: funding that old means the perpetual is not trading."""
MONTH = 720


def _hours(hours: float) -> timedelta:
    return timedelta(hours=hours)


COLUMNS = {
    "funding_last": Column("last settled funding rate", "fraction a settlement", MAX_AGE),
    "funding_mean_24h": Column("mean of the last funding rate over 24 h (3 settlements)", "fraction a settlement", _hours(48)),
    "funding_mean_168h": Column(
        "mean of the last funding rate over 168 h (21 settlements)", "fraction a settlement", _hours(192)
    ),
    "funding_change_24h": Column("last funding rate less that of 24 h ago", "fraction a settlement", _hours(48)),
    "funding_z_30d": Column("last funding rate against its last 30 days", "sd", _hours(MONTH + 24)),
    "funding_age": Column("time since the last settlement", "hours", MAX_AGE),
    "funding_rank": Column("rank of the last funding rate among the coins", "-0.5 to 0.5", MAX_AGE),
    "basis": Column("perpetual over spot close, less 1", "fraction", _hours(1)),
    "basis_change_1h": Column("change of the basis over 1 h", "fraction", _hours(2)),
    "basis_z_168h": Column("basis against its last 168 h", "sd", _hours(168)),
}


def compute(candles: pl.LazyFrame, funding: pl.LazyFrame) -> pl.LazyFrame:
    """The columns at each bar's close; one row a coin and bar. No basis where the candle itself is spot."""
    grid = hourly(bars(candles, "spot_close"))
    rows = as_known(funding, grid, max_age=MAX_AGE, columns=["funding_rate"], age_hours="funding_age")
    rows = rows.with_columns(pl.when(trading(24)).then("funding_rate").alias("funding_rate"))
    rate, basis = pl.col("funding_rate"), pl.col("basis")
    rows = rows.with_columns(basis=pl.col("close") / pl.col("spot_close") - 1).with_columns(
        funding_last=rate,
        funding_mean_24h=rolling(rate, 24),
        funding_mean_168h=rolling(rate, 168),
        funding_change_24h=change(rate, 1),
        # in basis points, so that the guard against a standard deviation of nothing has something to guard
        funding_z_30d=z_score(rate * 1e4, MONTH),
        basis_change_1h=basis - basis.shift(1).over("symbol"),
        basis_z_168h=z_score(basis * 1e4, 168),
    )
    known = rate.count().over("ts")
    rank = pl.when(known >= 3).then((rate.rank("average").over("ts") - 0.5) / known - 0.5)
    ranked = rows.filter("is_bar").with_columns(funding_rank=rank)
    return finite(ranked.select("symbol", "ts", *COLUMNS), list(COLUMNS))


FAMILY = FeatureFamily(
    "derivatives",
    {"candles": "curated/candles", "funding": "raw/binance_funding"},
    timedelta(days=32),
    COLUMNS,
    compute,
)
