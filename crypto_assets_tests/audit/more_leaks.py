"""More planted leaks: by pandas, scikit-learn and scipy, of rare rows, of whole days, of what exists."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import pandas as pd
import polars as pl

from crypto_assets.features import FeatureFamily, as_known
from crypto_assets_tests.audit.planting import bars, close, per_coin, planter, x

MORE_LEAKS: dict[str, FeatureFamily] = {}
leak = planter(MORE_LEAKS)
ret = (close / close.shift(1)).log().over("symbol")


def in_pandas(candles, function):
    frame = bars(candles).collect().to_pandas()
    frame["x"] = np.nan
    made = pl.from_pandas(function(frame)[["symbol", "ts", "x"]])
    return made.with_columns(pl.col("ts").cast(pl.Datetime("us", "UTC")), pl.col("x").cast(pl.Float64).fill_nan(None)).lazy()


@leak()
def pd_daily_ffill(candles):
    def f(d):
        day = d.set_index("ts").groupby("symbol")["close"].resample("1D").last().rename("dc").reset_index()
        return pd.merge_asof(d.sort_values("ts"), day.sort_values("ts"), on="ts", by="symbol").assign(
            x=lambda q: q.close / q.dc
        )

    return in_pandas(candles, f)


@leak()
def pd_center(candles):
    return in_pandas(
        candles,
        lambda d: d.assign(x=d.groupby("symbol").close.transform(lambda s: s.rolling(7, center=True, min_periods=1).mean())),
    )


@leak()
def pd_qcut(candles):
    return in_pandas(
        candles,
        lambda d: d.assign(x=d.groupby("symbol").volume.transform(lambda s: pd.qcut(s, 5, labels=False, duplicates="drop"))),
    )


@leak()
def pd_date_max(candles):
    return in_pandas(candles, lambda d: d.assign(x=d.groupby(["symbol", d.ts.dt.date]).high.transform("max") / d.close))


@leak()
def pd_rev_ffill(candles):
    return in_pandas(
        candles, lambda d: d.sort_values(["symbol", "ts"], ascending=[True, False]).assign(x=lambda q: q.spot_close.ffill())
    )


@leak()
def sk_scaler(candles):
    from sklearn.preprocessing import StandardScaler

    def f(d):
        v = d[["volume", "close"]].to_numpy()
        return d.assign(x=StandardScaler().fit_transform(v)[:, 0])

    return in_pandas(candles, f)


@leak()
def sk_kmeans(candles):
    from sklearn.cluster import KMeans

    def f(d):
        d["r"] = d.groupby("symbol").close.pct_change().fillna(0)
        v = np.column_stack([d.r * 100, np.log(d.volume + 1)])
        return d.assign(x=KMeans(4, n_init=1, random_state=0, max_iter=20).fit_predict(v) if len(d) > 10 else 0)

    return in_pandas(candles, f)


@leak()
def savgol(candles):
    from scipy.signal import savgol_filter

    return x(
        per_coin(
            bars(candles),
            lambda p: pl.Series(savgol_filter(p["close"].to_numpy(), 11, 2) if len(p) > 11 else p["close"].to_numpy()),
        )
    )


@leak()
def coins_ever_listed(candles):
    r = bars(candles)
    n = r.select(n=pl.col("symbol").n_unique()).collect()["n"][0]
    return x(r, pl.lit(float(n)))


@leak()
def fill_mean(candles):
    return x(bars(candles), pl.col("spot_close").fill_null(strategy="mean").over("symbol"))


@leak()
def drop_outliers(candles):
    r = bars(candles).with_columns(r=ret)
    return x(r.filter((pl.col("r").abs() < 4 * pl.col("r").std()) | pl.col("r").is_null()), "r")


@leak()
def half_hour(candles):
    return candles.sort("symbol", "ts").select("symbol", pl.col("ts") + pl.duration(minutes=30), x=ret)


@leak({"v": "raw/cboe_vix"})
def known_by_ts(candles, v):
    return x(
        as_known(
            v.with_columns(available_at=pl.col("ts")),
            bars(candles).select("symbol", "ts"),
            by=(),
            max_age=timedelta(days=6),
            columns=["close"],
        ),
        "close",
    )


@leak({"news": "raw/news"})
def news_hour_down(candles, news):
    n = news.group_by(ts=pl.col("available_at").dt.truncate("1h")).agg(x=pl.len())
    return x(bars(candles).join(n, on="ts", how="left"), pl.col("x").fill_null(0))


@leak({"funding": "raw/binance_funding"})
def funding_day(candles, funding):
    d = funding.group_by("symbol", day=pl.col("ts").dt.date()).agg(x=pl.col("funding_rate").mean())
    return x(bars(candles).with_columns(day=pl.col("ts").dt.date()).join(d, on=["symbol", "day"], how="left"))


@leak()
def week_close(candles):
    return x(bars(candles), close / close.last().over("symbol", pl.col("ts").dt.truncate("1w")))


@leak()
def day_vwap(candles):
    v = (close * pl.col("volume")).sum() / pl.col("volume").sum()
    return x(bars(candles), close / v.over("symbol", pl.col("ts").dt.date()))


@leak()
def triple_barrier(candles):
    up = pl.col("high").reverse().rolling_max(24, min_samples=1).reverse().shift(-1)
    dn = pl.col("low").reverse().rolling_min(24, min_samples=1).reverse().shift(-1)
    return x(
        bars(candles), (pl.when(up > close * 1.02).then(1.0).when(dn < close * 0.98).then(-1.0).otherwise(0.0)).over("symbol")
    )


@leak({"onchain": "raw/coinmetrics_onchain"})
def last_version(candles, onchain):
    o = (
        onchain.filter(pl.col("metric") == "TxCnt")
        .sort("ts", "available_at")
        .group_by("symbol", "ts")
        .agg(v=pl.col("value").last())
        .with_columns(ts=pl.col("ts") + pl.duration(hours=27))
        .sort("ts")
    )
    return x(bars(candles).sort("ts").join_asof(o, on="ts", by="symbol"), "v")


@leak()
def hour_effect_sol(candles):
    r = bars(candles).with_columns(r=ret, h=pl.col("ts").dt.hour())
    return x(
        r, pl.when(pl.col("symbol") == "SOL").then(pl.col("r") - pl.col("r").mean().over("symbol", "h")).otherwise(pl.col("r"))
    )


@leak()
def row_count(candles):
    r = bars(candles)
    return x(r, pl.len().over("symbol"))


@leak()
def seeded_by_length(candles):
    f = bars(candles).collect()
    return f.lazy().select("symbol", "ts", x=pl.Series(np.random.default_rng(f.height).normal(size=f.height)))


@leak()
def year_turn(candles):
    return x(
        bars(candles),
        pl.when((pl.col("ts").dt.month() == 12) & (pl.col("ts").dt.day() == 31) & (pl.col("ts").dt.hour() == 20))
        .then(close.shift(-1))
        .over("symbol"),
    )


@leak()
def next_dispute(candles):
    return x(bars(candles), pl.col("is_disputed").cast(pl.Float64).shift(-1).fill_null(0).over("symbol"))


@leak()
def poc(candles):
    def f(p):
        c, v = p["close"].to_numpy(), p["volume"].to_numpy()
        h, e = np.histogram(c, bins=20, weights=v)
        return pl.Series(c / e[h.argmax()])

    return x(per_coin(bars(candles), f))


@leak()
def future_drawdown(candles):
    return x(bars(candles), (close.reverse().cum_min().reverse() / close).over("symbol"))


@leak()
def reversed_ewm(candles):
    return x(bars(candles), close.reverse().ewm_mean(span=5).reverse().over("symbol"))


@leak({"t": "raw/treasury_10y"})
def treasury_20h(candles, t):
    return x(
        bars(candles).sort("ts").join_asof(t.sort("ts").select(pl.col("ts") + pl.duration(hours=20), x="yield_pct"), on="ts")
    )


@leak()
def hidden_digits(candles):
    return x(bars(candles), close * (1 + 1e-8 * (close.shift(-1) > close).cast(pl.Float64)).over("symbol"))


@leak()
def cointegration(candles):
    r = bars(candles).with_columns(l=close.log())
    b = r.filter(pl.col("symbol") == "BTC").select("ts", b="l")
    r = r.join(b, on="ts", how="left")
    beta = (pl.cov("l", "b") / pl.col("b").var()).over("symbol")
    return x(r, pl.col("l") - beta * pl.col("b"))


@leak()
def next_source(candles):
    return x(bars(candles), (pl.col("source").shift(-1) == pl.col("source")).fill_null(False).over("symbol"))


@leak()
def gap_ahead(candles):
    return x(bars(candles), ((pl.col("ts").shift(-1) - pl.col("ts")).dt.total_hours() > 1).fill_null(False).over("symbol"))


@leak()
def universe_rank_by_total_volume(candles):
    r = bars(candles)
    t = r.group_by("symbol").agg(t=pl.col("volume").sum()).with_columns(x=pl.col("t").rank())
    return x(r.join(t, on="symbol", how="left"))


@leak()
def best_coin_of_sample(candles):
    r = bars(candles)
    t = r.group_by("symbol").agg(t=close.last() / close.first()).sort("t").tail(1).select("symbol", best=pl.lit(1.0))
    return x(r.join(t, on="symbol", how="left"), pl.col("best").fill_null(0))


@leak()
def zero_volume(candles):
    return x(bars(candles), pl.when(pl.col("volume") == 0).then(close.shift(-1) / close).over("symbol"))


@leak()
def big_crash(candles):
    return x(bars(candles), pl.when(ret < -0.08).then((close.shift(-1) / close).over("symbol")).otherwise(1.0))


@leak()
def when_disputed(candles):
    return x(bars(candles), pl.when(pl.col("is_disputed")).then((close.shift(-1)).over("symbol")).otherwise(close))
