"""`import`, and which lake a command means."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from crypto_assets.lake import Lake
from crypto_assets.settings import load

screen = Console(stderr=True)


def lake_at(path: Path | None) -> Lake:
    """The lake an option or the environment names."""
    return Lake(load(lake=path).lake)


def run_import(
    table: str, files: Sequence[Path], *, source: str | None, mapping: dict[str, str], where: str | None, lake: Path | None
) -> dict[str, Any]:
    """Stage the files and print what was found."""
    from crypto_assets.sources._archive import stage

    target = lake_at(lake)
    with screen.status(f"reading {len(files)} file(s) into {target.root}/imports"):
        report = stage(table, files, target, source=source, mapping=mapping, where=where)
    screen.print(
        f"{report.table}: {report.rows:,} rows read, {report.accepted:,} accepted, {report.quarantined:,} quarantined, "
        f"{report.from_} to {report.to}"
        + (f", {len(report.symbols)} coins: {' '.join(report.symbols)}" if report.symbols else ""),
        highlight=False,
        soft_wrap=True,
    )
    for reason, count in report.reasons.items():
        screen.print(f"  quarantined {count:,}: {reason}", highlight=False, markup=False, soft_wrap=True)
    if report.unused:
        screen.print(f"  columns not used: {', '.join(report.unused)}", highlight=False, markup=False, soft_wrap=True)
    screen.print(
        "staged, not yet materialised: next, `crypto-assets build --world archive` or `crypto-assets evaluate`", soft_wrap=True
    )
    return report.json()
