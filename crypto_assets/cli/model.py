"""`model`: the registered bundles, which one is champion, and changing that."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from crypto_assets.cli._options import JsonOption, LakeOption, check_writable, write

if TYPE_CHECKING:
    from crypto_assets.evaluation.model_registry import ModelRegistry, Registered

model_app = typer.Typer(help="The registered bundles: champion, challenger, and going back.", no_args_is_help=True)
out = Console()


@model_app.command("list")
def model_list(lake: LakeOption = None, json_out: JsonOption = None) -> None:
    """Every registered bundle, which is champion and which challenger."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    check_writable(json_out, "--json")
    registry = _registry(lake)
    rows = [_row(found) for found in registry.versions()]
    table = Table(box=SIMPLE_HEAD)
    for name in ("version", "alias", "bundle", "members", "trained until", "registered", "code"):
        table.add_column(name, overflow="fold", no_wrap=name != "members")
    for row in rows:
        shown = (row["version"], " ".join(row["aliases"]), row["bundle"], " ".join(row["members"]), row["trained_until"][:16])
        table.add_row(*map(str, shown), row["registered_at"][:16], str(row["lineage"].get("revision", "")))
    out.print(table if rows else "no bundle is registered yet: `crypto-assets build` trains and registers one")
    write(json_out, {"versions": rows, "promotions": registry.promotions()})


@model_app.command("show")
def model_show(
    which: Annotated[str, typer.Argument(help="Number, champion or challenger.")] = "champion",
    lake: LakeOption = None,
    json_out: JsonOption = None,
) -> None:
    """One bundle: members, combination, folds, features, code revision."""
    check_writable(json_out, "--json")
    registry = _registry(lake)
    found = registry.get(which)
    shown = _row(found) | {"bundle_loads": registry.load(found.number).version == found.bundle, "source": found.source}
    out.print_json(data=shown)
    write(json_out, shown)


@model_app.command("promote")
def model_promote(
    version: Annotated[int, typer.Argument(help="Number, as `model list` shows it.")],
    reason: Annotated[str, typer.Option(help="Why; kept with the promotion.")] = "by hand",
    lake: LakeOption = None,
    json_out: JsonOption = None,
) -> None:
    """Make a bundle the champion. A running server takes it within seconds."""
    check_writable(json_out, "--json")
    _say(_registry(lake).promote(version, reason=reason), json_out)


@model_app.command("rollback")
def model_rollback(lake: LakeOption = None, json_out: JsonOption = None) -> None:
    """Make the champion before this one champion again."""
    check_writable(json_out, "--json")
    _say(_registry(lake).rollback(), json_out)


def _registry(lake: Path | None) -> ModelRegistry:
    from crypto_assets.evaluation.model_registry import ModelRegistry
    from crypto_assets.market.errors import SettingsError
    from crypto_assets.orchestration.access import adopt
    from crypto_assets.settings import load

    settings = adopt(load(lake=lake))
    store = settings.tracking_uri.removeprefix("sqlite:///")
    if store != settings.tracking_uri and not Path(store).exists():
        raise SettingsError(f"{store} does not exist, so nothing is registered: train first with `crypto-assets build`")
    return ModelRegistry(settings)


def _row(found: Registered) -> dict[str, Any]:
    import json

    plain = ("version", "name", "trained_from", "trained_until", "features_hash")
    tags = {k: v if k in plain or (k == "fusion" and v != "null") else json.loads(v) for k, v in found.tags.items()}
    return {
        **tags,
        "version": found.number,
        "bundle": found.bundle,
        "aliases": list(found.aliases),
        "registered_at": found.registered_at.isoformat(),
    }


def _say(found: Registered, json_out: Path | None) -> None:
    out.print(f"version {found.number} ({found.bundle}) is the champion", highlight=False)
    write(json_out, _row(found))
