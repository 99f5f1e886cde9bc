"""What is odd about a candle, at every venue: one row a bar, venue and kind, known when the bar closes.

With closes c, r(t) = ln(c(t) / c(t-1)) where the bar before is the hour before; only bars up to t are looked at:

- spike: 0.6745 |r(t)| / median of |r| over the 168 hours before t is above `SPIKE`. A robust z-score (Iglewicz and Hoaglin,
  "How to detect and handle outliers", 1993) with its window in the past alone; the median hourly return is taken as zero, and
  0.6745 is the median of |n| for a standard normal n. At least `LEAST` returns make a median.
- stale: at least `STALE` bars in a row, this one the last, closed where the one before them did.
- zero_volume: nothing was traded.
- gap: hours are missing between this bar and the one before; none is seen where that is longer ago than the window.
- duplicated: prices and traded amount all equal those of the hour before.
- disputed: a venue's close is further than `DISPUTE_TOLERANCE` from the canonical one (`curated/candles`).

`error` means that the canonical candle itself should not be relied on as it is: a spike that another venue disputes, a feed
that stands still for `STALE_ERROR` bars, a repeated bar, more than `GAP_ERROR` missing hours, a close that every one of several
other venues disputes. Everything else, and everything about the venues it is compared with, is `warn`.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

import polars as pl

from crypto_assets.curation.candles import DERIVATION as CANDLES
from crypto_assets.curation.candles import DISPUTE_TOLERANCE, OTHERS, as_closed, distance
from crypto_assets.lake import Derivation, Field, Table

WINDOW = timedelta(hours=168)
"""How far back the median, a run of equal closes and a gap are looked for."""
LEAST = 72
SPIKE = 15.0
"""In 909,225 hours of 26 perpetuals (2020 to 2025-02) 415 were above: 0.05 %, four a coin and year, crashes most of them. A
normal return is above it with a probability below 1e-12."""
STALE = 3
"""Three unchanged closes in a row were seen 6 times in 912,827 hours of those perpetuals, six never."""
STALE_ERROR = 6
GAP_ERROR = 6
"""Exchanges announce maintenance of a few hours; longer is a feed that broke."""
MOST_WARNED = 0.002
"""Rows of one kind, by canonical candle of a run, above which that kind's check warns. A day's run warns at the first one; a
long one where there are more than in those years (spikes 0.05 %, disputes of BTC and ETH with Kraken 0.15 %)."""

KINDS = ("spike", "stale", "zero_volume", "gap", "duplicated", "disputed")
VENUES = ("perpetual", "spot", "coinbase", "kraken")
_KEY = ["symbol", "venue"]
_BAR = ("open", "high", "low", "close", "volume")


class CandleAnomalies(Table):
    """One row a bar, venue and kind of anomaly; `ts` is the bar's open, `available_at` its close."""

    name = "curated/candle_anomalies"
    key = ("symbol", "ts", "venue", "kind")

    symbol: str
    venue: str = Field(isin=VENUES, meaning="whose bar it is")
    kind: str = Field(isin=KINDS, meaning="what is odd about it")
    value: float = Field(
        ge=0, meaning="z-score; unchanged bars; traded coins; missing hours; repeated coins; relative distance: by kind"
    )
    threshold: float = Field(ge=0, meaning="what the value is compared with")
    severity: str = Field(isin=("warn", "error"), meaning="error: do not rely on the canonical candle as it is")


def compute(candles: pl.LazyFrame, **venues: pl.LazyFrame) -> pl.LazyFrame:
    """Every anomaly of the venues' bars (raw candle tables by name in VENUES); the columns of CandleAnomalies."""
    bars = pl.concat(
        as_closed(raw).select("symbol", "ts", *_BAR).with_columns(venue=pl.lit(venue)) for venue, raw in venues.items()
    )
    known = candles.select("symbol", "ts", *OTHERS)
    wide = _measured(bars.join(known, on=["symbol", "ts"], how="left"))
    odd = wide.filter(pl.any_horizontal(pl.col(kind).is_not_null() for kind in KINDS))
    rows = pl.concat(_of_kind(odd, kind) for kind in KINDS)
    return rows.with_columns(available_at=pl.col("ts") + pl.duration(hours=1))


