"""Answers spoiled on purpose: pure functions from a body to a body that is wrong in one way.

JSON, CSV, XML and zips of one of them are taken apart as far as needed; what has no rows or no number stays as it is. `rng`
decides which field or row it hits.
"""

from __future__ import annotations

import io
import json
import random
import re
import zipfile
from collections.abc import Callable, Iterator
from typing import Any

KINDS = ("wrong_type", "duplicated", "out_of_order", "schema_drift")
RENAMED = "_v2"
"""What a renamed key ends with."""
ADDED = "added_in_v2"
_ITEM = re.compile(r"<(item|entry)\b.*?</\1>\s*", re.DOTALL)
_LEAF = re.compile(r"<([A-Za-z][\w:.-]*)((?:\s[^<>]*)?)>([^<>]+)</\1>")
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?")


def damage(kind: str, body: bytes, rng: random.Random) -> bytes:
    """The body with one kind of damage.

    `wrong_type`: a number becomes text, or a number in text a number, in one place (in CSV and XML: it becomes `n/a`).
    `duplicated`: each row comes twice. `out_of_order`: the rows are shuffled. `schema_drift`: one key, column or tag has a new
    name everywhere, and rows of objects have one more key.
    """
    if body[:2] == b"PK":
        return _zipped(kind, body, rng)
    try:
        text = body.decode()
    except UnicodeDecodeError:
        return body
    head = text.lstrip()[:1]
    if head in ("{", "["):
        try:
            value = json.loads(text)
        except ValueError:
            return body
        return json.dumps(_JSON[kind](value, rng), separators=(",", ":"), ensure_ascii=False).encode()
    return (_XML if head == "<" else _CSV)[kind](text, rng).encode()


def _zipped(kind: str, body: bytes, rng: random.Random) -> bytes:
    with zipfile.ZipFile(io.BytesIO(body)) as archive:
        members = [(entry, archive.read(entry)) for entry in archive.infolist()]
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for entry, content in members:
            archive.writestr(entry, damage(kind, content, rng))
    return buffer.getvalue()


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every (container, key or index) in a JSON value."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield value, key
        yield from _places(inner)


def _is_number(value: Any) -> bool:
    if isinstance(value, str):
        return _NUMBER.fullmatch(value) is not None
    return isinstance(value, int | float) and not isinstance(value, bool)


def _json_type(value: Any, rng: random.Random) -> Any:
    numbers = [(box, key) for box, key in _places(value) if _is_number(box[key])]
    if numbers:
        box, key = rng.choice(numbers)
        box[key] = float(box[key]) if isinstance(box[key], str) else str(box[key])
    return value


def _json_rows(change: Callable[[list, random.Random], list]) -> Callable[[Any, random.Random], Any]:
    """A change of the longest list of objects or lists; where there is none, of the longest list."""

    def changed(value: Any, rng: random.Random) -> Any:
        lists = [box[key] for box, key in _places(value) if isinstance(box[key], list)]
        lists += [value] if isinstance(value, list) else []
        if lists:
            rows = max(lists, key=lambda found: (any(isinstance(row, dict | list) for row in found), len(found)))
            rows[:] = change(rows, rng)
        return value

    return changed


def _json_drift(value: Any, rng: random.Random) -> Any:
    boxes = [value, *(box[key] for box, key in _places(value))]
    objects = [box for box in boxes if isinstance(box, dict)]
    names = sorted({key for box in objects for key in box})
    if not names:  # rows without keys: one column more
        rows = [box for box in boxes if isinstance(box, list) and box and not isinstance(box[0], list | dict)]
        for row in rows:
            row.append(None)
        return value
    chosen = rng.choice(names)
    for box in objects:
        if chosen in box:
            renamed = {f"{key}{RENAMED}" if key == chosen else key: inner for key, inner in box.items()}
            box.clear()
            box.update({**renamed, ADDED: None})
    return value


def _twice(rows: list, rng: random.Random) -> list:
    return [row for row in rows for _ in range(2)]


def _shuffled(rows: list, rng: random.Random) -> list:
    """In another order, where there is one."""
    found = rng.sample(rows, len(rows))
    return found if found != rows else rows[::-1]


def _lines(text: str) -> tuple[list[str], list[str]]:
    """Header (nothing if the first line has a number in front) and rows, without the last line break."""
    lines = text.splitlines()
    has_header = bool(lines) and not lines[0][:1].isdigit()
    return lines[:has_header], lines[has_header:]


def _csv_rows(change: Callable[[list, random.Random], list]) -> Callable[[str, random.Random], str]:
    def changed(text: str, rng: random.Random) -> str:
        header, rows = _lines(text)
        return "".join(f"{line}\n" for line in [*header, *change(rows, rng)])

    return changed


def _csv_type(text: str, rng: random.Random) -> str:
    header, rows = _lines(text)
    numbers = [m.span() for m in re.finditer(rf"(?:(?<=[,\t\n])|^){_NUMBER.pattern}(?=[,\t\n]|$)", "\n".join(rows))]
    if not numbers:
        return text
    body, (start, end) = "\n".join(rows), rng.choice(numbers)
    return "".join(f"{line}\n" for line in [*header, *f"{body[:start]}n/a{body[end:]}".split("\n")])


def _csv_drift(text: str, rng: random.Random) -> str:
    header, rows = _lines(text)
    separator = "\t" if "\t" in text else ","
    if header:
        names = header[0].split(separator)
        n = rng.randrange(len(names))
        quoted = names[n].endswith('"')
        names[n] = f'{names[n][:-1]}{RENAMED}"' if quoted else f"{names[n]}{RENAMED}"
        header = [separator.join([*names, ADDED])]
    return "".join(f"{line}\n" for line in [*header, *(f"{row}{separator}" for row in rows)])


def _xml_rows(change: Callable[[list, random.Random], list]) -> Callable[[str, random.Random], str]:
    def changed(text: str, rng: random.Random) -> str:
        items = [match.group() for match in _ITEM.finditer(text)]
        if not items:
            return text
        first = text.index(items[0])
        rest = _ITEM.sub("", text)
        return rest[:first] + "".join(change(items, rng)) + rest[first:]

    return changed


def _xml_type(text: str, rng: random.Random) -> str:
    numbers = [m.span(3) for m in _LEAF.finditer(text) if any(c.isdigit() for c in m[3])]
    if not numbers:
        return text
    start, end = rng.choice(numbers)
    return f"{text[:start]}n/a{text[end:]}"


def _xml_drift(text: str, rng: random.Random) -> str:
    names = sorted({m[1] for m in _LEAF.finditer(text)})
    if not names:
        return text
    chosen = re.escape(rng.choice(names))
    return re.sub(rf"(</?)({chosen})(?=[\s>])", rf"\1\2{RENAMED}", text)


_JSON = dict(zip(KINDS, (_json_type, _json_rows(_twice), _json_rows(_shuffled), _json_drift), strict=True))
_CSV = dict(zip(KINDS, (_csv_type, _csv_rows(_twice), _csv_rows(_shuffled), _csv_drift), strict=True))
_XML = dict(zip(KINDS, (_xml_type, _xml_rows(_twice), _xml_rows(_shuffled), _xml_drift), strict=True))
