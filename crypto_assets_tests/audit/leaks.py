"""Planted leaks: what people really do wrong, each in a few lines. Every one must be caught."""

from __future__ import annotations

import numpy as np
import polars as pl

from crypto_assets.features import FeatureFamily
from crypto_assets_tests.audit.planting import HOUR, bars, close, per_coin, planter, x

LEAKS: dict[str, FeatureFamily] = {}
leak = planter(LEAKS)
ret = (close / close.shift(1)).log().over("symbol")


@leak()
def next_bar(candles):
    return x(bars(candles), (close.shift(-1) / close).over("symbol"))


@leak()
def far_ahead(candles):
    return x(bars(candles), (close.shift(-48) / close).over("symbol"))


@leak()
def open_as_decision_time(candles):
    return candles.sort("symbol", "ts").select("symbol", "ts", x=ret)


@leak()
def centred_window(candles):
    return x(bars(candles), (close - close.rolling_mean(5, center=True)).over("symbol"))


@leak()
def rolling_shifted_back(candles):
    return x(bars(candles), close.rolling_mean(12).shift(-6).over("symbol"))


@leak()
def rolling_forward_looking(candles):
    return x(bars(candles), close.reverse().rolling_max(6).reverse().over("symbol"))


@leak()
def global_z_score(candles):
    return x(bars(candles), ((close - close.mean()) / close.std()).over("symbol"))


@leak()
def whole_sample_percentile(candles):
    return x(bars(candles), (close.rank() / pl.len()).over("symbol"))


@leak()
def min_max_scaled(candles):
    return x(bars(candles), ((close - close.min()) / (close.max() - close.min())).over("symbol"))


@leak()
def winsorised_by_whole_sample(candles):
    return x(bars(candles).with_columns(r=ret), pl.col("r").clip(pl.col("r").quantile(0.01), pl.col("r").quantile(0.99)))


@leak()
def median_split(candles):
    return x(bars(candles), (pl.col("volume") > pl.col("volume").median()).over("symbol"))


@leak()
def normalised_by_last_price(candles):
    return x(bars(candles), (close / close.last()).over("symbol"))


@leak()
def cumulated_from_the_end(candles):
    return x(bars(candles), pl.col("volume").cum_sum(reverse=True).over("symbol"))


@leak()
def rows_left(candles):
    return x(bars(candles), (pl.len() - pl.int_range(pl.len())).over("symbol"))


@leak()
def backfilled(candles):
    return x(bars(candles), pl.col("spot_close").backward_fill().over("symbol") / close)


@leak({"fear": "raw/fear_greed"})
def backfilled_between_publications(candles, fear):
    known = fear.select(ts="available_at", v="value_pct")
    return x(bars(candles).join(known, on="ts", how="left", maintain_order="left"), pl.col("v").backward_fill().over("symbol"))


@leak()
def interpolated(candles):
    sparse = bars(candles).with_columns(s=pl.when(pl.col("ts").dt.hour() % 6 == 0).then(close))
    return x(sparse, pl.col("s").interpolate().over("symbol") / close)


@leak()
def ffill_after_a_sort_slip(candles):
    rows = candles.sort("symbol", "ts", descending=[False, True]).with_columns(pl.col("ts") + HOUR)
    rows = rows.with_columns(big=pl.when(pl.col("volume") > pl.col("volume").rolling_median(24).over("symbol")).then(close))
    return x(rows, (close / pl.col("big").forward_fill()).over("symbol"))


@leak()
def ffill_across_coins(candles):
    """The first bar of a coin gets the last value of the coin before it."""
    return x(bars(candles), ret.forward_fill())


@leak()
def shift_across_coins(candles):
    return x(bars(candles), close / close.shift(1))


@leak()
def day_labelled_left(candles):
    day = bars(candles).group_by_dynamic("ts", every="1d", group_by="symbol").agg(close.last().alias("x"))
    rows = bars(candles).with_columns(day=pl.col("ts").dt.truncate("1d"))
    return x(rows.join(day.rename({"ts": "day"}), on=["symbol", "day"], how="left"))


