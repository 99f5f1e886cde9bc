"""Headlines that mention a coin, from the bulk files of GDELT.

Global Knowledge Graph 2.1: one zip every 15 minutes (`/gdeltv2/{YYYYMMDDHHMMSS}.gkg.csv.zip`), keyless, a TSV of 27 columns
without a header. A file weighs several MB, so one an hour is read, that of half past; what it holds is known 30 minutes later,
at the full hour. Files never change; a few slots are missing (404) and are skipped. Free for any use with citation of GDELT.

A row is kept if its title names a coin of the universe or a word of the trade, or if the address does (there only by full
names: short symbols are ordinary syllables in an address).
"""

from __future__ import annotations

import html
import io
import re
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import polars as pl

from crypto_assets.lake.tables import Field, RawTable
from crypto_assets.market.coins import Universe
from crypto_assets.market.errors import BadPayloadError, NotPublishedYetError
from crypto_assets.market.time import HOUR, Window
from crypto_assets.sources import _payload as payload
from crypto_assets.sources._spec import Source

if TYPE_CHECKING:
    from crypto_assets.sources._http import Http

PATH = "/gdeltv2/{stamp}.gkg.csv.zip"
OFFSET = timedelta(minutes=30)
COLUMNS = 27
MOST_MALFORMED = 0.01
"""Share of lines with another number of columns that a file may have; the graph has a few with stray tabs."""
SUSPICIOUS, SETTLED = 24, timedelta(days=3)
"""So many slots without a file, this recent, mean that publication is late; in the past GDELT has gaps of whole days."""
LARGEST_BYTES = 512 * 2**20
"""A file that unpacks to more than this is no file of GDELT."""
WORDS = (
    r"crypto(?:s|currency|currencies)?|bitcoins?|btc|ethereum|blockchains?|altcoins?|stablecoins?|memecoins?|defi|web3|"
    r"digital[ -]assets?|binance|coinbase|tether"
)
"""Words of the trade."""
_TITLE = re.compile(r"<PAGE_TITLE>(.*?)</PAGE_TITLE>", re.DOTALL)


class RawNews(RawTable):
    """One row per article; `ts` is the stamp of the file that carried it."""

    name = "raw/news"
    key = ("id", "ts", "source")

    id: str = Field(meaning="GDELT record id")
    title: str = Field(meaning="page title, or the words of the address where there is none")
    url: str = Field(meaning="address of the article")
    domain: str = Field(meaning="site it appeared on")


def fetch(window: Window, http: Http) -> pl.DataFrame:
    """Articles in the half-past files of `window` that mention the universe or the trade.

    Raises a SourceError: BadPayloadError for a file that is no zip or has another shape.
    """
    stamps = [stamp for stamp in half_hours(window) if stamp + OFFSET <= http.now()]
    paths = [PATH.format(stamp=f"{stamp:%Y%m%d%H%M%S}") for stamp in stamps]
    mention = Mention.of(http.universe)
    rows: list[tuple[str, str, str, str, str]] = []
    missing = 0
    for path, body in zip(paths, http.get_many_bytes("gdelt_bulk", paths), strict=True):
        missing += body is None
        rows.extend(_articles(body, path, mention) if body is not None else ())
    if missing == len(paths) >= SUSPICIOUS and http.now() - stamps[-1] < SETTLED:
        raise NotPublishedYetError("gdelt_bulk", f"{paths[0]} to {paths[-1]}: expected files, found none: ask again later")
    frame = pl.DataFrame(rows, schema=dict.fromkeys(("id", "V2.1DATE", "domain", "url", "title"), pl.String), orient="row")
    dated = payload.instants(frame, "V2.1DATE", "%Y%m%d%H%M%S", "gdelt_bulk", "gkg.csv").drop("V2.1DATE")
    return SOURCE.rows(dated, window, http.now())


def half_hours(window: Window) -> Iterator[datetime]:
    """Every hh:30 in the window."""
    start = window.start.replace(minute=30, second=0, microsecond=0)
    stamp = start if start >= window.start else start + HOUR
    while stamp < window.end:
        yield stamp
        stamp += HOUR


@dataclass(frozen=True)
class Mention:
    """Whether a title or an address speaks of crypto."""

    symbols: re.Pattern[str]
    names: re.Pattern[str]

    @classmethod
    def of(cls, universe: Universe) -> Mention:
        """Symbols count as upper-case words of a title, names and words of the trade anywhere as whole words."""
        symbols = [s for coin in universe for s in (coin.symbol, *(old for old, _ in coin.former))]
        names = sorted({w.lower() for coin in universe for w in (coin.name, *coin.words)})
        both = "|".join([WORDS, *(re.escape(name).replace("\\ ", "[ -]") for name in names)])
        return cls(
            re.compile(rf"(?<![A-Za-z0-9])(?:{'|'.join(map(re.escape, symbols))})(?![A-Za-z0-9])"),
            re.compile(rf"(?<![a-z0-9])(?:{both})(?![a-z0-9])", re.IGNORECASE),
        )

    def __call__(self, title: str, url: str) -> bool:
        """Whether one of the two does."""
        return bool(self.symbols.search(title) or self.names.search(title) or self.names.search(urlsplit(url).path))


def _articles(body: bytes, path: str, mention: Mention) -> Iterator[tuple[str, str, str, str, str]]:
    """(id, stamp, domain, url, title) of the articles of one file that mention what we look for."""
    lines = [line for line in _unzip(body, path).split("\n") if line]
    malformed = 0
    for line in lines:
        columns = line.split("\t")
        if len(columns) != COLUMNS:
            malformed += 1
            continue
        url, found = columns[4], _TITLE.search(columns[26])
        title = " ".join(html.unescape(found[1]).split()) if found else _words_of(url)
        if mention(title, url):
            yield columns[0], columns[1], columns[3], url, title
    if malformed > max(1, MOST_MALFORMED * len(lines)):
        raise BadPayloadError(
            "gdelt_bulk", f"{path}: expected {COLUMNS} columns, found another number in {malformed} of {len(lines)} lines"
        )


def _unzip(body: bytes, path: str) -> str:
    try:
        with zipfile.ZipFile(io.BytesIO(body)) as archive:
            members = archive.infolist()
            if len(members) != 1 or members[0].file_size > LARGEST_BYTES:
                found = [(m.filename, m.file_size) for m in members]
                raise BadPayloadError("gdelt_bulk", f"{path}: expected one file below {LARGEST_BYTES} bytes, found {found}")
            return archive.read(members[0]).decode("utf-8", "replace")
    except (zipfile.BadZipFile, EOFError, OSError) as error:
        kind = "an HTML page" if body.lstrip()[:1] == b"<" else f"{len(body)} bytes"
        raise BadPayloadError("gdelt_bulk", f"{path}: expected a zip, found {kind} ({error}): ask again later") from None


def _words_of(url: str) -> str:
    """The last part of an address as words."""
    parts = [part for part in urlsplit(url).path.split("/") if part]
    return re.sub(r"[-_]+", " ", re.sub(r"\.\w{2,5}$", "", parts[-1])) if parts else url


SOURCE = Source(
    table=RawNews,
    fetch=fetch,
    provider="gdelt_bulk",
    available_at=pl.col("ts") + OFFSET,
    pool="gdelt_bulk",
    freshness=timedelta(hours=26),
    terms="free for any use with citation of the GDELT project",
    is_core=True,
)
