"""`train`: fit nets on folds of the lake, one line a fit; with `--search`, after looking for better hyper-parameters.

Started by torchrun it is one training by several processes, of which the first one speaks and writes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from crypto_assets.dataset.folds import Fold
from crypto_assets.market.errors import SettingsError
from crypto_assets.orchestration.access import Access, adopt, folds
from crypto_assets.settings import load

screen = Console(stderr=True)
SEARCH_FOLDS = 2


def run(
    *, models: Sequence[str] | None, preset: str | None, fold: Sequence[str] | None, search: int, lake: Path | None
) -> dict[str, Any] | None:
    """Train `models` (default: every net) on `fold` (default: the newest); returns what was trained and found.

    None in all processes of a group but the first.
    """
    from crypto_assets.models import registry
    from crypto_assets.models.training import parallel

    settings = adopt(load(lake=lake, preset=preset))
    access = Access(settings)
    names = list(models or registry.NETS)
    for name in names:
        if name not in registry.NETS:
            raise SettingsError(f"{name} is not a net: `crypto-assets build --select models` fits it")
    chosen = _chosen(folds(settings), fold)
    found: dict[str, Any] = {"preset": settings.preset, "trained": [], "search": {}}
    with parallel.joined() as group, _bars(group.rank == 0) as bars:
        for name in names:
            config = None
            if search:
                best = _search(access, name, search, bars, group.rank)
                config, found["search"][name] = best.config, _told(best)
            for part in chosen:
                found["trained"].append(_train(access, name, part, config, bars, group.rank))
    return found if group.rank == 0 else None


def _train(access: Access, name: str, fold: Fold, config: Any, bars: Progress, rank: int) -> dict[str, Any]:
    """One fit, with a bar that tells its looks."""
    from crypto_assets.evaluation.walkforward import fit_fold
    from crypto_assets.orchestration.walk import fit, load_panel

    task = bars.add_task(f"{name} {fold.name}", total=None, what="")

    def look(at: Any) -> None:
        what = f"step {at.step}/{at.steps}  loss {at.train_loss:.4f}  valid {at.valid_log_loss:.5f}{' *' if at.best else ''}"
        bars.update(task, completed=at.step, total=at.steps, what=what)

    options = {"progress": look} | ({"config": config} if config is not None else {})
    if rank:
        panel = load_panel(access.lake, access.settings)
        fit_fold(panel, fold, name, preset=access.settings.preset, seed=access.settings.seed, **options)
        return {}
    made = fit(access, name, fold, **options)
    bars.update(task, completed=1, total=1, what=f"{made['parameters']:,} parameters  {made['seconds']} s  -> {made['path']}")
    return {"model": name, "fold": fold.name, **made}


def _search(access: Access, name: str, trials: int, bars: Progress, rank: int) -> Any:
    from crypto_assets.evaluation.search import search, search_folds
    from crypto_assets.orchestration.walk import load_panel

    if rank:
        raise SettingsError("--search runs in one process: search first, then train with torchrun")
    settings, lake = access.settings, access.lake.root
    panel = load_panel(access.lake, settings)
    chosen = search_folds(folds(settings), lake, settings.world, SEARCH_FOLDS)
    task = bars.add_task(f"search {name}", total=trials, what="")

    def progress(trial: int, number: int, look: Any) -> None:
        what = f"trial {trial}  fold {number + 1}/{len(chosen)}  step {look.step}/{look.steps}  valid {look.valid_log_loss:.5f}"
        bars.update(task, completed=min(trial, trials), what=what)

    best = search(
        panel,
        chosen,
        name,
        preset=settings.preset,
        seed=settings.seed,
        trials=trials,
        lake=lake,
        world=settings.world,
        recorder_factory=lambda trial: access.tracked("search", f"{name} trial {trial}", model=name, preset=settings.preset),
        progress=progress,
    )
    said = ", ".join(f"{k} {v:.3g}" for k, v in best.params.items())
    bars.update(task, completed=trials, what=f"log-loss {best.value:.6f} by {said} ({best.pruned} pruned)")
    return best


def _told(best: Any) -> dict[str, Any]:
    return {
        "params": best.params,
        "log_loss": best.value,
        "trials": best.completed,
        "pruned": best.pruned,
        "folds": list(best.folds),
    }


def _chosen(known: Sequence[Fold], asked: Sequence[str] | None) -> list[Fold]:
    if not known:
        raise SettingsError("the lake has no fold yet: build more days first (`crypto-assets build`)")
    if not asked:
        return [known[-1]]
    if list(asked) == ["all"]:
        return list(known)
    by_name = {f.name: f for f in known}
    for name in asked:
        if name not in by_name:
            raise SettingsError(f"no fold {name!r}: there are {', '.join(by_name)}, or all")
    return [by_name[name] for name in asked]


@contextmanager
def _bars(visible: bool) -> Iterator[Progress]:
    columns = (TextColumn("{task.description:24}"), BarColumn(20), TimeElapsedColumn(), TextColumn("{task.fields[what]}"))
    console = screen if screen.is_terminal else Console(stderr=True, width=150)
    with Progress(*columns, console=console, disable=not visible) as bars:
        yield bars
