"""Reading payloads strictly: every value that has another shape than documented is named, with its field and row."""

from __future__ import annotations

import io
import itertools
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

import polars as pl

from crypto_assets.lake.tables import UTC_US
from crypto_assets.market.errors import BadPayloadError, NotPublishedYetError

GAP = timedelta(days=10)
"""No market was ever closed for longer: in September 2001 it was for six days."""


def number(value: Any) -> float:
    """A JSON number, or a number in text."""
    if value is None or isinstance(value, bool):
        raise ValueError("a number")
    return float(value)


def number_or_none(value: Any) -> float | None:
    """A number, or None for a null or empty text."""
    return None if value in (None, "") else number(value)


def integer(value: Any) -> int:
    """A whole JSON number, or one in text."""
    if isinstance(value, bool) or (isinstance(value, float) and not value.is_integer()):
        raise ValueError("a whole number")
    return int(value)


def text(value: Any) -> str:
    """A text."""
    if not isinstance(value, str):
        raise ValueError("a text")
    return value


def seconds(value: Any) -> datetime:
    """Unix seconds, as a number or in text, between 2009 and 2100."""
    return _instant(integer(value))


def milliseconds(value: Any) -> datetime:
    """Unix milliseconds, as a number or in text, between 2009 and 2100."""
    return _instant(integer(value) / 1000)


def iso(value: Any) -> datetime:
    """ISO 8601 with a zone; digits beyond microseconds are dropped."""
    head, _, fraction = text(value).removesuffix("Z").partition(".")
    return datetime.fromisoformat(f"{head}.{(fraction + '000000')[:6]}+00:00")


def day(value: Any) -> datetime:
    """A date YYYY-MM-DD."""
    return datetime.strptime(text(value), "%Y-%m-%d").replace(tzinfo=UTC)


def field(
    rows: Sequence[Any], key: str | int, read: Callable[[Any], Any], provider: str, where: str, label: str = ""
) -> list[Any]:
    """`read(row[key])` of every row. Raises BadPayloadError naming the field, the row and what was found."""
    values = []
    name = label or key
    for n, row in enumerate(rows):
        try:
            values.append(read(row[key]))  # type: ignore[index]
        except (KeyError, IndexError):
            found = list(row) if isinstance(row, dict) else f"{len(row)} values"
            raise BadPayloadError(provider, f"{where}: row {n} has no field {name!r}, found {found}") from None
        except (ValueError, TypeError, OverflowError):
            kind = (read.__doc__ or read.__name__).split(".")[0]
            found = row[key] if isinstance(row, dict | list | tuple) else row  # type: ignore[index]
            raise BadPayloadError(
                provider, f"{where}: row {n}: field {name!r} must be: {kind}; found {str(found)[:80]!r}"
            ) from None
    return values


def entries(payload: Any, provider: str, where: str, key: str | None = None) -> list[Any]:
    """The list of rows in a payload, under `key` where given. Raises BadPayloadError where there is no list."""
    rows = payload
    if key is not None:
        if not isinstance(payload, dict) or key not in payload:
            found = list(payload) if isinstance(payload, dict) else type(payload).__name__
            raise BadPayloadError(provider, f"{where}: expected an object with the field {key!r}, found {found}")
        rows = payload[key]
    if not isinstance(rows, list):
        raise BadPayloadError(provider, f"{where}: expected a list, found {type(rows).__name__} {str(rows)[:80]!r}")
    return rows


def history(payload: Any, provider: str, where: str, key: str | None = None) -> list[Any]:
    """Like `entries`, for an answer that is never empty. Raises NotPublishedYetError for an empty list."""
    rows = entries(payload, provider, where, key)
    if not rows:
        raise NotPublishedYetError(provider, f"{where}: expected the whole history, found an empty list: ask again later")
    return rows


