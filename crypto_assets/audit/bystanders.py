"""What a family reads besides its inputs: files, databases, addresses, and today's date.

Changing the inputs cannot show what does not come through them. So the functions that open data are watched while a user's
family is loaded and runs, and its clock is moved: what it makes of its inputs must not change with either.
"""

from __future__ import annotations

import datetime as real
import sys
import time
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Any

AWAY = real.timedelta(days=400, hours=5)
DATA = (
    *(".parquet", ".csv", ".tsv", ".json", ".jsonl", ".ndjson", ".feather", ".arrow", ".ipc", ".db", ".duckdb", ".sqlite"),
    *(".pkl", ".pickle", ".npy", ".npz", ".h5", ".hdf5", ".xlsx", ".gz", ".zst"),
)
READERS: dict[str, Callable[[str], bool]] = {
    "polars": lambda name: name.startswith(("read_", "scan_")),
    "pandas": lambda name: name.startswith("read_"),
    "pyarrow.parquet": lambda name: name in ("read_table", "ParquetFile", "ParquetDataset"),
    "duckdb": lambda name: name.startswith("read_") or name in ("connect", "sql", "query"),
    "crypto_assets.lake": lambda name: name == "Lake",
    "numpy": lambda name: name in ("load", "loadtxt", "genfromtxt", "fromfile", "memmap"),
}
PACKAGES = {"site-packages", "dist-packages", ".cache", "__pycache__"}
_seen: list[list[str]] = []
"""The lists that are being filled; the hook below cannot be taken away, so it looks here."""
_hooked: list[bool] = []


@contextmanager
def watched() -> Iterator[list[str]]:
    """The list that fills with what is opened for reading in the meantime: files of data, databases, sockets."""
    if not _hooked:
        sys.addaudithook(_hook)
        _hooked.append(True)
    found: list[str] = []
    _seen.append(found)
    undo = _replace_readers(found)
    try:
        yield found
    finally:
        for module, name, original in undo:
            setattr(module, name, original)
        _seen.remove(found)


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    if not _seen:
        return
    if event == "open" and isinstance(arguments[0], str) and _is_data(arguments[0]):
        name = arguments[0]
    elif event in ("sqlite3.connect", "socket.connect"):
        name = f"{event.split('.')[0]} {arguments[-1]}"
    else:
        return
    for found in _seen:
        found.append(name)


def _is_data(path: str) -> bool:
    """Whether a path is of data, and not of an installed package or its cache."""
    file = Path(path)
    own = str(file).startswith((sys.prefix, sys.base_prefix)) or PACKAGES & set(file.parts)
    return file.suffix.lower() in DATA and not own


def _replace_readers(found: list[str]) -> list[tuple[types.ModuleType, str, Any]]:
    undo = []
    for module_name, is_reader in READERS.items():
        module = sys.modules.get(module_name)
        if module is None:
            continue
        for name in [n for n in dir(module) if is_reader(n)]:
            original = getattr(module, name)
            if callable(original):
                undo.append((module, name, original))
                setattr(module, name, _noted(original, f"{module_name}.{name}", found))
    return undo


def _noted(function: Callable[..., Any], name: str, found: list[str]) -> Callable[..., Any]:
    @wraps(function, updated=())
    def read(*arguments: Any, **options: Any) -> Any:
        what = next((a for a in (*arguments, *options.values()) if isinstance(a, (str, Path))), "")
        found.append(f"{name} {what}".strip())
        return function(*arguments, **options)

    return read


@contextmanager
def another_day() -> Iterator[None]:
    """While a module is loaded in this context, what it imports from `datetime` has a clock more than a year ahead."""
    kept = real.datetime, real.date
    real.datetime, real.date = _Datetime, _Date  # type: ignore[misc]
    try:
        yield
    finally:
        real.datetime, real.date = kept  # type: ignore[misc]


def move_clock(module: types.ModuleType) -> None:
    """Put the clock ahead that a loaded module reads through the modules `datetime` and `time`."""
    for name, value in list(vars(module).items()):
        other = _moved(value)
        if other is not None:
            setattr(module, name, other)


def _moved(value: Any) -> Any:
    if value is real:
        return types.SimpleNamespace(**{**vars(real), "datetime": _Datetime, "date": _Date})
    if value is time:
        ahead = AWAY.total_seconds()
        later = {"time": lambda: time.time() + ahead, "time_ns": lambda: time.time_ns() + int(ahead * 1e9)}
        return types.SimpleNamespace(**{**vars(time), **later})
    return None


class _Datetime(real.datetime):
    @classmethod
    def now(cls, tz: real.tzinfo | None = None) -> _Datetime:
        return super().now(tz) + AWAY  # type: ignore[return-value]

    @classmethod
    def utcnow(cls) -> _Datetime:
        return super().now(real.UTC).replace(tzinfo=None) + AWAY  # type: ignore[return-value]

    @classmethod
    def today(cls) -> _Datetime:
        return super().today() + AWAY  # type: ignore[return-value]


class _Date(real.date):
    @classmethod
    def today(cls) -> _Date:
        return super().today() + AWAY  # type: ignore[return-value]
