"""What was served, for good: every answer under its id, in a SQLite file beside the lake's tables, never changed.

The answer to the same question is the same record, so a bar costs a record a coin and horizon however often it is asked; a row
sent by a client is kept with its answer. Writes are gathered and made by a thread of their own.
"""

from __future__ import annotations

import contextlib
import json
import logging
import queue
import sqlite3
import threading
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic_core import to_json

from crypto_assets.market.errors import LakeError

FILE = "served.db"
MOST_WAITING = 50_000
log = logging.getLogger(__name__)


class Records:
    """Append-only. `add` returns at once; `flush` waits until all that was added can be read."""

    def __init__(self, lake: Path) -> None:
        self._path = lake / FILE
        self._waiting: queue.Queue[list[tuple[dict[str, Any], dict[str, Any] | None]] | threading.Event | None]
        self._waiting = queue.Queue(MOST_WAITING)
        self._connection = connect(self._path)
        self._thread = threading.Thread(target=self._write, name="records", daemon=True)
        self._thread.start()

    def add(self, answers: Iterable[dict[str, Any]], features: Iterable[dict[str, Any] | None] | None = None) -> None:
        """Keep answers; `features` are the rows that were sent, one an answer. Raises LakeError when too many wait."""
        rows = list(answers)
        try:
            self._waiting.put_nowait(list(zip(rows, features or [None] * len(rows), strict=True)))
        except queue.Full:
            raise LakeError(f"{self._path} cannot be written as fast as answers are given: free the disk") from None

    def flush(self) -> None:
        """Wait for what was added."""
        done = threading.Event()
        self._waiting.put(done)
        done.wait(30)

    def close(self) -> None:
        """Write what waits, and end."""
        self._waiting.put(None)
        self._thread.join(30)
        self._connection.close()

    def _write(self) -> None:
        while True:
            items = [self._waiting.get()]
            with contextlib.suppress(queue.Empty):
                while len(items) < 1000:
                    items.append(self._waiting.get_nowait())
            rows = [_row(answer, sent) for item in items if isinstance(item, list) for answer, sent in item]
            try:
                with self._connection:
                    self._connection.executemany("INSERT OR IGNORE INTO served VALUES (?, ?, ?, ?, ?, ?, ?, ?)", rows)
            except sqlite3.Error as error:
                log.error("answers could not be kept in %s (%s)", self._path, error)
            for item in items:
                if isinstance(item, threading.Event):
                    item.set()
            if None in items:
                return


def connect(path: Path) -> sqlite3.Connection:
    """The file, made when it is not there. Raises LakeError when it cannot be used."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(path, timeout=30, check_same_thread=False)
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=NORMAL")
        with connection:
            connection.execute(
                "CREATE TABLE IF NOT EXISTS served (id TEXT PRIMARY KEY, symbol TEXT, timeframe TEXT, ts TEXT, bundle TEXT, "
                "served_at TEXT, answer TEXT, features TEXT) WITHOUT ROWID"
            )
            connection.execute("CREATE INDEX IF NOT EXISTS by_coin ON served (symbol, timeframe, ts)")
    except (sqlite3.Error, OSError) as error:
        raise LakeError(f"{path} cannot be used ({error}): free space, or make it writable") from error
    return connection


def find(lake: Path, prediction: str) -> dict[str, Any] | None:
    """`{"answer", "features", "served_at"}` of an id or of the only one that begins so, or None."""
    if not (lake / FILE).exists():
        return None
    connection = connect(lake / FILE)
    try:
        sql = "SELECT answer, features, served_at FROM served WHERE id >= ? AND id < ? LIMIT 2"
        rows = connection.execute(sql, (prediction, prediction + "g")).fetchall()
    finally:
        connection.close()
    if len(rows) != 1:
        return None
    answer, features, served_at = rows[0]
    return {"answer": json.loads(answer), "features": json.loads(features) if features else None, "served_at": served_at}


def history(lake: Path, symbol: str, timeframe: str, limit: int) -> list[dict[str, Any]]:
    """The newest answers about closed bars of a coin and horizon, oldest first."""
    connection = connect(lake / FILE)
    try:
        sql = (
            "SELECT answer, served_at FROM served WHERE symbol = ? AND timeframe = ? AND features IS NULL "
            "ORDER BY ts DESC, served_at DESC LIMIT ?"
        )
        rows = connection.execute(sql, (symbol, timeframe, limit)).fetchall()
    finally:
        connection.close()
    return [{**json.loads(answer), "served_at": at} for answer, at in reversed(rows)]


def _row(answer: dict[str, Any], sent: dict[str, Any] | None) -> tuple[Any, ...]:
    text, features = to_json(answer).decode(), None if sent is None else to_json(sent).decode()
    now = datetime.now(UTC).isoformat()
    keys = ("prediction_id", "symbol", "timeframe", "timestamp", "model_version")
    return (*(answer[k] for k in keys), now, text, features)
