"""A made-up paper account, by itself or in a process that may be killed: `python -m crypto_assets_tests.trading.papers`."""

from __future__ import annotations

import sys
from datetime import timedelta
from functools import cache
from pathlib import Path

import numpy as np
import polars as pl

from crypto_assets.trading import paper
from crypto_assets.trading.limits import Limits
from crypto_assets.trading.paper import Hour, Memory, Plan, Standing, Told
from crypto_assets.trading.paper_ledger import PaperLedger
from crypto_assets_tests.trading.worlds import HOUR, START, candles, forecasts, funding, walk

COINS, FIRST, HOURS = ("C0", "C1", "C2"), 216, 44
BEGINS = START + FIRST * HOUR


def plan(strategy: str = "relative_24h", **more) -> Plan:
    return Plan("made_up", "m", strategy, COINS, BEGINS, **more)


@cache
def tables(seed: int = 0, holes: float = 0.05) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """Candles with holes, funding, and forecasts from BEGINS on."""
    rng = np.random.default_rng(seed)
    close = walk(seed, FIRST + HOURS, 3, 0.02)
    close[rng.random(close.shape) < holes] = np.nan
    p = rng.uniform(0.1, 0.9, (HOURS, 3))
    said = pl.concat([forecasts(p, horizon, start=BEGINS) for horizon in ("1h", "24h")])
    return candles(close), funding(0.0003, COINS, FIRST + HOURS), said


def told(account: Plan, n: int, seed: int = 0) -> Told:
    """The hour that closes `n` hours after BEGINS."""
    at = BEGINS + n * HOUR
    bars, rates, said = tables(seed)
    mine = said.filter(pl.col("ts") == at, pl.col("horizon") == account.rule.horizon)
    rows = mine.select("symbol", "ts", value=account.rule.column, model_version=pl.lit("v1"))
    return Told(at, bars.filter(pl.col("ts") == at - HOUR), rates.filter(pl.col("ts") == at - HOUR), rows)


def start(account: Plan, seed: int = 0) -> tuple[Memory, Standing]:
    return paper.opened(account, tables(seed)[0])


def live(account: Plan, hours: int = HOURS, seed: int = 0) -> list[Hour]:
    """Without a ledger, without a stop."""
    memory, standing = start(account, seed)
    done = []
    for n in range(hours):
        memory, hour = paper.advance(account, memory, standing, told(account, n, seed))
        standing = hour.standing
        done.append(hour)
    return done


def go_on(ledger: PaperLedger, account: Plan, hours: int) -> None:
    """From where the ledger stands, `hours` more at the most; as the real loop does it."""
    ledger.open(account, start(account)[0])
    memory, standing = ledger.resume(account) or start(account)
    for _ in range(hours):
        n = (standing.at - BEGINS) // timedelta(hours=1) + 1
        if n >= HOURS:
            return
        memory, hour = paper.advance(account, memory, standing, told(account, n))
        ledger.write(account, hour)
        standing = hour.standing


if __name__ == "__main__":
    strategy, path = sys.argv[1:]
    live(plan(strategy), hours=1)  # the engine's machine code is loaded, so that a kill meets the ledger's work
    opened = PaperLedger(Path(path))
    print("ready", flush=True)
    go_on(opened, plan(strategy, limits=Limits(coin=0.15)), HOURS)
