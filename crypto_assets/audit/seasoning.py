"""Rare rows: bars missing, coins listed late and delisted early, null, extreme and empty values, late news, here and there.

Every change is a possible history, chosen by symbol and moment alone: the same one every time, and every table of bars loses
the same ones.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime

import polars as pl

from crypto_assets.audit.alternatives import PRICES, is_closed, key_of
from crypto_assets.lake import TABLES
from crypto_assets.lake.tables import UTC_US, Column
from crypto_assets.market.time import HOUR, Window

MISSING, BLANK = 6, 20
"""Bars removed and optional values blanked, of a thousand."""
EACH = 3
"""Rows of each extreme kind, of a thousand."""
OUTAGE = 2 * HOUR
CRASH, BURST, FAR = 0.12, 30.0, 1.5
"""Log move of an extreme bar, factor on its volume, log move of any other figure."""
LATE_IN, LATE_MINUTES = 8, 60
"""One row in so many becomes known up to so many minutes later: publications that fall on the hour hide a rounded one."""
BOOKED = ("volume", "quote_volume_usd", "trades", "taker_buy_volume")


def seasoned(table: str, rows: pl.DataFrame, window: Window, symbols: Sequence[str]) -> pl.DataFrame:
    """The rows with some bars missing, one coin listed late and one delisted early, extreme values, optional ones blanked."""
    if rows.is_empty():
        return rows
    if is_closed(table) and "symbol" in rows.columns:
        rows = rows.filter(_kept(window, symbols))
    keys: list[str] = [c for c in ("symbol", "ts") if c in rows.columns]
    draw = pl.struct(keys).hash(5) % 1000
    rows = rows if is_closed(table) else _late(rows, keys)
    rows = _extreme_bars(rows, draw) if set(PRICES) <= set(rows.columns) else _extreme_figures(table, rows, draw)
    known = TABLES.get(table)
    optional = [c for c, f in known.fields.items() if f.nullable and c not in key_of(table, rows)] if known else []
    blank = {c: pl.struct(keys).hash(n + 11) % 1000 < BLANK for n, c in enumerate(optional)}
    return rows.with_columns(pl.when(~blank[c]).then(pl.col(c)).alias(c) for c in optional)


def _late(rows: pl.DataFrame, keys: list[str]) -> pl.DataFrame:
    """Some publications later within the hour; every version of a row by as much."""
    late = pl.struct(keys).hash(3) % LATE_IN == 0
    minutes = pl.when(late).then(1 + pl.struct(keys).hash(9) % (LATE_MINUTES - 1)).otherwise(0)
    return rows.with_columns(pl.col("available_at") + pl.duration(minutes=minutes.cast(pl.Int64)))


def _kept(window: Window, symbols: Sequence[str]) -> pl.Expr:
    length = window.end - window.start
    ts, symbol = pl.col("ts"), pl.col("symbol")
    dropped = pl.struct("symbol", "ts").hash(7) % 1000 < MISSING
    outage = _hour(window.start + length * 0.55)
    dropped |= ts.is_between(outage, outage + OUTAGE, closed="left")
    for n, coin in enumerate(symbols):
        gap = _hour(window.start + length * (0.2 + 0.6 * n / max(len(symbols), 1)))
        dropped |= (symbol == coin) & ts.is_between(gap, gap + (1 + n % 5) * HOUR, closed="left")
    if len(symbols) > 3:
        dropped |= (symbol == symbols[-1]) & (ts < _hour(window.start + length * 0.25))
        dropped |= (symbol == symbols[-2]) & (ts >= _hour(window.start + length * 0.8))
    return ~dropped


def _hour(when: datetime) -> pl.Expr:
    return pl.lit(when.replace(minute=0, second=0, microsecond=0), dtype=UTC_US)


def _extreme_bars(rows: pl.DataFrame, draw: pl.Expr) -> pl.DataFrame:
    """Spikes and crashes of a bar, bursts of volume, bars without a trade, disputed bars."""
    up, down, burst, empty, disputed = (draw.is_between(n * EACH, (n + 1) * EACH, closed="left") for n in range(5))
    o, h, lo, c = (pl.col(name) for name in PRICES)
    close = c * pl.when(up).then(math.exp(CRASH)).when(down).then(math.exp(-CRASH)).otherwise(1.0)
    flat = {name: pl.when(empty).then(o).otherwise(expr) for name, expr in (("close", close), ("open", o))}
    flat["high"] = pl.when(empty).then(o).otherwise(pl.max_horizontal(h, close))
    flat["low"] = pl.when(empty).then(o).otherwise(pl.min_horizontal(lo, close))
    factor = pl.when(burst).then(BURST).when(empty).then(0.0).otherwise(1.0)
    booked = {b: (pl.col(b) * factor).cast(rows.schema[b]) for b in BOOKED if b in rows.columns}
    flags = {b: pl.col(b) | disputed for b, kind in rows.schema.items() if kind == pl.Boolean}
    return rows.with_columns(**flat, **booked, **flags)


def _extreme_figures(table: str, rows: pl.DataFrame, draw: pl.Expr) -> pl.DataFrame:
    """Figures far above and below, where the column's bounds allow it."""
    known = TABLES.get(table)
    factor = pl.when(draw < EACH).then(math.exp(FAR)).when(draw < 2 * EACH).then(math.exp(-FAR)).otherwise(1.0)
    changed = []
    for name, kind in rows.schema.items():
        if kind.is_float() and name not in key_of(table, rows):
            bounds = known.fields.get(name, Column()) if known else Column()
            low = next((b for b in (bounds.ge, bounds.gt) if isinstance(b, (int, float))), -math.inf)
            high = next((b for b in (bounds.le, bounds.lt) if isinstance(b, (int, float))), math.inf)
            far = pl.col(name) * factor
            changed.append(pl.when((far > low) & (far < high)).then(far).otherwise(pl.col(name)).alias(name))
    return rows.with_columns(changed)
