"""Excel workbooks written by hand, for the publishers that serve their tables so: `.xlsx` (OOXML) and `.xls` (BIFF8).

Only what such files hold: several sheets of texts, numbers, dates and blanks. A sheet is a list of rows of `str`, `float`,
`date` or `None`. Formats: ECMA-376 part 1; [MS-XLS] and [MS-CFB].
"""

from __future__ import annotations

import io
import struct
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from xml.sax.saxutils import escape, quoteattr

Cell = str | float | date | None
Sheets = Mapping[str, Sequence[Sequence[Cell]]]
EPOCH = date(1899, 12, 30)
"""Day 0 of Excel's dates, as they count since 1900-03-01."""
DATE_FORMAT = 14
"""The built-in number format of a date."""

_MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
_RELATIONS = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_PACKAGE = "http://schemas.openxmlformats.org/package/2006"
_TYPE = "application/vnd.openxmlformats-officedocument.spreadsheetml"
_STYLES = (
    f'<styleSheet xmlns="{_MAIN}"><fonts count="1"><font/></fonts><fills count="1"><fill/></fills><borders count="1"><border/>'
    '</borders><cellStyleXfs count="1"><xf/></cellStyleXfs><cellXfs count="2"><xf numFmtId="0"/>'
    f'<xf numFmtId="{DATE_FORMAT}" applyNumberFormat="1"/></cellXfs></styleSheet>'
)


def xlsx(sheets: Sheets) -> bytes:
    """The workbook as OOXML; the same sheets give the same bytes."""
    numbered = list(enumerate(sheets, start=1))
    parts = {
        "[Content_Types].xml": f'<Types xmlns="{_PACKAGE}/content-types">'
        '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
        f'<Override PartName="/xl/workbook.xml" ContentType="{_TYPE}.sheet.main+xml"/>'
        f'<Override PartName="/xl/styles.xml" ContentType="{_TYPE}.styles+xml"/>'
        + "".join(
            f'<Override PartName="/xl/worksheets/sheet{n}.xml" ContentType="{_TYPE}.worksheet+xml"/>' for n, _ in numbered
        )
        + "</Types>",
        "_rels/.rels": _relations([("rId1", "officeDocument", "xl/workbook.xml")]),
        "xl/workbook.xml": f'<workbook xmlns="{_MAIN}" xmlns:r="{_RELATIONS}"><sheets>'
        + "".join(f'<sheet name={quoteattr(name)} sheetId="{n}" r:id="rId{n}"/>' for n, name in numbered)
        + "</sheets></workbook>",
        "xl/_rels/workbook.xml.rels": _relations(
            [*((f"rId{n}", "worksheet", f"worksheets/sheet{n}.xml") for n, _ in numbered), ("rId0", "styles", "styles.xml")]
        ),
        "xl/styles.xml": _STYLES,
        **{f"xl/worksheets/sheet{n}.xml": _sheet(sheets[name]) for n, name in numbered},
    }
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in parts.items():
            head = '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n'
            archive.writestr(zipfile.ZipInfo(name), head + text, zipfile.ZIP_DEFLATED)
    return out.getvalue()


def _relations(relations: Sequence[tuple[str, str, str]]) -> str:
    inner = "".join(f'<Relationship Id="{i}" Type="{_RELATIONS}/{kind}" Target="{target}"/>' for i, kind, target in relations)
    return f'<Relationships xmlns="{_PACKAGE}/relationships">{inner}</Relationships>'


def _sheet(rows: Sequence[Sequence[Cell]]) -> str:
    lines = []
    for n, row in enumerate(rows, start=1):
        cells = "".join(_cell(f"{_letters(k)}{n}", value) for k, value in enumerate(row) if value is not None)
        lines.append(f'<row r="{n}">{cells}</row>')
    return f'<worksheet xmlns="{_MAIN}"><sheetData>{"".join(lines)}</sheetData></worksheet>'


def _cell(place: str, value: Cell) -> str:
    if isinstance(value, str):
        return f'<c r="{place}" t="inlineStr"><is><t xml:space="preserve">{escape(value)}</t></is></c>'
    if isinstance(value, date):
        return f'<c r="{place}" s="1"><v>{(value - EPOCH).days}</v></c>'
    return f'<c r="{place}"><v>{value!r}</v></c>'


