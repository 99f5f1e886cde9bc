"""Flow of trades by the minute, for the family `microstructure`.

A minute's flow is what takers bought less what they sold, in USDT. Its impact is the slope of the minutes' log returns on it
(Kyle, Econometrica 53, 1985), here for a flow of one mean minute's volume.
"""

from __future__ import annotations

from datetime import timedelta

import polars as pl

from crypto_assets.features._bars import GONE_H, TINY, rolling, trading, z_score
from crypto_assets.features._family import Column
from crypto_assets.features._totals import COUNT, totals

SPANS = (1, 4, 24)
WEEK_H = 168
FEWEST = 10
"""Minutes in a slope."""


def _hours(hours: int) -> timedelta:
    return timedelta(hours=hours)


def _columns() -> dict[str, Column]:
    out = {}
    for h in SPANS:
        span = _hours(h)
        out[f"trade_imbalance_{h}h"] = Column(f"what takers bought less what they sold over {h} h, of both", "-1 to 1", span)
        out[f"buy_minutes_{h}h"] = Column(
            f"share of minutes of {h} h in which takers bought more, less a half", "fraction", span
        )
        out[f"buy_persistence_{h}h"] = Column(
            f"mean product of the flow's sign and the minute before's over {h} h", "-1 to 1", span
        )
        out[f"vwap_deviation_{h}h"] = Column(f"log of the last trade over the volume-weighted price of {h} h", "log", span)
        out[f"impact_{h}h"] = Column(
            f"return for a flow of a mean minute's volume of 24 h, slope over {h} h", "bps", _hours(24)
        )
    out["flow_correlation_24h"] = Column("correlation of the minutes' returns and flow over 24 h", "", _hours(24))
    out["trade_count_z_168h"] = Column("log of 1 + the hour's trades against the last 168 h", "sd", _hours(WEEK_H))
    out["trade_size_z_168h"] = Column("log of the hour's mean trade in USDT against the last 168 h", "sd", _hours(WEEK_H))
    out["minute_log_rv_1h"] = Column("log of the sum of squared minute returns of the hour", "log", _hours(1))
    out["minute_log_rv_24h"] = Column("log of the mean of those sums over 24 h", "log", _hours(24))
    return out


COLUMNS = _columns()


def flow(trades: pl.LazyFrame, grid: pl.DataFrame) -> pl.DataFrame:
    """COLUMNS at each row of a complete hourly grid, in its order; a window counts where four fifths of its hours are known."""
    made = hours_of(trades)
    rows = grid.select("symbol", "ts", "is_bar").join(made, on=["symbol", "ts"], how="left", maintain_order="left")
    rows = rows.with_columns(pl.when(trading(GONE_H)).then(pl.col(made.columns[2:])))
    sums = {name: {h: _sum(name, h) for h in SPANS} for name in ("volume", "bought", "usd", "up", "signs", "pairs", "minutes")}
    minute = sums["usd"][24] / sums["minutes"][24]
    found: dict[str, pl.Expr] = {}
    for h in SPANS:
        s = {name: sums[name][h] for name in sums}
        slope, _ = _regression(h)
        found |= {
            f"trade_imbalance_{h}h": (2 * s["bought"] - s["volume"]) / s["volume"],
            f"buy_minutes_{h}h": s["up"] / s["minutes"] - 0.5,
            f"buy_persistence_{h}h": s["signs"] / s["pairs"],
            f"vwap_deviation_{h}h": (pl.col("close") * s["volume"] / s["usd"]).log(),
            f"impact_{h}h": slope * minute * 1e4,
        }
    size = (pl.col("usd") / pl.when(pl.col("trades") > 0).then(pl.col("trades"))).log()
    found |= {
        "flow_correlation_24h": _regression(24)[1],
        "trade_count_z_168h": z_score(pl.col("trades").log1p(), WEEK_H),
        "trade_size_z_168h": z_score(pl.when(size.is_finite()).then(size), WEEK_H),
        "minute_log_rv_1h": (pl.col("rr") + TINY).log(),
        "minute_log_rv_24h": (rolling(pl.col("rr"), 24) + TINY).log(),
    }
    return rows.select(**found)


def hours_of(trades: pl.LazyFrame) -> pl.DataFrame:
    """By symbol and `ts`, the end of an hour: sums over its minutes as known then.

    Returns are from minute to minute within the hour; `n, x, r, xx, rr, xr` are the sums of their regression on the flow.
    """
    end = pl.col("ts").dt.truncate("1h") + pl.duration(hours=1)
    minutes = (
        trades.with_columns(ts=end, minute="ts")
        .filter(pl.col("available_at") <= pl.col("ts"))
        .sort("symbol", "minute", "available_at")
        .unique(["symbol", "minute"], keep="first", maintain_order=True)
        .collect()
    )
    follows = (pl.col("symbol") == pl.col("symbol").shift(1)) & (pl.col("ts") == pl.col("ts").shift(1))
    bought, volume = pl.col("taker_buy_volume"), pl.col("volume")
    minutes = minutes.with_columns(
        x=(2 * bought - volume) * pl.col("vwap"), r=pl.when(follows).then((pl.col("close") / pl.col("close").shift(1)).log())
    ).with_columns(sign=pl.col("x").sign())
    signs = pl.col("sign") * pl.when(follows).then(pl.col("sign").shift(1))
    x, r = pl.when(pl.col("r").is_not_null()).then(pl.col("x")), pl.col("r")
    minutes = minutes.with_columns(signs=signs, xs=x, xx=x * x, rr=r * r, xr=x * r)
    found = totals(
        minutes,
        ["symbol", "ts"],
        {
            **{n: pl.col(n) for n in ("trades", "volume", "signs", "xx", "rr", "xr", "r")},
            "bought": bought,
            "usd": pl.col("quote_volume_usd"),
            "up": pl.col("x") > 0,
            "x": pl.col("xs"),
            "minutes": pl.lit(1.0) * pl.col("ts").is_not_null(),
        },
    ).rename({f"{COUNT}r": "n", f"{COUNT}signs": "pairs"})
    last = minutes.unique(["symbol", "ts"], keep="last", maintain_order=True).select("symbol", "ts", "close")
    return found.join(last, on=["symbol", "ts"], how="left", maintain_order="left")


def _sum(name: str, hours: int) -> pl.Expr:
    return pl.col(name) if hours == 1 else rolling(pl.col(name), hours, "total")


def _regression(hours: int) -> tuple[pl.Expr, pl.Expr]:
    """Slope of the minutes' returns on their flow, and their correlation."""
    n, x, r, xx, rr, xr = (_sum(name, hours) for name in ("n", "x", "r", "xx", "rr", "xr"))
    both, flows, returns = xr - x * r / n, xx - x * x / n, rr - r * r / n
    enough = (n >= FEWEST) & (flows > 1e-9 * xx) & (returns > TINY * 1e-3)
    return pl.when(enough).then(both / flows), pl.when(enough).then(both / (flows * returns).sqrt())
