"""Clean families that look suspicious: recursion, expanding statistics, corrections, holes, sessions. None may be flagged."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import polars as pl

from crypto_assets.features import FeatureFamily, as_known
from crypto_assets_tests.audit.planting import HOUR, bars, close, per_coin, planter, x

CLEAN: dict[str, FeatureFamily] = {}
clean = planter(CLEAN)
ret = (close / close.shift(1)).log().over("symbol")


@clean(days=2)
def momentum(candles):
    return x(candles.sort("symbol", "ts").with_columns(pl.col("ts") + HOUR), close.pct_change(24).over("symbol"))


@clean(days=30)
def exponential_mean(candles):
    return x(bars(candles), close / close.ewm_mean(span=24).over("symbol"))


@clean(days=2)
def exponential_mean_with_a_short_lookback(candles):
    return x(bars(candles), close / close.ewm_mean(span=24).over("symbol"))


@clean(days=30)
def relative_strength(candles):
    import polars_talib as ta

    return x(bars(candles), ta.rsi(close, timeperiod=14).over("symbol"))


@clean(days=40)
def expanding_z_score(candles):
    n = pl.int_range(1, pl.len() + 1)
    mean = close.cum_sum() / n
    variance = (close.pow(2).cum_sum() / n - mean.pow(2)).clip(0.0)
    return x(bars(candles), ((close - mean) / (variance.sqrt() + 1e-9 * close)).over("symbol"))


@clean(days=40)
def expanding_rank(candles):
    def rank(part):
        v = part["close"].to_numpy()
        return pl.Series([float((v[: i + 1] <= v[i]).mean()) for i in range(len(v))])

    return x(per_coin(bars(candles), rank))


@clean(days=40)
def drawdown(candles):
    return x(bars(candles), (close / close.cum_max() - 1).over("symbol"))


@clean(days=40)
def bars_so_far(candles):
    return x(bars(candles), pl.int_range(pl.len()).over("symbol"))


@clean(days=40)
def on_balance_volume(candles):
    signed = pl.when(ret > 0).then(pl.col("volume")).otherwise(-pl.col("volume"))
    return x(bars(candles).with_columns(s=signed), pl.col("s").cum_sum().over("symbol"))


@clean(days=40)
def normalised_by_first_price(candles):
    return x(bars(candles), (close / close.first()).over("symbol"))


@clean()
def yesterdays_close(candles):
    """Complete days only, joined from the next day on."""
    rows = bars(candles)
    day = candles.sort("symbol", "ts").group_by_dynamic("ts", every="1d", group_by="symbol").agg(y=close.last())
    day = day.with_columns((pl.col("ts") + pl.duration(days=1)).alias("ts")).sort("ts")
    return x(rows.sort("ts").join_asof(day, on="ts", by="symbol"), close / pl.col("y"))


@clean()
def four_hours_labelled_right(candles):
    whole = (
        candles.sort("symbol", "ts").group_by_dynamic("ts", every="4h", group_by="symbol", label="right").agg(y=close.last())
    )
    return x(bars(candles).sort("ts").join_asof(whole.sort("ts"), on="ts", by="symbol"), close / pl.col("y"))


@clean()
def day_so_far(candles):
    day = candles.sort("symbol", "ts").with_columns(day=pl.col("ts").dt.date())
    return x(day.with_columns(pl.col("ts") + HOUR), (close / pl.col("open").first()).over("symbol", "day"))


@clean()
def session(candles):
    return x(bars(candles), pl.col("ts").dt.hour().is_between(13, 20).cast(pl.Float64) * ret)


@clean(days=30)
def mean_of_this_hour_in_the_past(candles):
    rows = bars(candles).with_columns(r=ret, hour=pl.col("ts").dt.hour())
    mean = pl.col("r").shift(1).rolling_mean(10, min_samples=3)
    return x(rows, mean.over("symbol", "hour"))


@clean()
def lag_on_a_full_grid(candles):
    grid = bars(candles).collect().upsample("ts", every="1h", group_by="symbol", maintain_order=True)
    grid = grid.with_columns(pl.col("symbol").forward_fill()).lazy()
    return x(grid.with_columns(x=(close / close.shift(3)).over("symbol")))


@clean()
def filled_forward_on_a_full_grid(candles):
    grid = bars(candles).collect().upsample("ts", every="1h", group_by="symbol", maintain_order=True)
    return x(grid.with_columns(pl.col("symbol").forward_fill()).lazy(), close.forward_fill().over("symbol"))


@clean()
def every_coin_at_every_hour(candles):
    rows = bars(candles)
    grid = rows.select("ts").unique().join(rows.select("symbol").unique(), how="cross").sort("symbol", "ts")
    return x(
        grid.join(rows.select("symbol", "ts", "close"), on=["symbol", "ts"], how="left", maintain_order="left"),
        close.forward_fill().over("symbol"),
    )


@clean()
def joined_on_time(candles):
    rows = bars(candles).select("symbol", "ts", "close")
    before = rows.select("symbol", pl.col("ts") + pl.duration(hours=24), before="close")
    return x(rows.join(before, on=["symbol", "ts"], how="left"), close / pl.col("before"))


@clean()
def filled_forward(candles):
    return x(bars(candles), pl.col("spot_close").forward_fill().over("symbol"))


@clean()
def rank_among_coins(candles):
    return x(bars(candles).with_columns(r=ret), (pl.col("r").rank() / pl.len()).over("ts"))


@clean()
def relative_to_the_market(candles):
    rows = bars(candles).with_columns(r=ret)
    market = rows.group_by("ts").agg(m=pl.col("r").mean())
    return x(rows.join(market, on="ts", how="left"), pl.col("r") - pl.col("m"))


@clean()
def leader_one_bar_late(candles):
    rows = bars(candles)
    btc = rows.filter(pl.col("symbol") == "BTC").select(pl.col("ts") + HOUR, r=ret)
    return x(rows.join(btc, on="ts", how="left"), "r")


@clean(days=12)
def rolling_correlation_with_the_leader(candles):
    rows = bars(candles).with_columns(r=ret)
    btc = rows.filter(pl.col("symbol") == "BTC").select("ts", b="r")
    rows = rows.join(btc, on="ts", how="left", maintain_order="left")
    return x(rows, pl.rolling_corr(pl.col("r"), pl.col("b"), window_size=168).over("symbol"))


@clean(days=12)
def rolling_by_time(candles):
    return x(bars(candles), close / close.rolling_mean_by("ts", "36h").over("symbol"))


@clean(days=12)
def rolling_quantile(candles):
    return x(bars(candles), pl.col("volume").rolling_quantile(0.9, window_size=72).over("symbol"))


@clean(days=30)
def breakout(candles):
    return x(bars(candles), (close > pl.col("high").shift(1).rolling_max(48)).over("symbol"))


@clean(days=30)
def causal_filter(candles):
    from scipy.signal import butter, lfilter

    b, a = butter(2, 0.1)
    return x(per_coin(bars(candles), lambda p: pl.Series(lfilter(b, a, p["close"].to_numpy()))))


@clean(days=30)
def causal_convolution_by_fourier(candles):
    """Rounding errors of a transform reach everywhere; they are no leak."""
    from scipy.signal import fftconvolve

    kernel = np.full(24, 1 / 24)
    return x(per_coin(bars(candles), lambda p: pl.Series(fftconvolve(p["close"].to_numpy(), kernel)[: len(p)])))


@clean(days=10)
def walk_forward_regression(candles):
    def fitted(part):
        r = part["close"].log().diff().fill_null(0.0).to_numpy()
        xy, xx = np.cumsum(r[:-1] * r[1:]), np.cumsum(r[:-1] ** 2)
        beta = np.concatenate([[0.0], xy / (xx + 1e-12)])[: len(r)]
        return pl.Series(beta * r)

    return x(per_coin(bars(candles), fitted))


@clean()
def seeded_noise(candles):
    def noise(part):
        hours = part["ts"].to_physical().to_numpy() // 3_600_000_000
        return pl.Series(np.sin(hours * 12.9898) * 43758.5453 % 1.0)

    return x(per_coin(bars(candles), noise))


@clean()
def constant(candles):
    return x(bars(candles), pl.lit(1.0))


@clean({"funding": "raw/binance_funding"})
def last_funding(candles, funding):
    known = as_known(funding, bars(candles).select("symbol", "ts"), max_age=timedelta(days=1), columns=["funding_rate"])
    return x(known, "funding_rate")


@clean({"funding": "raw/binance_funding"})
def funding_joined_on_publication(candles, funding):
    known = funding.sort("available_at").select("symbol", "available_at", x="funding_rate")
    return x(bars(candles).sort("ts").join_asof(known, left_on="ts", right_on="available_at", by="symbol"))


@clean({"fear": "raw/fear_greed"})
def fear_two_days_late(candles, fear):
    """A fixed lag longer than any publication takes."""
    late = fear.sort("ts").select(pl.col("ts") + pl.duration(days=2), x="value_pct")
    return x(bars(candles).sort("ts").join_asof(late, on="ts"))


@clean({"tvl": "raw/defillama_tvl"}, days=12)
def value_locked_as_known(candles, tvl):
    total = tvl.filter(pl.col("chain") == "Total")
    return x(
        as_known(total, bars(candles).select("symbol", "ts"), by=(), max_age=timedelta(days=6), columns=["tvl_usd"]), "tvl_usd"
    )


@clean({"onchain": "raw/coinmetrics_onchain"}, days=20)
def week_of_first_prints(candles, onchain):
    first = onchain.filter(pl.col("metric") == "AdrActCnt").sort("symbol", "ts", "available_at")
    first = first.unique(["symbol", "ts"], keep="first", maintain_order=True)
    moves = first.with_columns(change=pl.col("value").log().diff(7).over("symbol"))
    return x(as_known(moves, bars(candles).select("symbol", "ts"), max_age=timedelta(days=6), columns=["change"]), "change")


@clean({"texts": "curated/text_scores"})
def texts_of_the_hour_that_ended(candles, texts):
    by_hour = texts.with_columns(ts=(pl.col("available_at") - pl.duration(microseconds=1)).dt.truncate("1h") + HOUR)
    by_hour = by_hour.group_by("symbol", "ts").agg(x=pl.col("score").mean(), n=pl.len())
    return x(bars(candles).join(by_hour, on=["symbol", "ts"], how="left"), pl.col("x").fill_null(0.0))


@clean({"news": "raw/news"})
def headlines_of_the_last_day(candles, news):
    counts = news.group_by(ts=pl.col("available_at").dt.truncate("1h") + HOUR).agg(n=pl.len()).sort("ts")
    hours = bars(candles).select("ts").unique().join(counts, on="ts", how="left").sort("ts")
    hours = hours.with_columns(x=pl.col("n").fill_null(0).rolling_sum_by("ts", "24h"))
    return x(bars(candles).join(hours.select("ts", "x"), on="ts", how="left"))


@clean({"spot": "raw/binance_candles"})
def spot_against_perpetual(candles, spot):
    first = spot.sort("symbol", "ts", "available_at").unique(["symbol", "ts"], keep="first", maintain_order=True)
    first = first.select("symbol", ts="available_at", s="close")
    return x(bars(candles).join(first, on=["symbol", "ts"], how="left"), close / pl.col("s"))