@leak()
def four_hours_labelled_left(candles):
    """A row at the left edge of its window: it claims to be known four hours before it is."""
    return x(
        candles.sort("symbol", "ts").group_by_dynamic("ts", every="4h", group_by="symbol").agg(x=close.last() / close.first())
    )


@leak()
def monthly_mean(candles):
    return x(bars(candles).with_columns(m=pl.col("ts").dt.truncate("1mo")), close / close.mean().over("symbol", "m"))


@leak()
def only_at_the_turn_of_the_month(candles):
    last = (pl.col("ts").dt.month() != pl.col("ts").dt.offset_by("1h").dt.month()).over("symbol")
    return x(bars(candles), pl.when(last).then(close.shift(-1) / close).otherwise(0.0).over("symbol"))


@leak()
def only_where_a_value_is_null(candles):
    return x(
        bars(candles),
        pl.when(pl.col("spot_close").is_null()).then(close.shift(-1)).otherwise(pl.col("spot_close")).over("symbol"),
    )


@leak()
def only_one_coin(candles):
    return x(bars(candles), pl.when(pl.col("symbol") == "SOL").then(close.shift(-2)).otherwise(close).over("symbol"))


@leak()
def only_after_a_crash(candles):
    rows = bars(candles).with_columns(r=ret)
    rare = pl.col("r") < pl.col("r").rolling_mean(72).over("symbol") - 3.3 * pl.col("r").rolling_std(72).over("symbol")
    return x(rows, pl.when(rare).then((close.shift(-1) / close).over("symbol")).otherwise(1.0))


@leak()
def only_monday_nine(candles):
    ts = pl.col("ts")
    return x(bars(candles), pl.when((ts.dt.weekday() == 1) & (ts.dt.hour() == 9)).then(close.shift(-1)).over("symbol"))


@leak()
def a_millionth(candles):
    return x(bars(candles), (close + 1e-6 * close.shift(-1)).over("symbol"))


@leak()
def threshold_on_tomorrow(candles):
    return x(bars(candles), (close.shift(-24) > 1.08 * close).over("symbol"))


@leak()
def next_bar_in_a_band(candles):
    r = (close.shift(-1) / close - 1).over("symbol")
    return x(bars(candles), r.is_between(0.004, 0.006))


@leak()
def is_there_a_next_bar(candles):
    later = bars(candles).select("symbol", pl.col("ts") - HOUR, there=pl.lit(1.0))
    return x(bars(candles).join(later, on=["symbol", "ts"], how="left"), pl.col("there").fill_null(0.0))


@leak()
def row_exists_if_the_next_does(candles):
    later = bars(candles).select("symbol", pl.col("ts") - HOUR)
    return x(bars(candles).join(later, on=["symbol", "ts"], how="inner", maintain_order="left"), ret)


@leak()
def winners_only(candles):
    rows = bars(candles).with_columns(up=(close.shift(-24) > close).over("symbol"))
    return x(rows.filter("up"), "close")


@leak()
def survivors_only(candles):
    rows = bars(candles)
    alive = rows.group_by("symbol").agg(last=pl.col("ts").max()).filter(pl.col("last") == pl.col("last").max())
    return x(rows.join(alive, on="symbol", how="semi"), ret)


@leak()
def rank_of_the_next_hour(candles):
    rows = bars(candles).with_columns(r=(close.shift(-1) / close).over("symbol"))
    return x(rows, pl.col("r").rank().over("ts"))


@leak()
def leader_one_bar_early(candles):
    rows = bars(candles)
    btc = rows.filter(pl.col("symbol") == "BTC").select(pl.col("ts") - HOUR, r=ret)
    return x(rows.join(btc, on="ts", how="left"), "r")


@leak()
def stop_inside_the_bar(candles):
    low = pl.col("low").shift(-1).over("symbol")
    return x(bars(candles), pl.when(low < 0.98 * close).then(-0.02).otherwise(0.0))


@leak()
def range_of_the_opening_bar(candles):
    """The bar that opens at `ts`, joined by its open."""
    opening = candles.select("symbol", "ts", range=(pl.col("high") / pl.col("low")).log())
    return x(bars(candles).join(opening, on=["symbol", "ts"], how="left"), "range")


