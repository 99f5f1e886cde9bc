"""Still more planted leaks: grids that know their end, windows with offsets, rounding up, smoothers, encodings, time zones."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import polars as pl

from crypto_assets.features import FeatureFamily, as_known
from crypto_assets_tests.audit.planting import HOUR, bars, close, per_coin, planter, x

FURTHER_LEAKS: dict[str, FeatureFamily] = {}
leak = planter(FURTHER_LEAKS)
ret = (close / close.shift(1)).log().over("symbol")


def grid(candles):
    """Every coin's hours from its first bar to its last: a missing bar is there only if the coin trades again."""
    spans = bars(candles).group_by("symbol").agg(pl.col("ts").min().alias("a"), pl.col("ts").max().alias("b"))
    return spans.select("symbol", pl.datetime_ranges("a", "b", interval="1h").alias("ts")).explode("ts").sort("symbol", "ts")


@leak()
def coins_on_the_grid(candles):
    return x(bars(candles).join(grid(candles).group_by("ts").agg(n=pl.len()), on="ts", how="left"), "n")


@leak()
def market_of_filled_closes(candles):
    """The market's mean of closes carried over holes, which end only where a bar comes again."""
    filled = grid(candles).join(bars(candles).select("symbol", "ts", "close"), on=["symbol", "ts"], how="left")
    filled = filled.sort("symbol", "ts").with_columns(close.forward_fill().over("symbol").log())
    return x(bars(candles).join(filled.group_by("ts").agg(m=close.mean()), on="ts", how="left"), "m")


@leak()
def cumulated_in_descending_order(candles):
    rows = candles.sort("symbol", "ts", descending=[False, True]).with_columns(pl.col("ts") + HOUR)
    return x(rows, pl.col("volume").cum_sum().over("symbol"))


@leak()
def shifted_in_descending_order(candles):
    return x(bars(candles), (close.shift(1).over("symbol", order_by="ts", descending=True) / close))


@leak()
def window_with_an_offset(candles):
    rows = bars(candles)
    ahead = rows.rolling("ts", period="4h", offset="-2h", closed="both", group_by="symbol").agg(m=close.mean())
    return x(rows.join(ahead, on=["symbol", "ts"], how="left"), close / pl.col("m"))


@leak()
def rolling_by_a_moved_time(candles):
    rows = bars(candles).sort("symbol", "ts").with_columns(close.shift(-1).over("symbol").alias("next"))
    return x(rows.with_columns(x=pl.col("next").rolling_mean_by("ts", "3h", closed="both").over("symbol")))


@leak()
def joined_on_the_hour_rounded_up(candles):
    rows = bars(candles).with_columns(up=(pl.col("ts") - pl.duration(microseconds=1)).dt.truncate("4h") + pl.duration(hours=4))
    later = bars(candles).select("symbol", up="ts", later="close")
    return x(rows.join(later, on=["symbol", "up"], how="left"), pl.col("later") / close)


@leak({"news": "raw/news"})
def headlines_of_the_rounded_hour(candles, news):
    counts = news.group_by(ts=pl.col("available_at").dt.round("1h")).agg(n=pl.len())
    return x(bars(candles).join(counts, on="ts", how="left"), pl.col("n").fill_null(0))


@leak()
def joined_forward_with_a_tolerance(candles):
    rows = bars(candles).sort("ts")
    later = rows.select("symbol", pl.col("ts") - pl.duration(minutes=1), later="close")
    return x(rows.join_asof(later, on="ts", by="symbol", strategy="forward", tolerance="2h"), pl.col("later") / close)


@leak()
def four_hours_labelled_left_and_carried_on(candles):
    rows = bars(candles)
    whole = rows.group_by_dynamic("ts", every="4h", group_by="symbol", label="left").agg(y=close.last())
    return x(rows.sort("ts").join_asof(whole.sort("ts"), on="ts", by="symbol"), close / pl.col("y"))


