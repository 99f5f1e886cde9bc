"""More clean families: by pandas, with windows that refuse few rows, graphs as of each day, trailing stops."""

from __future__ import annotations

import numpy as np
import pandas as pd
import polars as pl

from crypto_assets.features import FeatureFamily
from crypto_assets_tests.audit.more_leaks import in_pandas
from crypto_assets_tests.audit.planting import bars, close, per_coin, planter, x

MORE_CLEAN: dict[str, FeatureFamily] = {}
clean = planter(MORE_CLEAN)
ret = (close / close.shift(1)).log().over("symbol")


@clean()
def pd_ewm(candles):
    return in_pandas(
        candles, lambda d: d.assign(x=d.groupby("symbol").close.transform(lambda s: s.ewm(span=12, adjust=False).mean()))
    )


@clean()
def pd_roll_apply(candles):
    return in_pandas(candles, lambda d: d.assign(x=d.groupby("symbol").close.transform(lambda s: s.rolling(24).std())))


@clean()
def pd_yesterday(candles):
    def f(d):
        day = (
            d.assign(ts=d.ts - pd.Timedelta("1h"))
            .set_index("ts")
            .groupby("symbol")["close"]
            .resample("1D")
            .last()
            .rename("dc")
            .reset_index()
        )
        day["ts"] = day.ts + pd.Timedelta("1D")
        return pd.merge_asof(d.sort_values("ts"), day.sort_values("ts"), on="ts", by="symbol").assign(
            x=lambda q: q.close / q.dc
        )

    return in_pandas(candles, f)


@clean()
def sliding_ols(candles):
    def f(p):
        y = p["close"].log().to_numpy()
        w = np.lib.stride_tricks.sliding_window_view(y, 24)
        t = np.arange(24) - 11.5
        return pl.Series(np.concatenate([np.full(23, np.nan), w @ t / (t @ t)])).fill_nan(None)

    return x(per_coin(bars(candles), f))


@clean({"funding": "raw/binance_funding"})
def funding_sum3(candles, funding):
    f = (
        funding.sort("symbol", "ts")
        .with_columns(s=pl.col("funding_rate").rolling_sum(3).over("symbol"))
        .select("symbol", "available_at", x="s")
        .sort("available_at")
    )
    return x(bars(candles).sort("ts").join_asof(f, left_on="ts", right_on="available_at", by="symbol"))


@clean({"onchain": "raw/coinmetrics_onchain"})
def newest_known(candles, onchain):
    o = onchain.filter(pl.col("metric") == "TxCnt").sort("available_at", "ts").select("symbol", "available_at", x="value")
    return x(bars(candles).sort("ts").join_asof(o, left_on="ts", right_on="available_at", by="symbol"))


@clean()
def ichimoku(candles):
    def middle(n):
        return (pl.col("high").rolling_max(n) + pl.col("low").rolling_min(n)) / 2

    return x(bars(candles), ((middle(9) + middle(26)) / 2).shift(26).over("symbol") / close)


@clean()
def graph_asof(candles):
    w = bars(candles).with_columns(r=ret).collect().pivot(on="symbol", index="ts", values="r").sort("ts")
    names = [c for c in w.columns if c != "ts"]
    v = w.select(names).fill_null(0.0).to_numpy()
    out = np.zeros_like(v)
    for t in range(168, len(v)):
        if t % 24 == 0 or t == 168:
            with np.errstate(all="ignore"):
                e = np.nan_to_num(np.corrcoef(v[t - 168 : t].T)) > 0.3
        out[t] = v[t] @ e / np.maximum(e.sum(0), 1)
    n = pl.DataFrame(out, schema=names).with_columns(w["ts"]).unpivot(index="ts", variable_name="symbol", value_name="x")
    return x(bars(candles).join(n.lazy(), on=["symbol", "ts"], how="left"))


@clean()
def coins_so_far(candles):
    r = bars(candles).collect()
    f = (
        r.group_by("symbol")
        .agg(pl.col("ts").min())
        .sort("ts")
        .with_columns(n=pl.int_range(1, pl.len() + 1))
        .unique("ts", keep="last")
        .sort("ts")
    )
    return x(r.sort("ts").lazy().join_asof(f.lazy().select("ts", "n"), on="ts"), "n")


@clean()
def market_mean_rolled(candles):
    r = bars(candles).with_columns(r=ret)
    m = r.group_by("ts").agg(m=pl.col("r").mean()).sort("ts").with_columns(m24=pl.col("m").rolling_mean(24))
    return x(r.join(m, on="ts", how="left").sort("symbol", "ts"), pl.col("r").rolling_sum(24).over("symbol") - pl.col("m24"))


@clean()
def join_left_then_roll(candles):
    r = bars(candles).with_columns(r=ret)
    m = r.group_by("ts").agg(m=pl.col("r").mean())
    return x(
        r.join(m, on="ts", how="left", maintain_order="left").with_columns(e=pl.col("r") - pl.col("m")),
        pl.col("e").rolling_mean(24).over("symbol"),
    )


@clean({"v": "raw/cboe_vix"})
def vix_two_days(candles, v):
    return x(bars(candles).sort("ts").join_asof(v.sort("ts").select(pl.col("ts") + pl.duration(days=2), x="close"), on="ts"))


@clean()
def supertrend(candles):
    def direction(part):
        high, low, last = (part[name].to_numpy() for name in ("high", "low", "close"))
        before = np.concatenate([last[:1], last[:-1]])
        spread = np.maximum(high, before) - np.minimum(low, before)
        side, stop, width = np.ones(len(last)), last.copy(), spread.copy()
        for i in range(1, len(last)):
            width[i] = 0.9 * width[i - 1] + 0.1 * spread[i]
            side[i] = side[i - 1] if side[i - 1] * (last[i] - stop[i - 1]) > 0 else -side[i - 1]
            level = (high[i] + low[i]) / 2 - 3 * side[i] * width[i]
            kept = side[i] == side[i - 1]
            stop[i] = side[i] * max(side[i] * level, side[i] * stop[i - 1]) if kept else level
        return pl.Series(side)

    return x(per_coin(bars(candles), direction))


@clean({"onchain": "raw/coinmetrics_onchain"})
def pivoted(candles, onchain):
    o = (
        onchain.collect()
        .pivot(on="metric", index=["symbol", "ts", "available_at"], values="value", aggregate_function="first")
        .sort("available_at", "ts")
        .lazy()
        .select("symbol", "available_at", x=pl.col("CapMVRVCur"))
    )
    return x(bars(candles).sort("ts").join_asof(o, left_on="ts", right_on="available_at", by="symbol"))
