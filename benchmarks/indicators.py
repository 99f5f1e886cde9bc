"""Claim: `technical`, as many columns as all features of `ta`, the seed's own choice, costs at least 50 times less CPU time.

How: 8 coins x 8,760 hourly bars. `ta` 0.11 in an environment of its own: `add_all_ta_features` (86 columns), coin by coin.
Ours: the families `technical` (85 columns) and `chart` (20 more: Ichimoku, SAR, volume profile, fractional differences) for
all coins, as the assets compute them; `ratio` is that of `technical`, `ratio_with_chart` that of both. One thread each, CPU
seconds, compiled code warmed up once on other data, taken in turns.

Checked first: indicators that both have agree on every bar where both are known and their starts are forgotten.
"""

from __future__ import annotations

import argparse
import time
from datetime import UTC, datetime

import numpy as np
import polars as pl
from _peer import limited, python_with, run
from _record import keep, median, require

COINS, BARS = 8, 8_760
FORGOTTEN = 700
"""Bars after which a recursive indicator has forgotten its start."""
THEIRS = """
import warnings; warnings.filterwarnings("ignore")
import pandas as pd, ta
frames = [pd.DataFrame({c: data[c][k] for c in ("open", "high", "low", "close", "volume")}) for k in range(len(data["close"]))]
started = time.process_time()
done = [ta.add_all_ta_features(f, open="open", high="high", low="low", close="close", volume="volume") for f in frames]
result["cpu_s"] = time.process_time() - started
result["columns"] = done[0].shape[1] - 5
for name in ("momentum_rsi", "momentum_wr", "trend_cci", "volatility_bbp", "volume_cmf", "trend_macd_diff", "volatility_atr",
             "volume_mfi"):
    out[name] = np.stack([f[name].to_numpy() for f in done])
"""


def market() -> dict[str, np.ndarray]:
    """Random bars `[coin, bar]` that look like prices."""
    rng = np.random.default_rng(0)
    close = 100 * np.exp(np.cumsum(0.008 * rng.standard_t(4, (COINS, BARS)), axis=1))
    opened = np.concatenate([close[:, :1], close[:, :-1]], axis=1)
    top, bottom = np.maximum(opened, close), np.minimum(opened, close)
    high = top * np.exp(0.003 * np.abs(rng.standard_normal(close.shape)))
    low = bottom * np.exp(-0.003 * np.abs(rng.standard_normal(close.shape)))
    volume = np.exp(rng.standard_normal(close.shape)) * 1000
    return {"open": opened, "high": high, "low": low, "close": close, "volume": volume}


def candles(data: dict[str, np.ndarray]) -> pl.DataFrame:
    """The same as the table `curated/candles`."""
    first = datetime(2024, 1, 1, tzinfo=UTC)
    micros = int(first.timestamp() * 1e6) + 3_600_000_000 * np.arange(BARS)
    ts = pl.Series("ts", micros).cast(pl.Datetime("us", "UTC"))
    frames = [
        pl.DataFrame({"ts": ts, **{c: v[k] for c, v in data.items()}}).with_columns(
            symbol=pl.lit(f"C{k}"), taker_buy_volume=pl.col("volume") / 2
        )
        for k in range(COINS)
    ]
    return pl.concat(frames)


def ours(frame: pl.DataFrame) -> tuple[list[float], pl.DataFrame]:
    """CPU seconds of `technical` and of `chart`, and their columns side by side."""
    from crypto_assets.features.chart import FAMILY as CHART
    from crypto_assets.features.technical import FAMILY as TECHNICAL

    seconds, done = [], []
    for family in (TECHNICAL, CHART):
        started = time.process_time()
        done.append(family.compute(frame.lazy()).collect())
        seconds.append(time.process_time() - started)
    return seconds, done[0].join(done[1], on=["symbol", "ts"]).sort("symbol", "ts")


def worst(mine: pl.DataFrame, theirs: dict[str, np.ndarray], data: dict[str, np.ndarray]) -> dict[str, float]:
    """Largest difference of each shared indicator, in its own unit, after `FORGOTTEN` bars."""

    def column(name: str) -> np.ndarray:
        return mine[name].to_numpy().reshape(COINS, BARS)

    atr = np.exp(column("atr_14")) * data["close"]
    pairs = {
        "rsi": (column("rsi_14"), theirs["momentum_rsi"] / 50 - 1),
        "williams_r": (column("williams_r_14"), theirs["momentum_wr"] / 50 + 1),
        "cci": (column("cci_20"), theirs["trend_cci"] / 100),
        "bollinger": (column("bollinger_b_20"), 2 * theirs["volatility_bbp"] - 1),
        "cmf": (column("cmf_20"), theirs["volume_cmf"]),
        "macd": (column("macd_hist"), theirs["trend_macd_diff"] / atr),
        "mfi": (column("mfi_14"), theirs["volume_mfi"] / 50 - 1),
    }
    return {name: float(np.nanmax(np.abs(a - b)[:, FORGOTTEN:])) for name, (a, b) in pairs.items()}


def main() -> None:
    """Check, measure in turns, keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3, help="turns (default 3)")
    given = parser.parse_args()
    limited()
    python = python_with("ta", "ta==0.11.0", "pandas<3")
    data = market()
    frame = candles(data)
    ours(frame.group_by("symbol", maintain_order=True).head(1000))
    mine, theirs = [], []
    for _ in range(given.rounds):
        result, found = run(python, THEIRS, data)
        theirs.append(result["cpu_s"])
        seconds, columns = ours(frame)
        mine.append(seconds)
    differences = worst(columns, found, data)
    tolerances = {"cci": 1e-6, "mfi": 1e-6}
    for name, difference in differences.items():
        require(difference < tolerances.get(name, 1e-8), f"{name} differs by {difference:.1e}")
    technical, chart = (median(column, 3) for column in zip(*mine, strict=True))
    keep(
        "indicators",
        {
            "ta_cpu_s": median(theirs, 2),
            "technical_cpu_s": technical,
            "chart_cpu_s": chart,
            "ratio": round(median(theirs) / technical, 1),
            "ratio_with_chart": round(median(theirs) / (technical + chart), 1),
            "ta_columns": result["columns"],
            "our_columns": columns.width - 2,
            "differences": differences,
            "rounds": given.rounds,
        },
    )


if __name__ == "__main__":
    main()
