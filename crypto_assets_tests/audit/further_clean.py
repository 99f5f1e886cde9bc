"""The clean twins of the further leaks: the same ideas, done with what was known."""

from __future__ import annotations

import numpy as np
import polars as pl

from crypto_assets.features import FeatureFamily
from crypto_assets_tests.audit.further_leaks import grid
from crypto_assets_tests.audit.planting import HOUR, bars, close, per_coin, planter, x

FURTHER_CLEAN: dict[str, FeatureFamily] = {}
clean = planter(FURTHER_CLEAN)
ret = (close / close.shift(1)).log().over("symbol")


@clean()
def coins_with_a_bar(candles):
    return x(bars(candles), pl.len().over("ts"))


@clean(days=12)
def return_over_the_grid(candles):
    """Holes counted as hours, on a grid from which only the coin's own bars are read."""
    rows = grid(candles).join(bars(candles).select("symbol", "ts", "close"), on=["symbol", "ts"], how="left")
    return x(rows.sort("symbol", "ts"), (close / close.shift(24)).over("symbol")).filter(pl.col("x").is_not_null())


@clean(days=40)
def cumulated_in_ascending_order(candles):
    return x(bars(candles), pl.col("volume").cum_sum().over("symbol"))


@clean()
def shifted_in_order_of_time(candles):
    return x(bars(candles), close.shift(1).over("symbol", order_by="ts") / close)


@clean()
def window_that_ends_at_the_row(candles):
    rows = bars(candles)
    behind = rows.rolling("ts", period="4h", closed="both", group_by="symbol").agg(m=close.mean())
    return x(rows.join(behind, on=["symbol", "ts"], how="left"), close / pl.col("m"))


@clean()
def joined_on_the_hour_rounded_down(candles):
    rows = bars(candles).with_columns(down=pl.col("ts").dt.truncate("4h"))
    earlier = bars(candles).select("symbol", down="ts", earlier="close")
    return x(rows.join(earlier, on=["symbol", "down"], how="left"), pl.col("earlier") / close)


@clean()
def joined_backward_with_a_tolerance(candles):
    rows = bars(candles).sort("ts")
    earlier = rows.select("symbol", pl.col("ts") + pl.duration(minutes=1), earlier="close")
    return x(rows.join_asof(earlier, on="ts", by="symbol", strategy="backward", tolerance="2h"), pl.col("earlier") / close)


@clean()
def high_of_the_local_day_so_far(candles):
    day = pl.col("ts").dt.convert_time_zone("Pacific/Kiritimati").dt.date()
    return x(bars(candles).with_columns(day=day), (close / pl.col("high").cum_max()).over("symbol", "day"))


@clean(days=40)
def hours_since_listing(candles):
    return x(bars(candles), (pl.col("ts") - pl.col("ts").min()).dt.total_hours().over("symbol"))


@clean(days=40)
def mean_return_so_far(candles):
    rows = bars(candles).with_columns(r=ret.fill_null(0.0))
    return x(rows, (pl.col("r").cum_sum() / pl.int_range(1, pl.len() + 1)).over("symbol"))


@clean(days=12)
def bin_of_the_last_week(candles):
    low, high = (pl.col("volume").rolling_quantile(q, window_size=168) for q in (0.2, 0.8))
    return x(bars(candles), ((pl.col("volume") > low).cast(pl.Int8) + (pl.col("volume") > high)).over("symbol"))


@clean(days=30)
def kalman_filtered(candles):
    def filtered(part):
        y = part["close"].log().to_numpy()
        up = np.array(y)
        for t in range(1, len(y)):
            up[t] = up[t - 1] + 0.3 * (y[t] - up[t - 1])
        return pl.Series(up)

    return x(per_coin(bars(candles), filtered))


@clean()
def haar_wavelet_of_past_pairs(candles):
    """The mean of this bar and the one before, at even hours; what it was an hour ago, at odd ones."""
    pair = ((close + close.shift(1)) / 2).over("symbol")
    rows = bars(candles).with_columns(p=pl.when(pl.col("ts").dt.hour() % 2 == 0).then(pair))
    return x(rows, pl.col("p").forward_fill(1).over("symbol"))


@clean({"funding": "raw/binance_funding"})
def funding_carried_on(candles, funding):
    known = funding.sort("available_at").select("symbol", "available_at", x="funding_rate")
    rows = bars(candles).sort("ts")
    return x(rows.join_asof(known, left_on="ts", right_on="available_at", by="symbol", tolerance="1d"))


@clean()
def share_of_the_days_volume_so_far(candles):
    share = pl.col("volume") / pl.col("volume").cum_sum()
    return x(bars(candles), share.over("symbol", (pl.col("ts") - HOUR).dt.date()))


@clean(days=12)
def neighbour_of_the_last_week(candles):
    """The coin that did most like this one in the week before the day began, and its last return."""
    wide = bars(candles).with_columns(r=ret).collect().pivot(on="symbol", index="ts", values="r").sort("ts")
    names = sorted(c for c in wide.columns if c != "ts")
    values = wide.select(names).fill_null(0.0).to_numpy()
    days, out = wide["ts"].dt.date().to_list(), np.zeros_like(values)
    first = {day: i for i, day in reversed(list(enumerate(days)))}
    hours = wide["ts"].to_list()
    for t, day in enumerate(days):
        week = [i for i in range(max(0, first[day] - 200), first[day]) if (hours[first[day]] - hours[i]).days < 7]
        with np.errstate(all="ignore"):
            alike = np.nan_to_num(np.corrcoef(values[week].T)) if len(week) > 24 and len(names) > 1 else -np.eye(len(names))
        np.fill_diagonal(alike, -2.0)
        out[t] = values[t][np.round(alike, 9).argmax(axis=1)]
    near = pl.DataFrame(out, schema=names).with_columns(wide["ts"]).unpivot(index="ts", variable_name="symbol", value_name="x")
    return x(bars(candles).join(near.lazy(), on=["symbol", "ts"], how="left")).filter(pl.col("x").is_not_null())
