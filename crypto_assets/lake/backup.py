"""Backups of a lake: content-addressed, incremental, checked, in folders or S3-compatible stores.

A destination holds `objects/<ab>/<sha256>` (each content once) and `snapshots/<UTC time>.json` (path -> hash, size). A snapshot
is written after all its objects, so a killed backup leaves the older ones whole. Nothing is read back unchecked: `restore` and
`verify` hash what they read, and with several copies a damaged object is taken from the next one.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crypto_assets.lake.store import Lake, write_bytes
from crypto_assets.market.errors import LakeError, SettingsError

if TYPE_CHECKING:
    from obstore.store import ObjectStore

LEFT_OUT = ("cache",)
"""Folders under the lake that can be made again at once."""
SQLITE_MAGIC = b"SQLite format 3\x00"
SQLITE_SIDES = ("-wal", "-shm", "-journal")
Listener = Callable[[str, int], None]
"""Called with a path and its bytes when a file is done."""


@dataclass(frozen=True)
class Entry:
    """One file of a snapshot. `mtime_ns` tells a later backup that the file has not been touched."""

    sha256: str
    size: int
    mtime_ns: int


@dataclass(frozen=True)
class Snapshot:
    """The files of a lake at a moment, by path below its root."""

    name: str
    files: dict[str, Entry]

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(e.size for e in self.files.values())

    def json(self) -> bytes:
        """The stored form."""
        return json.dumps({"name": self.name, "files": {p: asdict(e) for p, e in self.files.items()}}, indent=0).encode()

    @classmethod
    def parse(cls, text: bytes, where: str) -> Snapshot:
        """Raises LakeError for a list that is damaged."""
        try:
            plain = json.loads(text)
            return cls(plain["name"], {p: Entry(**e) for p, e in plain["files"].items()})
        except (ValueError, KeyError, TypeError) as error:
            raise LakeError(f"{where}: the snapshot cannot be read ({error}): use another one with --snapshot") from None


@dataclass(frozen=True)
class Done:
    """What a command did. `damaged` are paths whose content is missing or does not have its hash."""

    snapshot: str
    files: int
    bytes: int
    new_objects: int = 0
    new_bytes: int = 0
    damaged: tuple[str, ...] = ()


class Copy:
    """One destination: a folder, or `s3://bucket/prefix` (address and keys from AWS_* variables, also AWS_ENDPOINT_URL)."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.store = _store(address)

    def put(self, path: str, content: bytes) -> None:
        """Write atomically. Raises LakeError."""
        import obstore

        with self._told(f"write {path}"):
            obstore.put(self.store, path, content)

    def get(self, path: str) -> bytes | None:
        """The content, or None where there is none. Raises LakeError."""
        import obstore

        try:
            with self._told(f"read {path}"):
                return bytes(obstore.get(self.store, path).bytes())
        except FileNotFoundError:
            return None

    def names(self, prefix: str) -> dict[str, int]:
        """Paths below `prefix` with their sizes. Raises LakeError."""
        import obstore

        with self._told(f"list {prefix}"):
            return {m["path"]: m["size"] for part in obstore.list(self.store, prefix) for m in part}

    def delete(self, paths: Sequence[str]) -> None:
        """Remove. Raises LakeError."""
        import obstore

        if paths:
            with self._told("delete"):
                obstore.delete(self.store, list(paths))

    def snapshots(self) -> list[str]:
        """Names of all snapshots, oldest first."""
        return sorted(p.removeprefix("snapshots/").removesuffix(".json") for p in self.names("snapshots"))

    def snapshot(self, name: str | None = None) -> Snapshot | None:
        """A snapshot by name, or the newest; None where there is none yet. Raises LakeError for an unknown name."""
        known = self.snapshots()
        if name is not None and name not in known:
            raise LakeError(f"{self.address} has no snapshot {name!r}: there are {', '.join(known) or 'none'}")
        if not known:
            return None
        path = f"snapshots/{name or known[-1]}.json"
        return Snapshot.parse(self.get(path) or b"", f"{self.address}/{path}")

    def _told(self, what: str) -> _Told:
        return _Told(self.address, what)