@leak()
def high_of_the_local_day(candles):
    """The day of a city fourteen hours ahead: its high is known at noon UTC at best."""
    day = pl.col("ts").dt.convert_time_zone("Pacific/Kiritimati").dt.date()
    return x(bars(candles).with_columns(day=day), (close / pl.col("high").max()).over("symbol", "day"))


@leak()
def hours_to_live(candles):
    return x(bars(candles), (pl.col("ts").max() - pl.col("ts")).dt.total_hours().over("symbol"))


@leak()
def coins_with_enough_history(candles):
    return x(bars(candles).filter(pl.len().over("symbol") >= 700), ret)


@leak()
def rank_of_the_listing(candles):
    """How many coins were listed before, of all that ever will be."""
    rows = bars(candles)
    first = rows.group_by("symbol").agg(first=pl.col("ts").min()).with_columns(share=pl.col("first").rank("max") / pl.len())
    return x(rows.join(first, on="symbol", how="left"), "share")


@leak()
def target_mean_of_the_coin(candles):
    return x(bars(candles).with_columns(r=ret), pl.col("r").mean().over("symbol"))


@leak()
def frequency_encoded_hour(candles):
    big = (pl.col("volume") > pl.col("volume").shift(1)).cast(pl.Float64).over("symbol")
    rows = bars(candles).with_columns(big=big, hour=pl.col("ts").dt.hour())
    return x(rows, pl.col("big").sum().over("hour") / pl.len().over("hour"))


@leak()
def bins_of_the_sample(candles):
    return x(
        bars(candles), pl.col("volume").qcut(5, labels=list("01234"), allow_duplicates=True).cast(pl.String).over("symbol")
    )


@leak()
def copula_rank(candles):
    from scipy.special import ndtri

    def score(part):
        r = part["close"].rank().to_numpy()
        return pl.Series(ndtri(r / (len(r) + 1)))

    return x(per_coin(bars(candles), score))


@leak()
def box_cox(candles):
    from scipy.stats import boxcox

    def transformed(part):
        v = part["volume"].to_numpy() + 1.0
        return pl.Series(boxcox(v)[0] if len(np.unique(v)) > 2 else v)

    return x(per_coin(bars(candles), transformed))


@leak()
def smoothing_spline(candles):
    def smooth(part):
        t, y = np.arange(len(part)) / 100.0, part["close"].log().to_numpy()
        return pl.Series(np.polynomial.chebyshev.Chebyshev.fit(t, y, 12)(t) if len(part) > 40 else y)

    return x(per_coin(bars(candles), smooth))


@leak()
def haar_wavelet_denoised(candles):
    """Pairs of bars and their mean: the first of a pair sees the second."""

    def denoised(part):
        y = part["close"].to_numpy().copy()
        n = len(y) // 2 * 2
        y[:n] = np.repeat(y[:n].reshape(-1, 2).mean(axis=1), 2)
        return pl.Series(y)

    return x(per_coin(bars(candles), denoised))


@leak()
def kalman_smoothed(candles):
    """A filter and, backwards, a smoother."""

    def smooth(part):
        y = part["close"].log().to_numpy()
        up = np.array(y)
        for t in range(1, len(y)):
            up[t] = up[t - 1] + 0.3 * (y[t] - up[t - 1])
        for t in range(len(y) - 2, -1, -1):
            up[t] += 0.5 * (up[t + 1] - up[t])
        return pl.Series(up)

    return x(per_coin(bars(candles), smooth))


@leak()
def ewm_both_ways(candles):
    there, back = close.ewm_mean(span=6), close.reverse().ewm_mean(span=6).reverse()
    return x(bars(candles), ((there + back) / 2).over("symbol"))


@leak()
def before_or_after_the_break(candles):
    """The one break of the series, found with all of it."""

    def side(part):
        r = part["close"].log().diff().fill_null(0.0).to_numpy() ** 2
        sums, n = np.cumsum(r), len(r)
        k = np.arange(1, n)
        gain = (sums[:-1] / k - (sums[-1] - sums[:-1]) / (n - k)) ** 2 * k * (n - k) if n > 2 else np.zeros(1)
        return pl.Series((np.arange(n) > np.argmax(gain)).astype(float))

    return x(per_coin(bars(candles), side))


