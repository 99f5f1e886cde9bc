"""The firewall on a partition: two cuts in the days just written. It costs three small recomputations."""

from __future__ import annotations

import polars as pl

from crypto_assets.audit.alternatives import MIXED, REMOVED, Alternatives, in_key_order
from crypto_assets.audit.comparison import Baseline
from crypto_assets.audit.findings import Leak
from crypto_assets.audit.sample import CANDLES
from crypto_assets.lake import Derivation, Frames, Reader, derive
from crypto_assets.market.time import DAY, HOUR, Window

LENGTH = 2 * DAY
"""The end of the window that is looked at."""
COINS = 40
LEADERS = ("BTC", "ETH")


def leaks_of(derivation: Derivation, reader: Reader, window: Window) -> list[Leak]:
    """Columns of a feature table whose values at a moment of `window` depend on what became known later.

    `reader` must hold the inputs of the window and its lookback. Only the last two days are looked at, and in a wide market at
    `COINS` coins; what is tried there is a small part of what `crypto-assets audit` tries. The matrix, which only lays other
    tables side by side, is only truncated.
    """
    short = Window(max(window.start, window.end - LENGTH), window.end)
    frames = _frames(derivation, reader, short)
    bars = frames.get(CANDLES)
    closes = None if bars is None else bars.select("symbol", ts=pl.col("ts") + HOUR)
    base = Baseline(derive(derivation, Frames(frames), short), derivation.table.key, counted=closes)
    futures = Alternatives(frames)
    cuts = [short.start + HOUR * (short.hours * n // 4) for n in (2, 3)]
    ways = (REMOVED, REMOVED) if any(name.startswith("features/") for name in frames) else (REMOVED, MIXED)
    found: dict[str, Leak] = {}
    for way, cut in zip(ways, cuts, strict=True):
        differ = base.against(derive(derivation, futures.at(way, cut), short), cut)
        for column, d in {**(differ.lost or {}), **differ.values}.items():
            old = found.get(column)
            if old is None or d.magnitude > old.magnitude:
                found[column] = Leak(column, d.first_ts, d.magnitude, None, "future", d.rows, cut)
    return list(found.values())


def _frames(derivation: Derivation, reader: Reader, window: Window) -> dict[str, pl.DataFrame]:
    """The inputs by table, of at most `COINS` coins: the leaders, and others from all over the alphabet."""
    reach = derivation.reach()
    scans = {name: reader.scan(name, window.start - back, window.end) for name, back in reach.items()}
    if CANDLES in scans:
        coins = reader.scan(CANDLES, window.start, window.end).select(pl.col("symbol").unique().sort()).collect()["symbol"]
        others = coins.filter(~coins.is_in(LEADERS))
        room = COINS - (coins.len() - others.len())
        if others.len() > room:
            some = others.gather([n * others.len() // room for n in range(room)]).to_list()
            left_out = set(others.to_list()) - set(some)
            scans = {
                name: rows.filter(~pl.col("symbol").is_in(left_out)) if "symbol" in rows.collect_schema() else rows
                for name, rows in scans.items()
            }
    return {name: in_key_order(name, rows.collect()) for name, rows in scans.items()}
