"""GDELT bulk files: `/gdeltv2/{stamp}.gkg.csv.zip` (27 tab-separated columns) and `lastupdate.txt`.

A file holds the simulated headlines of its stamp among a few records of other news; slots without headlines do not exist.
"""

from __future__ import annotations

import hashlib
import html
import io
import zipfile
from collections import OrderedDict
from datetime import UTC, date, datetime, timedelta

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from crypto_assets.market.time import DAY, midnight
from crypto_assets.sandbox.endpoints import World
from crypto_assets.sandbox.endpoints._wire import get

EMPTY = b""
LAG = timedelta(minutes=5)
COLUMNS = 27
DAYS_KEPT = 8
OTHER_NEWS = (
    ("City council approves new bridge", "example.net", "https://example.net/local/city-council-approves-new-bridge"),
    ("Link between sleep and memory confirmed", "example.org", "https://example.org/science/link-between-sleep-and-memory"),
    ("Storm warning for the northern coast", "example.com", "https://example.com/weather/storm-warning-northern-coast"),
)


def routes(world: World) -> list[Route]:
    """The routes of this provider."""
    files = Files(world)
    return [
        get("/gdeltv2/lastupdate.txt", lambda request: files.last_update(request)),
        get("/gdeltv2/{stamp}.gkg.csv.zip", lambda request: files.zip(request.path_params["stamp"])),
    ]


class Files:
    """The files of the last days that were asked for."""

    def __init__(self, world: World) -> None:
        self.world = world
        self._days: OrderedDict[date, dict[datetime, list[tuple[str, str, str, str]]]] = OrderedDict()

    def zip(self, text: str) -> Response:
        """One file, or 404 in the form of an object store."""
        try:
            stamp = datetime.strptime(text, "%Y%m%d%H%M%S").replace(tzinfo=UTC)
        except ValueError:
            return _missing()
        rows = self._rows(stamp) if stamp + LAG <= self.world.now() else []
        return Response(_pack(stamp, rows), media_type="application/zip") if rows else _missing()

    def last_update(self, request: Request) -> Response:
        """Size, MD5 and address of the newest file."""
        day = (self.world.now() - LAG).date()
        for back in range(2):
            stamps = [s for s in self._day(day - back * DAY) if s + LAG <= self.world.now()]
            if stamps:
                body = _pack(max(stamps), self._rows(max(stamps)))
                address = f"{request.base_url}gdelt_bulk/gdeltv2/{max(stamps):%Y%m%d%H%M%S}.gkg.csv.zip"
                return Response(f"{len(body)} {hashlib.md5(body, usedforsecurity=False).hexdigest()} {address}\n".encode())
        return _missing()

    def _rows(self, stamp: datetime) -> list[tuple[str, str, str, str]]:
        return self._day(stamp.date()).get(stamp, [])

    def _day(self, day: date) -> dict[datetime, list[tuple[str, str, str, str]]]:
        """(id, title, url, domain) by stamp."""
        if day not in self._days:
            frame = self.world.market.headlines(midnight(day), midnight(day) + DAY)
            found: dict[datetime, list[tuple[str, str, str, str]]] = {}
            for ts, *row in frame.select("ts", "id", "title", "url", "domain").iter_rows():
                found.setdefault(ts, []).append(tuple(row))
            self._days[day] = found
            if len(self._days) > DAYS_KEPT:
                self._days.popitem(last=False)
        return self._days[day]


def _pack(stamp: datetime, rows: list[tuple[str, str, str, str]]) -> bytes:
    name = f"{stamp:%Y%m%d%H%M%S}"
    others = [(f"{name}-T{n}", title, url, domain) for n, (title, domain, url) in enumerate(OTHER_NEWS)]
    text = "\n".join(_record(name, *row) for row in [*rows, *others]) + "\n"
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        entry = zipfile.ZipInfo(f"{name}.gkg.csv", stamp.timetuple()[:6])
        entry.compress_type = zipfile.ZIP_DEFLATED
        archive.writestr(entry, text)
    return buffer.getvalue()


def _record(stamp: str, record: str, title: str, url: str, domain: str) -> str:
    columns = [""] * COLUMNS
    columns[0], columns[1], columns[2], columns[3], columns[4] = record, stamp, "1", domain, url
    columns[15] = "0,0,0,0,0,0,100"
    columns[26] = f"<PAGE_LINKS></PAGE_LINKS><PAGE_TITLE>{html.escape(title)}</PAGE_TITLE>"
    return "\t".join(columns)


def _missing() -> Response:
    body = b"<?xml version='1.0' encoding='UTF-8'?><Error><Code>NoSuchKey</Code></Error>"
    return Response(body, 404, media_type="application/xml")
