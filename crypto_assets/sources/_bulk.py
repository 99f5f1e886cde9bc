"""Files of data.binance.vision: one zip a symbol and day or month, with its SHA-256 beside it.

`data/{spot|futures/um}/{daily|monthly}/{kind}/{SYMBOL}/[{interval}/]{SYMBOL}-{interval or kind}-{day or month}.zip`, keyless;
no limit is published, so 8 calls a second, four at once. A day's file comes at about 08:30 UTC of the next day, a month's on
the first Monday of the next. The formats vary: a header row or none (sniffed), times in milliseconds or, spot since 2025,
microseconds (told apart by size), `True` or `true`, blanks. Delisted symbols stay. A file may be replaced later, and the
checksum of a few is wrong for good.
"""

from __future__ import annotations

import hashlib
import io
import logging
import re
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING

import polars as pl

from crypto_assets.market.errors import BadPayloadError, NotPublishedYetError, SourceError
from crypto_assets.market.time import DAY, Window, midnight
from crypto_assets.sources._providers import Provider, provide

if TYPE_CHECKING:
    from crypto_assets.sources._http import Http

PROVIDER = provide(Provider("binance_archive", "https://data.binance.vision", 8, 1, workers=4))
AFTER_MIDNIGHT = timedelta(hours=8)
"""No file comes earlier in the day."""
MICROSECONDS_FROM = 10**14
"""A time above this is in microseconds, below in milliseconds."""
_SUM = re.compile(r"[0-9a-fA-F]{64}(?=\s)")
_LOG = logging.getLogger(__name__)

Read = Callable[[pl.Expr], pl.Expr]
"""From a column of text to its values; null where the text is something else."""
Layout = Mapping[str, tuple[str, Read] | None]
"""The columns of a file in order, by the name a header has for them: our name and how to read it, or None to leave it out."""


def instant(text: pl.Expr) -> pl.Expr:
    """A time in milliseconds or microseconds."""
    whole = text.cast(pl.Int64, strict=False)
    return pl.when(whole > MICROSECONDS_FROM).then(whole).otherwise(whole * 1000).cast(pl.Datetime("us", "UTC"))


def clock(text: pl.Expr) -> pl.Expr:
    """A time as YYYY-MM-DD HH:MM:SS, in UTC."""
    return text.str.to_datetime("%Y-%m-%d %H:%M:%S", time_unit="us", time_zone="UTC", strict=False)


def number(text: pl.Expr) -> pl.Expr:
    """A number."""
    return text.cast(pl.Float64, strict=False)


def whole(text: pl.Expr) -> pl.Expr:
    """A whole number."""
    return text.cast(pl.Int64, strict=False)


def flag(text: pl.Expr) -> pl.Expr:
    """True or False, however spelled."""
    return text.str.to_lowercase().replace_strict({"true": True, "false": False}, default=None, return_dtype=pl.Boolean)


@dataclass(frozen=True)
class File:
    """One file: a kind of data of one symbol in one day or calendar month, which begins at `span.start`."""

    folder: str
    """`spot` or `futures/um`."""
    period: str
    kind: str
    symbol: str
    span: Window
    interval: str = ""

    @property
    def name(self) -> str:
        """File name without its ending."""
        stamp = f"{self.span.start:%Y-%m-%d}" if self.period == "daily" else f"{self.span.start:%Y-%m}"
        return f"{self.symbol}-{self.interval or self.kind}-{stamp}"

    @property
    def path(self) -> str:
        """Path of the zip."""
        middle = f"{self.symbol}/{self.interval}" if self.interval else self.symbol
        return f"/data/{self.folder}/{self.period}/{self.kind}/{middle}/{self.name}.zip"


def days(folder: str, kind: str, symbol: str, window: Window, now: datetime, interval: str = "") -> list[File]:
    """The daily files that touch `window` and can be there by `now`."""
    spans = [Window(midnight(day), midnight(day) + DAY) for day in window.days]
    return [File(folder, "daily", kind, symbol, span, interval) for span in spans if span.end + AFTER_MIDNIGHT <= now]


def months(folder: str, kind: str, symbol: str, window: Window, now: datetime, interval: str = "") -> list[File]:
    """The monthly files that touch `window` and can be there by `now`."""
    spans = dict.fromkeys(_month(day) for day in window.days)
    return [File(folder, "monthly", kind, symbol, span, interval) for span in spans if _monday(span.end) <= now]


