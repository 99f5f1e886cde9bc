"""From a distribution of the return to an action: the side with the larger expected log utility after costs, or none.

Putting the equity into a coin changes its logarithm by r (the log return) in expectation E[r]; going short by -r - var(r) to
second order, because losses of a short grow as it falls behind. A round trip costs `cost` (a fraction of what is traded)
either way. An action is taken where its utility is above 0, which is what holding nothing has. Nothing is tuned. The
uncertainty of the mean enters the variance, so it speaks against a short and never for a trade.
"""

from __future__ import annotations

import numpy as np
import polars as pl

from crypto_assets.market.time import HOUR

Array = np.ndarray

ACTIONS = ("BUY", "SELL", "HOLD")


def action(mean: Array, variance: Array, cost: float) -> Array:
    """BUY, SELL or HOLD, element by element; HOLD where the distribution is unknown (NaN)."""
    with np.errstate(invalid="ignore"):
        buy, sell = mean - cost, -mean - variance - cost
        side = np.where(buy > np.maximum(sell, 0), "BUY", np.where(sell > 0, "SELL", "HOLD"))
    return side


def with_price_targets(rows: pl.DataFrame, candles: pl.DataFrame) -> pl.DataFrame:
    """Rows of `fusion/fused` with `price_target_usd` = close at ts, times exp(mean log return), the median of a symmetric
    forecast.

    `candles`: symbol, ts (the bar's open), close. Null where the close or the mean is unknown.
    """
    closes = candles.select("symbol", ts=pl.col("ts") + HOUR, close="close").unique(["symbol", "ts"], keep="last")
    priced = rows.drop("price_target_usd").join(closes, on=["symbol", "ts"], how="left", maintain_order="left")
    return priced.with_columns(price_target_usd=pl.col("close") * pl.col("mean").exp()).select(rows.columns)
