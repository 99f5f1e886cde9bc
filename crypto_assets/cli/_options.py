"""Options that many commands share, and how a JSON result is written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from crypto_assets.market.errors import SettingsError

screen = Console(stderr=True)

LakeOption = Annotated[
    Path | None, typer.Option("--lake", help="Folder of the lake (default: CRYPTO_ASSETS_LAKE or data_lake).")
]
JsonOption = Annotated[Path | None, typer.Option("--json", help="Also write the result as JSON to this file.")]
FeaturesOption = Annotated[
    list[Path] | None, typer.Option("--features", help="A Python file with a FAMILY of your own; may be given more than once.")
]


def check_writable(path: Path | None, option: str) -> None:
    """Make the folder of an output file before hours are spent on it. Raises SettingsError when that is not possible."""
    if path is None:
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir():
            raise IsADirectoryError(21, "it is a folder")
    except OSError as error:
        raise SettingsError(f"{option} {path} cannot be written ({error.strerror}): choose another file") from error


def write(path: Path | None, result: Any) -> None:
    """Write the JSON result, where a file was asked for."""
    if path is not None:
        path.write_text(json.dumps(result, indent=1, default=str) + "\n")
        screen.print(f"wrote {path}", highlight=False)
