"""The hot store: the open day's bars, features and forecasts, newest first to hand, for whoever cannot wait for a partition.

A row is (kind, symbol, ts) and a JSON object; putting it again replaces it. A batch is put whole or not at all, and what was
put survives the death of the process that put it. Each series (a kind of a symbol) keeps its newest `keep_of(kind)` rows: the
store is bounded. `SqliteHot` is a file inside the lake in WAL mode (one writer and any number of readers never wait for each
other); `RedisHot` is Redis, for several machines. Both do the same (crypto_assets_tests/lake/test_hot.py).
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
import threading
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from crypto_assets.lake.store import Lake
from crypto_assets.market.errors import LakeError
from crypto_assets.settings import Settings

FILE = "hot.db"
KEEP = {
    "candles_1m": 3 * 1440,
    "trades_1m": 3 * 1440,
    "depth_1m": 3 * 1440,
    "candles_1h": 45 * 24,
    "features": 14 * 24,
    "forecasts": 14 * 24,
    "quotes": 600,
}
"""Rows a series keeps, by the last part of its kind: three days of minutes, 45 days of hours (a daily run that failed for weeks
can still be bridged), two weeks of features and forecasts, ten minutes of quotes."""
KEEP_OTHERS = 1000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Hot(NamedTuple):
    """One row. `kind` is free text (`binance_spot.candles_1m`), `ts` UTC, `value` a JSON object without NaN."""

    kind: str
    symbol: str
    ts: datetime
    value: Mapping[str, Any]


class HotStore(Protocol):
    """What both stores do. Every method raises LakeError, saying what to do, when the store cannot be reached."""

    def put(self, rows: Iterable[Hot]) -> None:
        """Store all rows or none; a row of the same kind, symbol and ts is replaced, the oldest beyond `keep_of` are dropped.

        Raises LakeError for a value that JSON cannot hold (NaN, infinity) and for a naive ts.
        """
        ...

    def newest(self, kind: str, symbol: str, n: int = 1) -> list[Hot]:
        """The newest `n` rows of a series, oldest first."""
        ...

    def range(self, kind: str, symbol: str, start: datetime, end: datetime) -> list[Hot]:
        """Rows of a series with `start <= ts < end`, oldest first."""
        ...

    def symbols(self, kind: str) -> list[str]:
        """Symbols that have rows of `kind`, sorted."""
        ...

    def kinds(self) -> list[str]:
        """Every kind that has rows, sorted."""
        ...

    def close(self) -> None:
        """Let go of the connection."""
        ...


def keep_of(kind: str) -> int:
    """How many rows a series of `kind` keeps."""
    return KEEP.get(kind.rsplit(".", 1)[-1], KEEP_OTHERS)


def open_hot(settings: Settings) -> HotStore:
    """The store these settings name: Redis where `redis_url` is set, else the file inside the lake.

    In Redis each lake has its own names, so that two lakes may share a server.
    """
    root = Lake(settings.lake).root
    if settings.redis_url is None:
        return SqliteHot(root / FILE)
    return RedisHot(settings.redis_url.get_secret_value(), hashlib.sha256(str(root).encode()).hexdigest()[:12])


class SqliteHot:
    """A SQLite file in WAL mode. Safe to use from several threads and, each with its own object, from several processes."""

    def __init__(self, path: Path) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._connection = sqlite3.connect(path, timeout=30, check_same_thread=False, isolation_level=None)
            self._connection.execute("PRAGMA journal_mode=WAL")
            self._connection.execute("PRAGMA synchronous=NORMAL")
            self._connection.execute(
                "CREATE TABLE IF NOT EXISTS hot (kind TEXT, symbol TEXT, ts INTEGER, value TEXT, "
                "PRIMARY KEY (kind, symbol, ts)) WITHOUT ROWID"
            )
        except (sqlite3.Error, OSError) as error:
            raise _unusable(str(path), error) from error
        self._where = str(path)
        self._lock = threading.Lock()

    def put(self, rows: Iterable[Hot]) -> None:
        """See HotStore."""
        batch = [(row.kind, row.symbol, _micros(row.ts), _json(row)) for row in rows]
        if not batch:
            return
        series = sorted({(kind, symbol) for kind, symbol, _, _ in batch})
        with self._lock:
            try:
                self._connection.execute("BEGIN IMMEDIATE")
                self._connection.executemany("INSERT OR REPLACE INTO hot VALUES (?, ?, ?, ?)", batch)
                self._connection.executemany(
                    "DELETE FROM hot WHERE kind = ?1 AND symbol = ?2 AND ts < "
                    "(SELECT ts FROM hot WHERE kind = ?1 AND symbol = ?2 ORDER BY ts DESC LIMIT 1 OFFSET ?3)",
                    [(kind, symbol, keep_of(kind) - 1) for kind, symbol in series],
                )
                self._connection.execute("COMMIT")
            except sqlite3.Error as error:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise _unusable(self._where, error) from error

    def newest(self, kind: str, symbol: str, n: int = 1) -> list[Hot]:
        """See HotStore."""
        sql = "SELECT ts, value FROM hot WHERE kind = ? AND symbol = ? ORDER BY ts DESC LIMIT ?"
        return self._rows(kind, symbol, sql, (kind, symbol, n))[::-1]

    def range(self, kind: str, symbol: str, start: datetime, end: datetime) -> list[Hot]:
        """See HotStore."""
        sql = "SELECT ts, value FROM hot WHERE kind = ? AND symbol = ? AND ts >= ? AND ts < ? ORDER BY ts"
        return self._rows(kind, symbol, sql, (kind, symbol, _micros(start), _micros(end)))

    def symbols(self, kind: str) -> list[str]:
        """See HotStore."""
        return [s for (s,) in self._all("SELECT DISTINCT symbol FROM hot WHERE kind = ? ORDER BY symbol", (kind,))]

    def kinds(self) -> list[str]:
        """See HotStore."""
        return [k for (k,) in self._all("SELECT DISTINCT kind FROM hot ORDER BY kind", ())]

    def close(self) -> None:
        """See HotStore."""
        with self._lock:
            self._connection.close()

    def _rows(self, kind: str, symbol: str, sql: str, values: tuple[Any, ...]) -> list[Hot]:
        return [Hot(kind, symbol, _moment(ts), json.loads(text)) for ts, text in self._all(sql, values)]

    def _all(self, sql: str, values: tuple[Any, ...]) -> list[Any]:
        with self._lock:
            try:
                return self._connection.execute(sql, values).fetchall()
            except sqlite3.Error as error:
                raise _unusable(self._where, error) from error


class RedisHot:
    """Redis. A series is a sorted set, scored by ts; a batch is one MULTI/EXEC.

    How much of it outlives the server is the server's setting (`appendonly yes` keeps all but the last second).
    """

    def __init__(self, url: str, lake: str = "lake") -> None:
        import redis

        self._errors = redis.RedisError
        self._prefix = f"crypto_assets:{lake}:"
        try:
            self._redis = redis.Redis.from_url(url, socket_timeout=30, socket_connect_timeout=5, decode_responses=True)
            self._redis.ping()
        except (redis.RedisError, ValueError, OSError) as error:
            raise self._unreachable(error) from None

    def put(self, rows: Iterable[Hot]) -> None:
        """See HotStore."""
        batch = [(row.kind, row.symbol, _micros(row.ts), _json(row)) for row in rows]
        if not batch:
            return
        pipe = self._redis.pipeline(transaction=True)
        for kind, symbol, ts, text in batch:
            name = self._series(kind, symbol)
            pipe.zremrangebyscore(name, ts, ts)
            pipe.zadd(name, {f"{ts} {text}": ts})
        for kind, symbol in sorted({(kind, symbol) for kind, symbol, _, _ in batch}):
            pipe.zremrangebyrank(self._series(kind, symbol), 0, -keep_of(kind) - 1)
            pipe.sadd(f"{self._prefix}kinds", kind)
            pipe.sadd(f"{self._prefix}symbols:{kind}", symbol)
        self._do(pipe.execute)

    def newest(self, kind: str, symbol: str, n: int = 1) -> list[Hot]:
        """See HotStore."""
        if n < 1:
            return []
        return self._rows(kind, symbol, self._do(lambda: self._redis.zrange(self._series(kind, symbol), -n, -1)))

    def range(self, kind: str, symbol: str, start: datetime, end: datetime) -> list[Hot]:
        """See HotStore."""
        name, first, last = self._series(kind, symbol), _micros(start), _micros(end) - 1
        return self._rows(kind, symbol, self._do(lambda: self._redis.zrangebyscore(name, first, last)))

    def symbols(self, kind: str) -> list[str]:
        """See HotStore."""
        return sorted(self._do(lambda: self._redis.smembers(f"{self._prefix}symbols:{kind}")))

    def kinds(self) -> list[str]:
        """See HotStore."""
        return sorted(self._do(lambda: self._redis.smembers(f"{self._prefix}kinds")))

    def close(self) -> None:
        """See HotStore."""
        self._redis.close()

    def _series(self, kind: str, symbol: str) -> str:
        return f"{self._prefix}{kind}:{symbol}"

    def _rows(self, kind: str, symbol: str, members: list[str]) -> list[Hot]:
        parts = (member.split(" ", 1) for member in members)
        return [Hot(kind, symbol, _moment(int(ts)), json.loads(text)) for ts, text in parts]

    def _do(self, call: Any) -> Any:
        try:
            return call()
        except self._errors as error:
            raise self._unreachable(error) from None

    def _unreachable(self, error: Exception) -> LakeError:
        # The address may hold a password, so it is not shown.
        return LakeError(
            f"the Redis of the hot store does not answer ({type(error).__name__}): start it, set CRYPTO_ASSETS_REDIS_URL to "
            f"where it runs, or unset it to keep the hot store inside the lake"
        )


def _json(row: Hot) -> str:
    try:
        return json.dumps(dict(row.value), allow_nan=False, separators=(",", ":"))
    except (TypeError, ValueError) as error:
        raise LakeError(f"hot store: {row.kind} {row.symbol} {row.ts}: a value is no JSON ({error}): leave it out") from None


def _micros(ts: datetime) -> int:
    if ts.tzinfo is None:
        raise LakeError(f"hot store: ts {ts!r} has no time zone: give it in UTC")
    return (ts - _EPOCH) // timedelta(microseconds=1)


def _moment(micros: int) -> datetime:
    return _EPOCH + timedelta(microseconds=micros)


def _unusable(where: str, error: Exception) -> LakeError:
    return LakeError(
        f"the hot store {where} cannot be used ({error}): free space, make it writable, or remove it; it is rebuilt from the "
        f"exchange and the lake"
    )