def verdict(candles: pl.DataFrame, anomalies: pl.DataFrame) -> pl.DataFrame:
    """One row a day: day, bars (canonical candles), how many anomalies of each kind, and `errors` among them."""
    day = pl.col("ts").dt.date().alias("day")
    counts = [(pl.col("kind") == kind).sum().cast(pl.Int64).alias(kind) for kind in KINDS]
    found = anomalies.group_by(day).agg(*counts, errors=(pl.col("severity") == "error").sum().cast(pl.Int64))
    bars = candles.group_by(day).agg(bars=pl.len().cast(pl.Int64))
    return bars.join(found, on="day", how="full", coalesce=True).fill_null(0).sort("day")


def _measured(bars: pl.LazyFrame) -> pl.LazyFrame:
    """The bars with, by kind, the value where it is odd and null where it is not, and whether the bar is the canonical one."""
    bars = bars.sort(*_KEY, "ts").with_columns(
        *[pl.col(c).shift(1).over(_KEY).alias(f"{c}_before") for c in _BAR],
        hours=(pl.col("ts") - pl.col("ts").shift(1).over(_KEY)).dt.total_hours(),
        row=pl.int_range(pl.len()).over(_KEY),
    )
    follows = pl.col("hours") == 1
    same = {c: pl.col(c) == pl.col(f"{c}_before") for c in _BAR}
    bars = bars.with_columns(
        moved=pl.when(follows).then((pl.col("close") / pl.col("close_before")).log().abs()),
        changed_at=pl.when((follows & same["close"]).fill_null(False).not_()).then("row").forward_fill().over(_KEY),
        is_canonical=(pl.col("venue") == "perpetual") | ((pl.col("venue") == "spot") & pl.col("spot_close").is_null()),
    )
    usual = pl.col("moved").rolling_median_by("ts", WINDOW, min_samples=LEAST, closed="left").over(_KEY)
    longest = int(WINDOW / timedelta(hours=1))
    values = {
        "spike": pl.when(usual > 0).then(0.6745 * pl.col("moved") / usual),
        "stale": (pl.col("row") - pl.col("changed_at")).clip(upper_bound=longest).cast(pl.Float64),
        "zero_volume": pl.col("volume"),
        "gap": pl.when(pl.col("hours") <= longest).then(pl.col("hours") - 1).cast(pl.Float64),
        "duplicated": pl.when(follows & pl.all_horizontal(same.values())).then("volume"),
        "disputed": pl.when("is_canonical").then(pl.max_horizontal(distance(other) for other in OTHERS)),
    }
    odd = {
        "spike": values["spike"] > SPIKE,
        "stale": values["stale"] >= STALE,
        "zero_volume": values["zero_volume"] == 0,
        "gap": values["gap"] > 0,
        "duplicated": values["duplicated"] > 0,
        "disputed": values["disputed"] > DISPUTE_TOLERANCE,
    }
    return bars.with_columns(pl.when(odd[kind]).then(values[kind]).alias(kind) for kind in KINDS)


def _of_kind(odd: pl.LazyFrame, kind: str) -> pl.LazyFrame:
    """The rows of one kind, with threshold and severity."""
    thresholds = {"spike": SPIKE, "stale": float(STALE), "disputed": DISPUTE_TOLERANCE}
    there = pl.sum_horizontal(pl.col(other).is_not_null() for other in OTHERS)
    against = pl.sum_horizontal((distance(other) > DISPUTE_TOLERANCE).fill_null(False) for other in OTHERS)
    broken = {
        "spike": against > 0,
        "stale": pl.col("stale") >= STALE_ERROR,
        "zero_volume": pl.lit(False),
        "gap": pl.col("gap") > GAP_ERROR,
        "duplicated": pl.lit(True),
        "disputed": (there > 1) & (against == there),
    }
    severity = pl.when(pl.col("is_canonical") & broken[kind]).then(pl.lit("error")).otherwise(pl.lit("warn"))
    return odd.filter(pl.col(kind).is_not_null()).select(
        "symbol",
        "ts",
        "venue",
        kind=pl.lit(kind),
        value=pl.col(kind),
        threshold=pl.lit(thresholds.get(kind, 0.0)),
        severity=severity,
    )


_INPUTS: Mapping[str, str] = {"candles": CANDLES.name, **CANDLES.inputs}
DERIVATION = Derivation(
    CandleAnomalies,
    _INPUTS,
    compute,
    lookback=WINDOW + timedelta(days=1),
    doc="Spikes, stale prices, bars without trades, gaps, repeated bars and disputes, at every venue, with severity.",
)
