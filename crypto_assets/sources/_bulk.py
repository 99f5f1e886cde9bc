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

from crypto_assets.market.coins import Coin
from crypto_assets.market.errors import BadPayloadError, GeoBlockedError, NotPublishedYetError, SourceError
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
"""From a column of text to its values; null where the text is something else, which is an error but for `number_or_none`."""
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


def number_or_none(text: pl.Expr) -> pl.Expr:
    """A number or a blank."""
    return number(text)


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


@dataclass(frozen=True)
class Part:
    """One coin under one exchange symbol, and the past part of the window in which it held."""

    coin: Coin
    symbol: str
    window: Window


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

    Columns are those of `layout`, in our names. Raises BadPayloadError naming the file: another checksum than
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
    bodies = http.get_many_bytes(PROVIDER.key, paths) if paths else iter(())
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
    return values(frame, layout, PROVIDER.key, file.path)


def values(text: pl.DataFrame, layout: Layout, provider: str, where: str) -> pl.DataFrame:
    """Columns of text as values, in our names. Raises BadPayloadError naming a missing column or the value that is off."""
    wanted = {name: column for name, column in layout.items() if column is not None}
    missing = [name for name in wanted if name not in text.columns]
    if missing:
        raise BadPayloadError(provider, f"{where}: expected the columns {list(wanted)}, not found {missing}")
    told = text.select(pl.col(list(wanted)).replace("", None))
    rows = told.select(read(pl.col(name)).alias(ours) for name, (ours, read) in wanted.items())
    for name, (ours, read) in wanted.items():
        lost = rows[ours].is_null() & (told[name].is_not_null() if read is number_or_none else True)
        if lost.any():
            kind, found = (read.__doc__ or "").removesuffix("."), told[name].filter(lost)[0]
            raise BadPayloadError(provider, f"{where}: field {name!r} must be: {kind}; found {found!r}")
    return rows


def archived(
    asked: list[Part],
    found: Iterable[tuple[File, pl.DataFrame | None]],
    reduce: Callable[[pl.DataFrame], pl.DataFrame] = lambda rows: rows,
) -> tuple[list[pl.DataFrame], list[Part]]:
    """What the archive's files (of `read` or `sound`) hold of the parts asked for, and the parts they do not cover.

    Of each file only the rows of its own span and part, through `reduce`, with `symbol`.
    """
    have: dict[str, list[Window]] = {part.symbol: [] for part in asked}
    frames = []
    for file, rows in found:
        if rows is not None:
            have[file.symbol].append(file.span)
            for part in asked:
                if part.symbol == file.symbol and part.window.start < file.span.end and file.span.start < part.window.end:
                    inside = rows.filter(within(file.span), within(part.window))
                    frames.append(reduce(inside).with_columns(symbol=pl.lit(part.coin.symbol)))
    rest = [Part(part.coin, part.symbol, gap) for part in asked for gap in gaps(part.window, have[part.symbol])]
    return frames, rest


def instead(
    refusal: GeoBlockedError,
    asked: list[Part],
    found: Iterable[tuple[File, pl.DataFrame | None]],
    reduce: Callable[[pl.DataFrame], pl.DataFrame] = lambda rows: rows,
) -> list[pl.DataFrame]:
    """As `archived`, for what REST refuses. Raises the refusal where a day of a listed coin is not in the archive."""
    frames, rest = archived(asked, found, reduce)
    if any(part.coin.is_listed(day) for part in rest for day in part.window.days):
        raise refusal
    return frames


def gaps(window: Window, covered: list[Window]) -> list[Window]:
    """What of `window` the others leave open, in order."""
    found, start = [], window.start
    for span in sorted(covered):
        if start < span.start:
            found.append(Window(start, min(span.start, window.end)))
        start = max(start, span.end)
    return found + ([Window(start, window.end)] if start < window.end else [])


def within(window: Window) -> pl.Expr:
    """Whether `ts` lies in the window."""
    return (pl.col("ts") >= window.start) & (pl.col("ts") < window.end)
