"""`backup`, `restore` and `verify`: copies of a lake, with a progress bar."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeElapsedColumn

from crypto_assets.cli.history import lake_at
from crypto_assets.lake.backup import Copy, Done, Listener, backup, restore, verify
from crypto_assets.market.errors import LakeError

screen = Console(stderr=True)


def run_backup(destinations: Sequence[str], *, keep: int | None, rehash: bool, lake: Path | None) -> dict[str, Any]:
    """Back the lake up to every destination, and say what was new."""
    source = lake_at(lake)
    with _bar("backup") as listener:
        done = backup(source, [Copy(d) for d in destinations], keep=keep, rehash=rehash, listener=listener)
    _say(done, f"{done.new_objects:,} new contents, {_size(done.new_bytes)} sent to {', '.join(destinations)}")
    return asdict(done)


def run_restore(sources: Sequence[str], *, name: str | None, lake: Path | None) -> dict[str, Any]:
    """Restore into the lake's folder, which must be empty."""
    target = lake_at(lake)
    with _bar("restore") as listener:
        done = restore([Copy(s) for s in sources], target, name=name, listener=listener)
    _say(done, f"restored into {target.root}, every content checked")
    return asdict(done)


def run_verify(sources: Sequence[str], *, name: str | None) -> list[dict[str, Any]]:
    """Check every copy; raises LakeError naming the damaged paths after all copies were read."""
    results, wrong = [], []
    for source in sources:
        with _bar("verify") as listener:
            done = verify(Copy(source), name=name, listener=listener)
        _say(done, f"{source}: {'whole' if not done.damaged else f'{len(done.damaged):,} files damaged'}")
        results.append({"address": source, **asdict(done)})
        wrong += [f"{source}: {path}" for path in done.damaged]
    if wrong:
        raise LakeError(f"damaged: {', '.join(wrong[:5])}{' …' if len(wrong) > 5 else ''}; back up again with --rehash")
    return results


def _say(done: Done, what: str) -> None:
    screen.print(
        f"snapshot {done.snapshot}: {done.files:,} files, {_size(done.bytes)}; {what}", highlight=False, soft_wrap=True
    )


def _size(count: int) -> str:
    return f"{count / 2**20:,.1f} MB"


@contextmanager
def _bar(what: str) -> Iterator[Listener]:
    columns = (TextColumn(what), BarColumn(), DownloadColumn(), TimeElapsedColumn(), TextColumn("{task.fields[path]}"))
    with Progress(*columns, console=screen, transient=True) as bar:
        task = bar.add_task(what, total=None, path="")
        yield lambda path, size: bar.update(task, advance=size, path=path[-60:])
