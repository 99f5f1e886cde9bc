"""A backup is whole, incremental and checked: in folders, and in an S3-compatible store."""

from __future__ import annotations

import json
import sqlite3
import urllib.request
from contextlib import closing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crypto_assets.lake import Lake
from crypto_assets.lake.backup import Copy, Snapshot, backup, restore, verify
from crypto_assets.market.errors import LakeError, SettingsError


def contents(root):
    return {p.relative_to(root).as_posix(): p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file()}


@pytest.fixture
def lake(tmp_path):
    root = tmp_path / "lake"
    for name, content in {"world.json": b"{}", "raw/a/date=2024-01-01/part.parquet": b"a" * 999, "raw/b/empty": b""}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    (root / "cache" / "x").mkdir(parents=True)
    (root / "cache" / "x" / "y").write_bytes(b"made again")
    return Lake(root)


@pytest.fixture(scope="module")
def s3():
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    url = f"http://{host}:{port}"
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {"ENDPOINT_URL": url, "ACCESS_KEY_ID": "k", "SECRET_ACCESS_KEY": "s", "REGION": "us-east-1"}.items():
            patch.setenv(f"AWS_{name}", value)
        urllib.request.urlopen(urllib.request.Request(f"{url}/backups", method="PUT")).close()
        yield "s3://backups/lake"
    server.stop()


@pytest.fixture(params=["folder", "s3"])
def copy(request, tmp_path):
    if request.param == "folder":
        return Copy(str(tmp_path / "copy"))
    found = Copy(request.getfixturevalue("s3"))
    found.delete([*found.names("objects"), *found.names("snapshots")])
    return found


def test_what_is_restored_is_what_was_there(lake, copy, tmp_path):
    done = backup(lake, [copy])
    assert (done.files, done.new_objects) == (3, 3)
    back = Lake(tmp_path / "back")
    restore([copy], back)
    assert contents(back.root) == {k: v for k, v in contents(lake.root).items() if not k.startswith("cache")}
    assert verify(copy).damaged == ()


def test_only_what_is_new_is_sent(lake, copy):
    backup(lake, [copy])
    assert backup(lake, [copy]).new_objects == 0
    (lake.root / "raw/a/date=2024-01-02").mkdir()
    (lake.root / "raw/a/date=2024-01-02/part.parquet").write_bytes(b"b" * 10)
    again = backup(lake, [copy])
    assert (again.files, again.new_objects, again.new_bytes) == (4, 1, 10)


def test_older_snapshots_stay_until_they_are_pruned(lake, copy, tmp_path):
    first = backup(lake, [copy]).snapshot
    (lake.root / "world.json").write_bytes(b'{"world": 2}')
    backup(lake, [copy])
    restore([copy], Lake(tmp_path / "old"), name=first)
    assert (tmp_path / "old" / "world.json").read_bytes() == b"{}"
    backup(lake, [copy], keep=1)
    assert len(copy.snapshots()) == 1
    assert len(copy.names("objects")) == 3
    assert verify(copy).damaged == ()
    with pytest.raises(LakeError, match="has no snapshot"):
        restore([copy], Lake(tmp_path / "older"), name=first)


def test_a_damaged_object_is_found_and_taken_from_the_other_copy(lake, copy, tmp_path):
    second = Copy(str(tmp_path / "second"))
    backup(lake, [copy, second])
    victim = next(p for p, size in copy.names("objects").items() if size == 999)
    copy.put(victim, b"a" * 998 + b"b")
    assert verify(copy).damaged == ("raw/a/date=2024-01-01/part.parquet",)
    restore([copy, second], Lake(tmp_path / "back"))
    assert (tmp_path / "back/raw/a/date=2024-01-01/part.parquet").read_bytes() == b"a" * 999
    with pytest.raises(LakeError, match=r"1 of 3 files are damaged in every copy.*part\.parquet"):
        restore([copy], Lake(tmp_path / "alone"))
    assert (tmp_path / "alone" / "world.json").exists(), "what is sound is restored all the same"


def test_a_lost_object_is_sent_again(lake, copy):
    backup(lake, [copy])
    copy.delete(list(copy.names("objects"))[:1])
    assert len(verify(copy).damaged) == 1
    assert backup(lake, [copy]).new_objects == 1
    assert verify(copy).damaged == ()


def test_a_database_in_use_is_copied_whole(lake, copy, tmp_path):
    with closing(sqlite3.connect(lake.root / "hot.db")) as database:
        database.execute("PRAGMA journal_mode=WAL")
        database.execute("CREATE TABLE t (x)")
        database.execute("INSERT INTO t VALUES (1)")
        database.commit()
        backup(lake, [copy])
        database.execute("INSERT INTO t VALUES (2)")
        database.commit()
        backup(lake, [copy])
    restore([copy], Lake(tmp_path / "back"))
    with closing(sqlite3.connect(tmp_path / "back" / "hot.db")) as database:
        assert database.execute("SELECT count(*) FROM t").fetchone() == (2,)


def test_a_killed_backup_leaves_the_last_snapshot(lake, copy):
    first = backup(lake, [copy]).snapshot
    (lake.root / "world.json").write_bytes(b"new")

    def killed(path, size):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        backup(lake, [copy], listener=killed)
    assert copy.snapshots() == [first]
    assert verify(copy).damaged == ()


def test_wrong_asks_say_what_to_do(lake, tmp_path):
    with pytest.raises(SettingsError, match="inside each other"):
        backup(lake, [Copy(str(lake.root / "copy"))])
    with pytest.raises(SettingsError, match="expected a folder, or s3"):
        Copy("ftp://host/x")
    with pytest.raises(SettingsError, match="at least 1"):
        backup(lake, [Copy(str(tmp_path / "c"))], keep=0)
    with pytest.raises(LakeError, match="there is no snapshot"):
        restore([Copy(str(tmp_path / "none"))], Lake(tmp_path / "back"))
    backup(lake, [Copy(str(tmp_path / "c"))])
    with pytest.raises(LakeError, match="is not empty"):
        restore([Copy(str(tmp_path / "c"))], lake)
    with pytest.raises(LakeError, match="no lake at"):
        backup(Lake(tmp_path / "nowhere"), [])


def test_a_path_out_of_the_lake_is_refused(tmp_path):
    copy = Copy(str(tmp_path / "c"))
    copy.put("objects/e3/e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", b"")
    empty = json.dumps({"sha256": "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", "size": 0, "mtime_ns": 0})
    snapshot = Snapshot.parse(
        f'{{"name": "x", "files": {{"../out": {str(empty).replace(chr(39), chr(34))}}}}}'.encode(), "here"
    )
    copy.put("snapshots/x.json", snapshot.json())
    with pytest.raises(LakeError, match="leads out of"):
        restore([copy], Lake(tmp_path / "back"))


@given(st.binary(max_size=60))
def test_a_damaged_list_is_an_error_of_ours(text):
    with pytest.raises(LakeError, match="cannot be read"):
        Snapshot.parse(text, "here")