def _month(day: date) -> Window:
    first = day.replace(day=1)
    return Window(midnight(first), midnight((first + timedelta(days=32)).replace(day=1)))


def _monday(moment: datetime) -> datetime:
    """The first Monday at or after the moment."""
    return moment + timedelta(days=-moment.weekday() % 7) + AFTER_MIDNIGHT


def read(http: Http, files: Iterable[File], layout: Layout) -> Iterator[tuple[File, pl.DataFrame | None]]:
    """Every file with its rows, in the order asked for; None where there is no such file.

    Columns are those of `layout`, in our names; blanks are null. Raises BadPayloadError naming the file: another checksum than
    published (with both), no zip, other columns, a value of another kind; NotPublishedYetError for an empty body; and like
    `Http.get_many_bytes`.
    """
    for file, body, checksum in _bodies(http, list(files)):
        yield file, None if body is None else parse(file, verified(file, body, checksum), layout)


def sound(http: Http, files: Iterable[File], layout: Layout) -> Iterator[tuple[File, pl.DataFrame]]:
    """Like `read`, but only the files that can be used: what is missing, broken or cannot be had is logged and left out.

    For data that REST has too.
    """
    try:
        for file, body, checksum in _bodies(http, list(files)):
            if body is None:
                continue
            try:
                frame = parse(file, verified(file, body, checksum), layout)
            except SourceError as error:
                _LOG.warning("%s; REST is asked instead", error)
            else:
                yield file, frame
    except SourceError as error:
        _LOG.warning("%s; REST is asked instead", error)


def _bodies(http: Http, files: list[File]) -> Iterator[tuple[File, bytes | None, bytes | None]]:
    paths = [path for file in files for path in (file.path, f"{file.path}.CHECKSUM")]
    bodies = http.get_many_bytes(PROVIDER.key, paths)
    return zip(files, bodies, bodies, strict=True)


def verified(file: File, body: bytes, checksum: bytes | None) -> bytes:
    """The body, if its SHA-256 is the published one. Raises BadPayloadError with both."""
    if not body:
        raise NotPublishedYetError(PROVIDER.key, f"{file.path}: expected a zip, found nothing: ask again later")
    told = _SUM.match((checksum or b"").decode("ascii", "replace"))
    found = hashlib.sha256(body).hexdigest()
    if told is None or told[0].lower() != found:
        published = told[0].lower() if told else "no checksum"
        raise BadPayloadError(PROVIDER.key, f"{file.path}: expected SHA-256 {published}, found {found}: ask again later")
    return body


def parse(file: File, body: bytes, layout: Layout) -> pl.DataFrame:
    """The rows of a zip that holds one CSV. Raises BadPayloadError."""
    try:
        with zipfile.ZipFile(io.BytesIO(body)) as archive:
            text = archive.read(f"{file.name}.csv")
    except (zipfile.BadZipFile, KeyError) as error:
        raise BadPayloadError(PROVIDER.key, f"{file.path}: expected a zip of {file.name}.csv: {error}") from None
    has_header = text[:1].isalpha()
    try:
        frame = pl.read_csv(text, has_header=has_header, infer_schema=False)
    except pl.exceptions.PolarsError as error:
        raise BadPayloadError(PROVIDER.key, f"{file.path}: expected CSV ({str(error).splitlines()[0]})") from None
    if not has_header:
        frame = frame.rename(dict(zip(frame.columns, layout, strict=False)))
    return _values(file, frame, {name: column for name, column in layout.items() if column is not None})


def _values(file: File, frame: pl.DataFrame, wanted: Mapping[str, tuple[str, Read]]) -> pl.DataFrame:
    missing = [name for name in wanted if name not in frame.columns]
    if missing:
        raise BadPayloadError(PROVIDER.key, f"{file.path}: expected the columns {list(wanted)}, not found {missing}")
    text = frame.select(pl.col(list(wanted)).replace("", None))
    rows = text.select(value(pl.col(name)).alias(ours) for name, (ours, value) in wanted.items())
    for name, (ours, value) in wanted.items():
        lost = text[name].filter(text[name].is_not_null() & rows[ours].is_null())
        if lost.len():
            kind = (value.__doc__ or "").removesuffix(".")
            raise BadPayloadError(PROVIDER.key, f"{file.path}: field {name!r} must be: {kind}; found {lost[0]!r}")
    return rows