@leak()
def target_encoded_hour(candles):
    rows = bars(candles).with_columns(r=ret, next=ret.shift(-1).over("symbol"), hour=pl.col("ts").dt.hour())
    return x(rows, pl.col("next").mean().over("symbol", "hour"))


@leak()
def mean_of_the_group(candles):
    return x(bars(candles), close / close.mean().over("symbol", pl.col("ts").dt.weekday()))


@leak()
def regression_on_everything(candles):
    def fitted(part):
        r = part["close"].log().diff().fill_null(0.0).to_numpy()
        now, later = r[:-1], r[1:]
        return pl.Series(r * (now @ later) / (now @ now + 1e-12))

    return x(per_coin(bars(candles), fitted))


@leak()
def random_split_regression(candles):
    def fitted(part):
        r = part["close"].log().diff().fill_null(0.0).to_numpy()
        rows = np.random.default_rng(0).permutation(len(r) - 1)[: len(r) // 2] if len(r) > 3 else np.arange(0)
        return pl.Series(np.sign(r * (r[rows] @ r[rows + 1])) * r)

    return x(per_coin(bars(candles), fitted))


@leak()
def scaler_fitted_on_all(candles):
    rows = bars(candles).collect()
    return x(rows.lazy(), pl.col("volume") / rows["volume"].std())


@leak()
def principal_component(candles):
    wide = bars(candles).with_columns(r=ret).collect().pivot(on="symbol", index="ts", values="r").sort("ts")
    values = wide.drop("ts").fill_null(0.0).to_numpy()
    first = np.linalg.svd(values, full_matrices=False)[2][0] if len(values) > 2 else np.zeros(values.shape[1])
    factor = pl.DataFrame({"ts": wide["ts"], "x": values @ first}).lazy()
    return x(bars(candles).join(factor, on="ts", how="left"))


@leak()
def correlation_graph_of_the_whole_sample(candles):
    wide = bars(candles).with_columns(r=ret).collect().pivot(on="symbol", index="ts", values="r").sort("ts")
    names = [c for c in wide.columns if c != "ts"]
    values = wide.select(names).fill_null(0.0).to_numpy()
    with np.errstate(all="ignore"):
        edges = np.nan_to_num(np.corrcoef(values.T)) > 0.3 if len(values) > 2 else np.eye(len(names), dtype=bool)
    mean = values @ edges / np.maximum(edges.sum(axis=0), 1)
    near = pl.DataFrame(mean, schema=names).with_columns(wide["ts"]).unpivot(index="ts", variable_name="symbol", value_name="x")
    return x(bars(candles).join(near.lazy(), on=["symbol", "ts"], how="left"))


@leak()
def smoothed_both_ways(candles):
    from scipy.signal import butter, filtfilt

    b, a = butter(2, 0.1)
    return x(per_coin(bars(candles), lambda p: pl.Series(filtfilt(b, a, p["close"].to_numpy()) if len(p) > 12 else p["close"])))


@leak()
def low_pass_by_fourier(candles):
    def smooth(part):
        f = np.fft.rfft(part["close"].to_numpy())
        f[len(f) // 10 + 1 :] = 0
        return pl.Series(np.fft.irfft(f, len(part)))

    return x(per_coin(bars(candles), smooth))


@leak()
def gradient(candles):
    return x(
        per_coin(bars(candles), lambda p: pl.Series(np.gradient(p["close"].to_numpy()) if len(p) > 1 else np.zeros(len(p))))
    )


@leak()
def detrended(candles):
    def residual(part):
        t, y = np.arange(len(part)), part["close"].to_numpy()
        return pl.Series(y - np.polyval(np.polyfit(t, y, 1), t) if len(part) > 2 else y)

    return x(per_coin(bars(candles), residual))


@leak()
def zigzag_pivots(candles):
    """A local top is one only once the next bars are lower."""
    top = (close > close.shift(1)) & (close > close.shift(-1))
    return x(bars(candles), top.cast(pl.Float64).over("symbol"))


@leak()
def best_window_of_the_sample(candles):
    """A parameter chosen by its result on all data."""
    rows = bars(candles).with_columns(r=ret)
    tried = {h: pl.col("r").rolling_mean(h).over("symbol") for h in (3, 12, 48)}
    scores = rows.select(**{str(h): (e * pl.col("r").shift(-1).over("symbol")).sum() for h, e in tried.items()}).collect()
    best = max(tried, key=lambda h: scores[str(h)][0] or 0.0)
    return x(rows, tried[best])


@leak({"vix": "raw/cboe_vix"})
def daily_on_its_own_day(candles, vix):
    rows = bars(candles).with_columns(day=pl.col("ts").dt.truncate("1d"))
    return x(rows.join(vix.select(day="ts", v="close"), on="day", how="left"), "v")


@leak({"fear": "raw/fear_greed"})
def asof_on_the_day_described(candles, fear):
    return x(bars(candles).sort("ts").join_asof(fear.sort("ts").select("ts", x="value_pct"), on="ts"))


@leak({"tvl": "raw/defillama_tvl"})
def lagged_too_little(candles, tvl):
    """A day's lag where publication takes 27 hours."""
    total = tvl.filter(pl.col("chain") == "Total").sort("available_at").unique("ts", keep="first").sort("ts")
    total = total.select(pl.col("ts") + pl.duration(days=1), x="tvl_usd")
    return x(bars(candles).sort("ts").join_asof(total, on="ts"))


@leak({"tvl": "raw/defillama_tvl"})
def revised_instead_of_first(candles, tvl):
    total = tvl.filter(pl.col("chain") == "Total").sort("ts", "available_at").unique("ts", keep="last", maintain_order=True)
    first = tvl.group_by("ts").agg(pl.col("available_at").min())
    known = total.drop("available_at").join(first, on="ts").select("available_at", x="tvl_usd").sort("available_at")
    return x(bars(candles).sort("ts").join_asof(known, left_on="ts", right_on="available_at"))


@leak({"onchain": "raw/coinmetrics_onchain"})
def nearest_publication(candles, onchain):
    known = onchain.filter(pl.col("metric") == "AdrActCnt").sort("available_at").select("symbol", "available_at", x="value")
    rows = bars(candles).sort("ts")
    return x(rows.join_asof(known, left_on="ts", right_on="available_at", by="symbol", strategy="nearest"))


@leak({"funding": "raw/binance_funding"})
def next_settlement(candles, funding):
    known = funding.sort("ts").select("symbol", "ts", x="funding_rate")
    return x(bars(candles).sort("ts").join_asof(known, on="ts", by="symbol", strategy="forward"))


@leak({"texts": "curated/text_scores"})
def texts_of_the_hour_that_begins(candles, texts):
    by_hour = texts.with_columns(pl.col("ts").dt.truncate("1h")).group_by("symbol", "ts").agg(x=pl.col("score").mean())
    return x(bars(candles).join(by_hour, on=["symbol", "ts"], how="left"))


@leak({"texts": "curated/text_scores"})
def count_of_the_day(candles, texts):
    by_day = texts.group_by("symbol", day=pl.col("ts").dt.date()).agg(x=pl.len())
    return x(bars(candles).with_columns(day=pl.col("ts").dt.date()).join(by_day, on=["symbol", "day"], how="left"))


@leak({"treasury": "raw/treasury_10y"})
def interpolated_yield(candles, treasury):
    known = treasury.sort("available_at").select(ts="available_at", y="yield_pct")
    grid = bars(candles).select("ts").unique().join(known, on="ts", how="full", coalesce=True).sort("ts")
    grid = grid.with_columns(x=pl.col("y").interpolate_by("ts")).unique("ts", keep="last")
    return x(bars(candles).join(grid.select("ts", "x"), on="ts", how="left"))


@leak()
def not_the_same_twice(candles):
    frame = bars(candles).collect()
    return frame.lazy().select("symbol", "ts", x=pl.Series(np.random.default_rng().normal(size=frame.height)))
