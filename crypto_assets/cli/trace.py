"""`trace`: a served prediction, and everything it came from."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from rich.console import Console
from rich.tree import Tree

from crypto_assets.cli._options import JsonOption, LakeOption, check_writable, write

out = Console()


def trace(
    prediction_id: Annotated[str, typer.Argument(help="Id of a served prediction, or its beginning.")],
    lake: LakeOption = None,
    json_out: JsonOption = None,
) -> None:
    """From a served prediction back to the row of features, the raw rows, the bundle, its fits and the code."""
    from crypto_assets.orchestration.access import adopt
    from crypto_assets.serving.tracing import trace as traced
    from crypto_assets.settings import load

    check_writable(json_out, "--json")
    found = traced(adopt(load(lake=lake)), prediction_id)
    out.print(_tree(found), highlight=False)
    write(json_out, found)


def _tree(found: dict[str, Any]) -> Tree:
    p, b, f = found["prediction"], found["bundle"], found["features"]
    top = Tree(
        f"[bold]{p['symbol']} {p['timeframe']} {p['prediction']}[/bold] P(up) {p['p_up']}, decided {p['timestamp']}, "
        f"served {found['served_at'][:19]}"
    )
    top.add(f"features  {f['from']}, {f['columns']} columns")
    raw = top.add(f"raw  {len(found['raw'])} tables")
    for table in found["raw"]:
        ends = " … ".join(table["partitions"]) or "no day in the lake"
        node = raw.add(f"{table['table']}  {table['days']} days: {ends}")
        for row in table["newest_rows"][-1:]:
            node.add(", ".join(f"{k}={v}" for k, v in list(row.items())[:8]))
    if b.get("registered") is None:
        top.add(f"bundle  {b['version']} is not registered here any more")
        return top
    lineage = b.get("lineage", {})
    bundle = top.add(f"bundle  {b['version']}, model version {b['registered']}, code {lineage.get('revision', 'unknown')}")
    for name, fit in b.get("fits", {}).items():
        until = fit["trained_until"][:16]
        bundle.add(f"{name} {fit['version']}  fold {fit['fold']}, {fit['trained_from'][:10]} to {until}, {fit['checkpoint']}")
    if b.get("fusion"):
        bundle.add(f"fusion {b['fusion']}")
    return top