@leak()
def volatility_to_come(candles):
    rows = bars(candles).with_columns(r=ret)
    return x(rows, pl.col("r").reverse().rolling_std(24, min_samples=2).reverse().over("symbol"))


@leak()
def whitened(candles):
    frame = bars(candles).with_columns(r=ret.fill_null(0.0), v=pl.col("volume").log1p()).collect()
    values = frame.select("r", "v").to_numpy()
    values = values - values.mean(axis=0) if len(values) else values
    root = np.linalg.cholesky(np.cov(values.T) + 1e-9 * np.eye(2)) if len(values) > 2 else np.eye(2)
    return x(frame.with_columns(x=pl.Series(np.linalg.solve(root, values.T)[1])).lazy())


@leak()
def first_component_of_the_features(candles):
    frame = bars(candles).with_columns(
        a=ret.fill_null(0.0), b=(pl.col("high") / pl.col("low")).log(), c=pl.col("volume").log1p()
    )
    frame = frame.collect()
    values = frame.select("a", "b", "c").to_numpy()
    first = np.linalg.svd(values, full_matrices=False)[2][0] if len(values) > 3 else np.ones(3)
    return x(frame.with_columns(x=pl.Series(values @ np.abs(first))).lazy())


@leak({"funding": "raw/binance_funding"})
def funding_between_settlements(candles, funding):
    """A line from the last rate to the next."""
    known = funding.sort("ts").select("symbol", "ts", rate="funding_rate").unique(["symbol", "ts"], keep="first")
    both = bars(candles).select("symbol", "ts").join(known, on=["symbol", "ts"], how="full", coalesce=True).sort("symbol", "ts")
    both = both.with_columns(x=pl.col("rate").interpolate().over("symbol"))
    return x(bars(candles).join(both.select("symbol", "ts", "x"), on=["symbol", "ts"], how="left"))


@leak({"fear": "raw/fear_greed"})
def published_an_hour_early(candles, fear):
    early = fear.with_columns(pl.col("available_at") - pl.duration(hours=1))
    grid = bars(candles).select("symbol", "ts")
    return x(as_known(early, grid, by=(), max_age=timedelta(days=3), columns=["value_pct"]), "value_pct")


@leak({"tvl": "raw/defillama_tvl"})
def mean_of_all_versions(candles, tvl):
    """What was published first averaged with what it was corrected to."""
    total = tvl.filter(pl.col("chain") == "Total").group_by("ts").agg(pl.col("available_at").min(), v=pl.col("tvl_usd").mean())
    return x(bars(candles).sort("ts").join_asof(total.sort("available_at"), left_on="ts", right_on="available_at"), "v")


@leak()
def minimum_of_the_bar_in_progress(candles):
    """The low of the bar that is open at `ts`, as a stop that was not hit."""
    low = candles.select("symbol", "ts", later="low")
    return x(bars(candles).join(low, on=["symbol", "ts"], how="left"), pl.col("later") / close)


@leak()
def shared_out_by_the_days_volume(candles):
    share = pl.col("volume") / pl.col("volume").sum()
    return x(bars(candles), share.over("symbol", (pl.col("ts") - HOUR).dt.date()))


@leak()
def neighbours_by_all_returns(candles):
    """The coin most like this one over the whole sample, and its last return."""
    wide = bars(candles).with_columns(r=ret).collect().pivot(on="symbol", index="ts", values="r").sort("ts")
    names = [c for c in wide.columns if c != "ts"]
    values = wide.select(names).fill_null(0.0).to_numpy()
    with np.errstate(all="ignore"):
        alike = np.nan_to_num(np.corrcoef(values.T)) if len(values) > 2 and len(names) > 1 else np.eye(len(names))
    np.fill_diagonal(alike, -2.0)
    near = pl.DataFrame(values[:, alike.argmax(axis=1)], schema=names).with_columns(wide["ts"])
    near = near.unpivot(index="ts", variable_name="symbol", value_name="x")
    return x(bars(candles).join(near.lazy(), on=["symbol", "ts"], how="left"))
