"""The ledger of a paper account: a SQLite file in WAL mode, one transaction an hour, read from any process while it is
written.

An hour is there whole or not at all: what the account was told, what became of the orders of the hour before, the new orders,
and the state to go on from (`account.dump`, to the last bit). The hour is the key of all of it and an order's id says
strategy, coin and decision hour, so nothing can be written twice; and since the orders are a pure function of what is in the
ledger, a process that was killed anywhere makes the same ones again. `synchronous=FULL`: a committed hour also outlives the
machine's power.

SQLite rather than a file that only grows, because an hour is many rows in several tables that must come together, the rows of
an order change, and the report, the metrics and people ask it questions. Times are microseconds since 1970, UTC.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import fields
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from crypto_assets.lake.tables import UTC_US
from crypto_assets.market.errors import LakeError, SettingsError
from crypto_assets.market.time import DAY, midnight
from crypto_assets.trading import account as accounts
from crypto_assets.trading.account import Orders
from crypto_assets.trading.paper import (
    BAR,
    BARS,
    EVERYTHING,
    FORECASTS,
    FUNDING,
    WARMUP,
    Complaint,
    Hour,
    Memory,
    Plan,
    Standing,
    order_id,
)

VALUES = (
    "equity_usd", "cash_usd", "gross_exposure", "net_exposure", "turnover_usd", "fees_usd", "slippage_usd", "funding_usd"
)  # fmt: skip
TRADE = (
    "symbol", "side", "quantity", "price", "fee_usd", "slippage_usd", "realised_pnl_usd", "is_maker", "reason"
)  # fmt: skip
ORDER = ("symbol", "quantity", "filled", "limit_price", "status", "reason")
SCHEMA = f"""
CREATE TABLE IF NOT EXISTS account (plan TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS hours (ts INTEGER PRIMARY KEY, {" REAL, ".join(VALUES)} REAL, is_killed INTEGER, delay_s REAL,
    state TEXT NOT NULL, wanted TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS orders (id TEXT PRIMARY KEY, ts INTEGER, symbol TEXT, quantity REAL, filled REAL, limit_price REAL,
    status TEXT, reason TEXT);
CREATE INDEX IF NOT EXISTS orders_ts ON orders (ts);
CREATE TABLE IF NOT EXISTS trades (ts INTEGER, {", ".join(TRADE)}, PRIMARY KEY (ts, symbol, reason)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS complaints (ts INTEGER, symbol TEXT, what TEXT, PRIMARY KEY (ts, symbol, what)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS bars (ts INTEGER, symbol TEXT, {" REAL, ".join(BAR)} REAL, PRIMARY KEY (ts, symbol)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS funding (ts INTEGER, symbol TEXT, funding_rate REAL, mark_price REAL, PRIMARY KEY (ts, symbol))
    WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS forecasts (ts INTEGER, symbol TEXT, value REAL, model_version TEXT, PRIMARY KEY (ts, symbol))
    WITHOUT ROWID;
"""
TOLD = {"bars": BARS, "funding": FUNDING, "forecasts": FORECASTS}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class PaperLedger:
    """The file at `path`. Raises LakeError where it cannot be used, or another process writes to it (`is_writer`)."""

    def __init__(self, path: Path, *, is_writer: bool = True) -> None:
        self.path = path
        self._lock: Any = None
        if not is_writer and not path.exists():
            raise LakeError(f"there is no paper account {path}: start one with `crypto-assets paper`")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if is_writer:
                self._hold()
            self._db = sqlite3.connect(path, timeout=30, isolation_level=None, check_same_thread=False)
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=FULL")
            if is_writer:
                self._db.executescript(SCHEMA)
        except (sqlite3.Error, OSError) as error:
            raise _unusable(path, error) from error

    def plan(self) -> Plan | None:
        """What the account is, None before it was opened."""
        rows = self._all("SELECT plan FROM account")
        return Plan.load(rows[0][0]) if rows else None

    def open(self, plan: Plan, memory: Memory) -> None:
        """Write down a new account and the bars before its first hour. Raises SettingsError where another lies there."""
        found = self.plan()
        if found is not None:
            differing = [f.name for f in fields(Plan) if getattr(found, f.name) != getattr(plan, f.name)]
            if differing:
                told = ", ".join(f"{k} {getattr(found, k)!r} instead of {getattr(plan, k)!r}" for k in differing)
                raise SettingsError(f"the paper account {self.path} has {told}: go on with those, or give another --name")
            return
        with self._transaction():
            self._db.execute("INSERT INTO account VALUES (?)", (plan.dump(),))
            self._insert("bars", memory.bars)

    def write(self, plan: Plan, hour: Hour, delay_s: float | None = None) -> None:
        """Write down an hour, whole. Raises LakeError where it is there already, or the disk refuses."""
        ts, state = _micros(hour.standing.at), hour.standing
        with self._transaction():
            values = [hour.values[name] for name in VALUES]
            row = (
                ts,
                *values,
                int(hour.told.is_killed),
                delay_s,
                accounts.dump(state.account, plan.coins),
                _wanted(state.wanted),
            )
            self._db.execute(f"INSERT INTO hours VALUES ({_marks(len(row))})", row)
            for name in TOLD:
                self._insert(name, getattr(hour.told, name))
            for orders in (hour.settled, hour.sent):
                self._orders(plan, orders)
            trades = [(_micros(r["ts"]), *(r[c] for c in TRADE)) for r in hour.trades.to_dicts()]
            self._db.executemany(f"INSERT INTO trades VALUES ({_marks(1 + len(TRADE))})", trades)
            self._complain(ts, hour.complaints)

    def complain(self, complaint: Complaint) -> None:
        """Write down, once an hour of the account, what is wrong outside of any hour."""
        last = self._all("SELECT max(ts) FROM hours")[0][0] or 0
        with self._transaction():
            self._complain(last, [complaint])

    def resume(self, plan: Plan) -> tuple[Memory, Standing] | None:
        """Where the account stands, None where no hour was written yet."""
        last = self._all("SELECT ts, state, wanted FROM hours ORDER BY ts DESC LIMIT 1")
        memory = Memory(plan.begins - WARMUP, *(self._told(name) for name in TOLD))
        if not last:
            return None
        ts, state, wanted = last[0]
        return memory, Standing(_moment(ts), accounts.load(state, plan.coins), _loaded(wanted))

    def warmup(self) -> pl.DataFrame:
        """The bars before the first hour."""
        return self._told("bars")

    def hours(self) -> pl.DataFrame:
        """One row an hour: ts and `VALUES`, oldest first."""
        return self._frame(f"SELECT ts, {', '.join(VALUES)}, is_killed, delay_s FROM hours ORDER BY ts", {
            "ts": UTC_US, **dict.fromkeys(VALUES, pl.Float64()), "is_killed": pl.Int64(), "delay_s": pl.Float64(),
        })  # fmt: skip

    def orders(self, start: datetime | None = None, end: datetime | None = None) -> pl.DataFrame:
        """Orders decided in `[start, end)`."""
        names = ("id", "ts", "symbol", "quantity", "filled", "limit_price", "status", "reason")
        kinds = (pl.String(), UTC_US, pl.String(), pl.Float64(), pl.Float64(), pl.Float64(), pl.String(), pl.String())
        return self._between("orders", dict(zip(names, kinds, strict=True)), "ts, symbol", start, end)

    def trades(self, start: datetime | None = None, end: datetime | None = None) -> pl.DataFrame:
        """Fills in `[start, end)`, by the open of their bar."""
        text, number = dict.fromkeys(("symbol", "side"), pl.String()), pl.Float64()
        numbers = dict.fromkeys(TRADE[2:7], number)
        return self._between(
            "trades", {"ts": UTC_US, **text, **numbers, "is_maker": pl.Int64(), "reason": pl.String()}, "ts, symbol", start, end
        )

    def complaints(self, start: datetime | None = None, end: datetime | None = None) -> pl.DataFrame:
        """What was left out or missing in `[start, end)`."""
        return self._between("complaints", {"ts": UTC_US, "symbol": pl.String(), "what": pl.String()}, "ts, symbol", start, end)

    def told(self, table: str, start: datetime | None = None, end: datetime | None = None) -> pl.DataFrame:
        """`bars`, `funding` or `forecasts` that were used."""
        return self._between(table, TOLD[table], "ts, symbol", start, end)

    def newest(self) -> dict[str, Any] | None:
        """The last hour as a dict, None before it."""
        rows = self.hours().tail(1).to_dicts()
        return rows[0] if rows else None

    def counts(self) -> dict[str, int]:
        """Numbers of hours, orders, trades, orders cut or refused by a limit, and complaints, since the account was opened."""
        asked = {
            "hours": "SELECT count(*) FROM hours",
            "orders": "SELECT count(*) FROM orders WHERE quantity != 0",
            "fills": "SELECT count(*) FROM trades",
            "limited": "SELECT count(*) FROM orders WHERE reason != 'signal'",
            "complaints": "SELECT count(*) FROM complaints",
        }
        return {name: int(self._all(sql)[0][0]) for name, sql in asked.items()}

    def reasons(self) -> dict[str, int]:
        """Orders by each limit or rule that cut or refused them."""
        found: dict[str, int] = {}
        for (reason,) in self._all("SELECT reason FROM orders WHERE reason != 'signal'"):
            for part in reason.split(", "):
                found[part] = found.get(part, 0) + 1
        return dict(sorted(found.items()))

    def days(self) -> list[date]:
        """UTC days that are over, by the account's hours."""
        first, last = self._all("SELECT min(ts), max(ts) FROM hours")[0]
        if first is None:
            return []
        # The hour that closes at midnight belongs to the day that ends with it.
        day, until = (_moment(first) - timedelta(microseconds=1)).date(), _moment(last)
        found = []
        while midnight(day) + DAY <= until:
            found.append(day)
            day += DAY
        return found

    def digest(self) -> list[tuple[Any, ...]]:
        """Everything but when it was written: two ledgers with the same digest are the same account."""
        tables = {"orders": "id", "trades": "ts, symbol, reason", "complaints": "ts, symbol, what"}
        tables |= dict.fromkeys(TOLD, "ts, symbol")
        found: list[tuple[Any, ...]] = self._all(
            f"SELECT ts, {', '.join(VALUES)}, is_killed, state, wanted FROM hours ORDER BY ts"
        )
        for name, order in tables.items():
            found += self._all(f"SELECT * FROM {name} ORDER BY {order}")
        return found

    def close(self) -> None:
        """Let go of the file."""
        self._db.close()
        if self._lock is not None:
            self._lock.close()

    def _hold(self) -> None:
        self._lock = self.path.with_suffix(".lock").open("w")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self._lock.close()
            raise LakeError(
                f"another process trades the paper account {self.path}: stop it, or give this one another --name"
            ) from error

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        try:
            self._db.execute("BEGIN IMMEDIATE")
            yield
            self._db.execute("COMMIT")
        except sqlite3.Error as error:
            raise _unusable(self.path, error) from error
        finally:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")

    def _orders(self, plan: Plan, rows: pl.DataFrame) -> None:
        """Orders as they stand now: an order that was sent is replaced by what became of it."""
        made = [
            (order_id(plan.strategy, r["symbol"], r["ts"]), _micros(r["ts"]), *(r[c] for c in ORDER)) for r in rows.to_dicts()
        ]
        self._db.executemany("INSERT OR REPLACE INTO orders VALUES (?, ?, ?, ?, ?, ?, ?, ?)", made)

    def _complain(self, ts: int, complaints: Sequence[Complaint]) -> None:
        rows = [(ts, c.symbol, c.what) for c in complaints]
        self._db.executemany("INSERT OR IGNORE INTO complaints VALUES (?, ?, ?)", rows)

    def _insert(self, table: str, rows: pl.DataFrame) -> None:
        names = [c for c in TOLD[table] if c not in ("ts", "symbol")]
        values = [(_micros(r["ts"]), r["symbol"], *(r[c] for c in names)) for r in rows.to_dicts()]
        self._db.executemany(f"INSERT INTO {table} VALUES ({_marks(2 + len(names))})", values)

    def _told(self, table: str) -> pl.DataFrame:
        return self._between(table, TOLD[table], "ts, symbol", None, None)

    def _between(
        self, table: str, schema: dict[str, Any], order: str, start: datetime | None, end: datetime | None
    ) -> pl.DataFrame:
        ends = (0 if start is None else _micros(start), 2**62 if end is None else _micros(end))
        sql = f"SELECT {', '.join(schema)} FROM {table} WHERE ts >= ? AND ts < ? ORDER BY {order}"
        return self._frame(sql, schema, ends)

    def _frame(self, sql: str, schema: dict[str, Any], values: tuple[Any, ...] = ()) -> pl.DataFrame:
        plain = {c: pl.Int64() if t == UTC_US else t for c, t in schema.items()}
        rows = pl.DataFrame(self._all(sql, values), schema=plain, orient="row")
        return rows.with_columns(
            pl.col(c).cast(pl.Datetime("us")).dt.replace_time_zone("UTC") for c, t in schema.items() if t == UTC_US
        )

    def _all(self, sql: str, values: tuple[Any, ...] = ()) -> list[Any]:
        try:
            return self._db.execute(sql, values).fetchall()
        except sqlite3.Error as error:
            raise _unusable(self.path, error) from error


def ledger_path(root: Path, name: str) -> Path:
    """Where an account of a lake lies. Raises SettingsError for a name that is no file's name."""
    if not name or not all(c.isalnum() or c in "-_." for c in name) or name.startswith("."):
        raise SettingsError(f"--name {name!r}: letters, digits, - and _ only, for example `main`")
    return root / "paper" / f"{name}.sqlite"


def all_of(complaints: pl.DataFrame) -> list[str]:
    """Complaints as lines: `2 BTC, ETH: no bar`."""
    found = []
    for (what,), rows in complaints.group_by("what", maintain_order=True):
        coins = [s for s in rows["symbol"].unique(maintain_order=True) if s != EVERYTHING]
        found.append(f"{what} ({rows.height}{': ' + ', '.join(coins) if coins else ''})")
    return found


def _wanted(orders: Orders) -> str:
    plain = orders._asdict()
    plain["target_N"] = [None if np.isnan(x) else float(x) for x in orders.target_N]
    return json.dumps(plain)


def _loaded(text: str) -> Orders:
    plain = json.loads(text)
    target_N = np.array([np.nan if x is None else x for x in plain.pop("target_N")], dtype=np.float64)
    return Orders(target_N=target_N, **plain)


def _marks(n: int) -> str:
    return ", ".join("?" * n)


def _micros(ts: datetime) -> int:
    return (ts - _EPOCH) // timedelta(microseconds=1)


def _moment(micros: int) -> datetime:
    return _EPOCH + timedelta(microseconds=micros)


def _unusable(path: Path, error: Exception) -> LakeError:
    return LakeError(f"the paper account {path} cannot be used ({error}): free space, make it writable, or restore it")