class _Told:
    """Turns a store's error into a LakeError that names the address; FileNotFoundError passes."""

    def __init__(self, address: str, what: str) -> None:
        self.address, self.what = address, what

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _trace: object) -> None:
        from obstore.exceptions import BaseError

        if isinstance(error, FileNotFoundError):
            return
        if isinstance(error, BaseError | OSError):
            said = " ".join(str(error).split())[:200]
            raise LakeError(
                f"cannot {self.what} in {self.address}: {said}. Check the address, the permissions and, for S3, "
                "AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION and AWS_ENDPOINT_URL"
            ) from None


def backup(
    lake: Lake, copies: Sequence[Copy], *, keep: int | None = None, rehash: bool = False, listener: Listener | None = None
) -> Done:
    """Write a snapshot of the lake to every copy; only contents a copy has not are sent.

    A file whose size and modification time are those of the copy's last snapshot is taken as unchanged, unless `rehash`. With
    `keep`, older snapshots than the newest `keep` are removed, and objects only they used. Raises LakeError; also when the lake
    lies inside a destination or the other way round.
    """
    if not lake.root.is_dir():
        raise LakeError(f"there is no lake at {lake.root}: give its folder with --lake")
    if keep is not None and keep < 1:
        raise SettingsError(f"--keep {keep}: at least 1 snapshot must be kept")
    for copy in copies:
        _refuse_nested(lake.root, copy.address)
    name = datetime.now(UTC).strftime("%Y-%m-%dT%H-%M-%S-%fZ")
    sender = _Sender(copies, rehash)
    files = {}
    for path in _files(lake.root):
        relative = path.relative_to(lake.root).as_posix()
        entry = sender.send(relative, path)
        if entry is None:
            continue
        files[relative] = entry
        if listener:
            listener(relative, entry.size)
    snapshot = Snapshot(name, files)
    for copy in copies:
        copy.put(f"snapshots/{name}.json", snapshot.json())
        if keep is not None:
            _prune(copy, keep)
    return Done(name, len(files), snapshot.size, sender.objects, sender.bytes)


class _Sender:
    """Sends contents that a copy has not; counts them."""

    def __init__(self, copies: Sequence[Copy], rehash: bool) -> None:
        last = [copy.snapshot() for copy in copies]
        self.held = [(copy, set(copy.names("objects"))) for copy in copies]
        self.known = last[0].files if last and last[0] is not None and not rehash else {}
        self.objects = self.bytes = 0

    def send(self, relative: str, path: Path) -> Entry | None:
        """The entry of a file, its content sent where needed; None where the file has gone meanwhile."""
        stat = path.stat()
        entry = self.known.get(relative)
        # A SQLite file in WAL mode changes without being touched.
        touched = path.suffix == ".db" or entry is None or (entry.size, entry.mtime_ns) != (stat.st_size, stat.st_mtime_ns)
        if entry is not None and not touched and all(_object(entry) in has for _, has in self.held):
            return entry
        content = _content(path)
        if content is None:
            return None
        entry = Entry(hashlib.sha256(content).hexdigest(), len(content), stat.st_mtime_ns)
        for copy, has in self.held:
            if _object(entry) not in has:
                copy.put(_object(entry), content)
                has.add(_object(entry))
                self.objects, self.bytes = self.objects + 1, self.bytes + entry.size
        return entry


def restore(copies: Sequence[Copy], lake: Lake, *, name: str | None = None, listener: Listener | None = None) -> Done:
    """Write a snapshot into an empty folder; each content is hashed, and taken from the next copy where one is damaged.

    Raises LakeError when the folder is not empty, or, after all that can be restored is, when contents are damaged in every
    copy, naming them.
    """
    if lake.root.exists() and any(lake.root.iterdir()):
        raise LakeError(f"{lake.root} is not empty: restore into a new folder with --lake, then move it into place")
    snapshot = _newest(copies, name)
    damaged = []
    for relative, entry in snapshot.files.items():
        content = next((c for c in _sound(copies, entry)), None)
        if content is None:
            damaged.append(relative)
            continue
        write_bytes(_inside(lake.root, relative), content)
        if listener:
            listener(relative, entry.size)
    if damaged:
        raise LakeError(
            f"{len(damaged)} of {len(snapshot.files)} files are damaged in every copy and were not restored: "
            f"{', '.join(damaged[:5])}{' …' if len(damaged) > 5 else ''}; the others are in {lake.root}. "
            "Try an older --snapshot, or another copy"
        )
    return Done(snapshot.name, len(snapshot.files), snapshot.size)