def _letters(column: int) -> str:
    """A, B, ..., Z, AA, ... of columns 0, 1, ..."""
    more, last = divmod(column, 26)
    return (_letters(more - 1) if more else "") + chr(ord("A") + last)


_SECTOR = 512
_FREE, _END, _FAT = 0xFFFFFFFF, 0xFFFFFFFE, 0xFFFFFFFD
_SMALLEST = 4096
"""Shorter streams would have to live in the mini stream."""


def xls(sheets: Sheets) -> bytes:
    """The workbook as BIFF8 in a compound file, as Excel 97 to 2003 wrote it; the same sheets give the same bytes."""
    bodies = [_substream(0x0010, _records(rows)) for rows in sheets.values()]
    names = [name.encode("latin-1") for name in sheets]
    formats = b"".join(_record(0x00E0, struct.pack("<HHH14x", 0, number, 0)) for number in (0, DATE_FORMAT))
    listed = sum(4 + 8 + len(name) for name in names)
    at = len(_substream(0x0005, [formats])) + listed
    bounds = b""
    for name, body in zip(names, bodies, strict=True):
        bounds += _record(0x0085, struct.pack("<IHBB", at, 0, len(name), 0) + name)
        at += len(body)
    return _compound(_substream(0x0005, [formats, bounds]) + b"".join(bodies))


def _record(kind: int, data: bytes) -> bytes:
    return struct.pack("<HH", kind, len(data)) + data


def _substream(kind: int, records: Sequence[bytes]) -> bytes:
    """Records between BOF (globals 0x0005, worksheet 0x0010) and EOF."""
    return _record(0x0809, struct.pack("<HHHHII", 0x0600, kind, 0, 1997, 0, 6)) + b"".join(records) + _record(0x000A, b"")


def _records(rows: Sequence[Sequence[Cell]]) -> list[bytes]:
    width = max((len(row) for row in rows), default=0)
    return [_record(0x0200, struct.pack("<IIHHH", 0, len(rows), 0, width, 0)), *_cells(rows)]


def _cells(rows: Sequence[Sequence[Cell]]) -> Iterator[bytes]:
    """LABEL for texts, NUMBER for numbers and dates; the second XF makes it a date."""
    for n, row in enumerate(rows):
        for k, value in enumerate(row):
            if isinstance(value, str):
                text = value.encode("utf-16-le")
                yield _record(0x0204, struct.pack("<HHHHB", n, k, 0, len(text) // 2, 1) + text)
            elif isinstance(value, date):
                yield _record(0x0203, struct.pack("<HHHd", n, k, 1, float((value - EPOCH).days)))
            elif value is not None:
                yield _record(0x0203, struct.pack("<HHHd", n, k, 0, value))


def _compound(stream: bytes) -> bytes:
    """A compound file with one stream, `Workbook`: header, FAT sectors, one directory sector, the stream."""
    stream = stream.ljust(max(_SMALLEST, -(-len(stream) // _SECTOR) * _SECTOR), b"\0")
    used = len(stream) // _SECTOR
    tables = 1
    while tables * (_SECTOR // 4) < tables + 1 + used:
        tables += 1
    first = tables + 1
    chain = [*range(first + 1, first + used), _END]
    entries = [_FAT] * tables + [_END] + chain
    entries += [_FREE] * (tables * (_SECTOR // 4) - len(entries))
    header = bytes.fromhex("d0cf11e0a1b11ae1") + bytes(16)
    header += struct.pack("<HHHHH6xIIIIIIIII", 0x3E, 3, 0xFFFE, 9, 6, 0, tables, tables, 0, _SMALLEST, _END, 0, _END, 0)
    header += struct.pack("<109I", *range(tables), *[_FREE] * (109 - tables))
    directory = (
        _entry("Root Entry", 5, 1, _END, 0) + _entry("Workbook", 2, _FREE, first, len(stream)) + 2 * _entry("", 0, _FREE)
    )
    return header + struct.pack(f"<{len(entries)}I", *entries) + directory + stream


def _entry(name: str, kind: int, child: int, start: int = 0, size: int = 0) -> bytes:
    text = (name + "\0").encode("utf-16-le") if name else b""
    links = struct.pack("<HBBIII", len(text), kind, 1, _FREE, _FREE, child)
    return text.ljust(64, b"\0") + links + bytes(36) + struct.pack("<IQ", start, size)