def table_of_csv(body: str, columns: Sequence[str], provider: str, where: str) -> pl.DataFrame:
    """The named columns of a CSV as text, blanks as null. Raises BadPayloadError naming the columns that are not there."""
    lines = body.splitlines()
    broken = next((n for n, line in enumerate(lines) if line.strip() and line.count(",") != lines[0].count(",")), None)
    if broken is not None:
        raise BadPayloadError(provider, f"{where}: line {broken + 1} has not the columns of the header: {lines[broken][:80]!r}")
    try:
        frame = pl.read_csv(io.StringIO(body), infer_schema=False)
    except pl.exceptions.PolarsError as error:
        raise BadPayloadError(provider, f"{where}: expected CSV, found something else ({str(error).splitlines()[0]})") from None
    frame = frame.rename({c: c.strip().strip('"') for c in frame.columns})
    missing = [c for c in columns if c not in frame.columns]
    if missing:
        raise BadPayloadError(provider, f"{where}: the CSV has no column {missing}, found {frame.columns}")
    return frame.select(pl.col(columns).str.strip_chars().replace("", None))


def floats(frame: pl.DataFrame, columns: Sequence[str], provider: str, where: str) -> pl.DataFrame:
    """Text columns as Float64. Raises BadPayloadError naming the first value that is no number."""
    wanted = frame.with_columns(pl.col(columns).cast(pl.Float64, strict=False))
    for column in columns:
        _first_lost(frame[column], wanted[column], column, "a number", provider, where)
    return wanted


def days(frame: pl.DataFrame, column: str, provider: str, where: str) -> pl.DataFrame:
    """A text column of dates (`MM/DD/YYYY` or ISO) as `ts`, midnight UTC. Raises BadPayloadError naming one that is none."""
    read = pl.coalesce(
        pl.col(column).str.to_date("%m/%d/%Y", strict=False), pl.col(column).str.to_date("%Y-%m-%d", strict=False)
    )
    wanted = frame.with_columns(ts=read.cast(pl.Datetime("us")).dt.replace_time_zone("UTC"))
    _first_lost(frame[column].fill_null(""), wanted["ts"], column, "a date MM/DD/YYYY", provider, where)
    return wanted


def covering(frame: pl.DataFrame, days: Sequence[date], provider: str, where: str) -> pl.DataFrame:
    """The frame, if it has a row within `GAP` of each of the days. Raises BadPayloadError: the body was cut off."""
    found = frame["ts"].dt.date()
    for day in days:
        if not found.is_between(day - GAP, day + GAP).any():
            span = " to ".join(str(end) for end in (found.min(), found.max()))
            raise BadPayloadError(provider, f"{where}: expected rows around {day}, found {span}: cut off, ask again later")
    return frame


def instants(frame: pl.DataFrame, column: str, pattern: str, provider: str, where: str) -> pl.DataFrame:
    """A text column of UTC times as `ts`. Raises BadPayloadError naming one that does not fit the strftime `pattern`."""
    wanted = frame.with_columns(ts=pl.col(column).str.to_datetime(pattern, time_unit="us", strict=False, time_zone="UTC"))
    _first_lost(frame[column], wanted["ts"], column, f"a time {pattern}", provider, where)
    return wanted


def frame_of(columns: Mapping[str, Sequence[Any]]) -> pl.DataFrame:
    """A frame of parsed columns; `ts` is UTC."""
    schema = {name: UTC_US for name in columns if name == "ts"}
    return pl.DataFrame(columns, schema_overrides=schema)


def _first_lost(before: pl.Series, after: pl.Series, column: str, kind: str, provider: str, where: str) -> None:
    lost = before.is_not_null() & after.is_null()
    if lost.any():
        row = next(itertools.compress(range(len(lost)), lost.to_list()))
        raise BadPayloadError(provider, f"{where}: row {row}: field {column!r} must be {kind}, found {before[row]!r}")


def _instant(value: float) -> datetime:
    if not 1_230_768_000 <= value < 4_102_444_800:
        raise ValueError("an instant between 2009 and 2100")
    return datetime.fromtimestamp(value, UTC)