def verify(copy: Copy, *, name: str | None = None, listener: Listener | None = None) -> Done:
    """Read and hash every content of a snapshot (the newest by default); `damaged` names the paths that are not whole."""
    snapshot = _newest([copy], name)
    sound: dict[str, bool] = {}
    damaged = []
    for relative, entry in snapshot.files.items():
        if entry.sha256 not in sound:
            sound[entry.sha256] = next(_sound([copy], entry), None) is not None
        if not sound[entry.sha256]:
            damaged.append(relative)
        if listener:
            listener(relative, entry.size)
    return Done(snapshot.name, len(snapshot.files), snapshot.size, damaged=tuple(damaged))


def _newest(copies: Sequence[Copy], name: str | None) -> Snapshot:
    found = [s for s in (copy.snapshot(name) for copy in copies) if s is not None]
    if not found:
        raise LakeError(f"{', '.join(c.address for c in copies)}: there is no snapshot; make one with `crypto-assets backup`")
    return max(found, key=lambda s: s.name)


def _sound(copies: Sequence[Copy], entry: Entry) -> Iterator[bytes]:
    """The content from each copy that has it whole."""
    for copy in copies:
        content = copy.get(_object(entry))
        if content is not None and hashlib.sha256(content).hexdigest() == entry.sha256:
            yield content


def _object(entry: Entry) -> str:
    return f"objects/{entry.sha256[:2]}/{entry.sha256}"


def _prune(copy: Copy, keep: int) -> None:
    names = copy.snapshots()
    if len(names) <= keep:
        return
    kept = [copy.snapshot(n) for n in names[-keep:]]
    used = {_object(e) for s in kept if s is not None for e in s.files.values()}
    copy.delete([f"snapshots/{n}.json" for n in names[:-keep]])
    copy.delete([path for path in copy.names("objects") if path not in used])


def _files(root: Path) -> Iterator[Path]:
    """Every file of the lake but caches, unfinished writes and SQLite's side files, in order."""
    for path in sorted(root.rglob("*")):
        parts = path.relative_to(root).parts
        unfinished = path.name.startswith(".") and path.name.endswith(".tmp")
        if parts[0] in LEFT_OUT or unfinished or path.name.endswith(SQLITE_SIDES) or path.name.startswith(".probe-"):
            continue
        if path.is_file() and not path.is_symlink():
            yield path


def _content(path: Path) -> bytes | None:
    """The bytes of a file, of a SQLite file a consistent copy; None where it has gone meanwhile."""
    try:
        with path.open("rb") as handle:
            if handle.read(len(SQLITE_MAGIC)) != SQLITE_MAGIC:
                handle.seek(0)
                return handle.read()
    except FileNotFoundError:
        return None
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "copy.db"
        try:
            with (
                closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as source,
                closing(sqlite3.connect(target)) as to,
            ):
                source.backup(to)
        except sqlite3.Error as error:
            raise LakeError(f"{path} cannot be copied ({error}): stop what writes to it, and back up again") from None
        return target.read_bytes()


def _inside(root: Path, relative: str) -> Path:
    """The path below the root. Raises LakeError for one that leads out of it."""
    path = (root / relative).resolve()
    if not path.is_relative_to(root.resolve()):
        raise LakeError(f"the snapshot holds the path {relative!r}, which leads out of {root}: it is not one of ours")
    return path


def _refuse_nested(root: Path, address: str) -> None:
    if "://" in address:
        return
    other = Path(address).expanduser().resolve()
    if other == root or other.is_relative_to(root) or root.is_relative_to(other):
        raise SettingsError(f"the backup {other} and the lake {root} lie inside each other: choose a folder elsewhere")


def _store(address: str) -> ObjectStore:
    from obstore.store import LocalStore, S3Store

    scheme, found, rest = address.partition("://")
    if not found:
        folder = Path(address).expanduser().resolve()
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise LakeError(f"cannot make the folder {folder} ({error.strerror}): choose another one") from None
        return LocalStore(folder, mkdir=True)
    bucket, _, prefix = rest.partition("/")
    if scheme != "s3" or not bucket:
        raise SettingsError(f"{address!r}: expected a folder, or s3://bucket or s3://bucket/prefix")
    import os

    options: dict[str, Any] = {}
    if os.environ.get("AWS_ENDPOINT_URL", "").startswith("http://"):
        options["client_options"] = {"allow_http": True}
    return S3Store(bucket, prefix=prefix or None, **options)
