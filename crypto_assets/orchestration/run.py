"""Run jobs in this process against a lake's own Dagster instance, telling a listener how far they are."""

import os
import sqlite3
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import dagster as dg

from crypto_assets.lake import Lake
from crypto_assets.market.errors import CryptoAssetsError, LakeError

INSTANCE_FILE = Path(__file__).parents[2] / "dagster.yaml"
OWN_ERRORS = f"{CryptoAssetsError.__module__}."
"""How Dagster's text of one of our own errors begins: it says all there is to say, without a stack."""
QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
DAILY_LAYERS = ("raw", "curated", "features", "labels")
Listener = Callable[[str, int], None]
"""Called with what is running and how many partitions of it have just been written."""


@dataclass
class Ran:
    """Totals over the runs of one command; `partitions` counts days, not folds."""

    assets: set[str] = field(default_factory=set)
    partitions: set[tuple[str, str]] = field(default_factory=set)
    events: int = 0
    failed_checks: list[str] = field(default_factory=list)


def home_of(lake: Lake) -> Path:
    """DAGSTER_HOME where one is set, else the lake's own, made if need be."""
    if os.environ.get("DAGSTER_HOME"):
        return Path(os.environ["DAGSTER_HOME"])
    home = lake.root / ".dagster"
    home.mkdir(parents=True, exist_ok=True)
    if INSTANCE_FILE.exists():
        (home / "dagster.yaml").write_bytes(INSTANCE_FILE.read_bytes())
    return home


def instance_of(lake: Lake) -> dg.DagsterInstance:
    """The Dagster instance inside the lake."""
    return dg.DagsterInstance.from_config(str(home_of(lake)))


def size(defs: dg.Definitions, job: str, partitions: int) -> int:
    """How many partitions a run of `job` over `partitions` partitions writes."""
    selected = defs.resolve_job_def(job).asset_layer.selected_asset_keys
    return len(selected) * partitions


def run_job(
    defs: dg.Definitions,
    instance: dg.DagsterInstance,
    job: str,
    keys: Sequence[str] | None,
    ran: Ran,
    listener: Listener,
) -> None:
    """Run `job` over the partition keys (first to last, one run), or once where it has none.

    Raises the step's own CryptoAssetsError, or LakeError naming the checks that failed and blocked.
    """
    run_id = str(uuid.uuid4())
    held = ExitStack()
    history = Path(instance.root_directory) / "history"
    files = {history / "runs.db", history / "runs" / "index.db", history / "runs" / f"{run_id}.db"}
    open_files: set[Path] = set()

    def heard(event: dg.EventLogEntry) -> None:
        _hold_open(files - open_files, held, open_files)
        _heard(event, ran, listener)

    instance.add_event_listener(run_id, heard)
    tags = {}
    if keys:
        tags = {"dagster/asset_partition_range_start": keys[0], "dagster/asset_partition_range_end": keys[-1]}
    single = keys[0] if keys and len(keys) == 1 else None
    with held, _relaxed_sqlite():
        result = defs.resolve_job_def(job).execute_in_process(
            instance=instance,
            run_id=run_id,
            partition_key=single,
            tags={} if single else tags,
            run_config=QUIET,
            raise_on_error=False,
        )
    if result.success:
        return
    raise _cause(result, ran)


@contextmanager
def _relaxed_sqlite() -> Iterator[None]:
    """SQLite's `synchronous=NORMAL` for the event log while a run writes it.

    Dagster commits two small transactions an event, each with its own sync to disk. In WAL mode NORMAL cannot damage the file;
    a power cut may lose the last events of this run, which would be repeated anyway (benchmarks/event_log.py).
    """
    import sqlalchemy

    def relax(connection: object, _record: object) -> None:
        if isinstance(connection, sqlite3.Connection):
            connection.execute("PRAGMA synchronous=NORMAL")

    sqlalchemy.event.listen(sqlalchemy.engine.Engine, "connect", relax)
    try:
        yield
    finally:
        sqlalchemy.event.remove(sqlalchemy.engine.Engine, "connect", relax)


def _hold_open(files: set[Path], held: ExitStack, opened: set[Path]) -> None:
    """Keep one idle connection to each event log file: closing the last one makes SQLite write back its log every time."""
    for path in files:
        if path.exists():
            connection = held.enter_context(closing(sqlite3.connect(path, check_same_thread=False)))
            connection.execute("SELECT count(*) FROM sqlite_master").fetchall()
            opened.add(path)


def _heard(event: dg.EventLogEntry, ran: Ran, listener: Listener) -> None:
    ran.events += 1
    told = event.dagster_event
    if told is None:
        return
    if told.event_type_value == "STEP_START":
        listener((event.step_key or "").replace("__", "/"), 0)
    elif told.event_type_value == "ASSET_MATERIALIZATION" and told.asset_key is not None:
        name = told.asset_key.to_user_string()
        ran.assets.add(name)
        if told.partition and name.split("/")[0] in DAILY_LAYERS:
            ran.partitions.add((name, told.partition))
        listener(name, 1)
    elif told.event_type_value == "ASSET_CHECK_EVALUATION":
        verdict = told.asset_check_evaluation_data
        if not verdict.passed:
            reason = verdict.metadata.get("reason")
            ran.failed_checks.append(
                f"{verdict.asset_key.to_user_string()} {verdict.check_name}: {reason.value if reason else ''}"
            )


def _cause(result: dg.ExecuteInProcessResult, ran: Ran) -> Exception:
    """The step's own error; for a check that blocked, what it said."""
    for event in result.all_events:
        if event.event_type_value == "STEP_FAILURE":
            error = event.step_failure_data.error
            while error is not None and error.cause is not None:
                error = error.cause
            name = (event.step_key or "").replace("__", "/")
            if error is not None and error.cls_name == "DagsterAssetCheckFailedError" and ran.failed_checks:
                return LakeError(f"{name}: a check failed and blocks what is downstream: {'; '.join(ran.failed_checks)}")
            text = error.message.strip() if error is not None else "failed"
            if text.startswith(OWN_ERRORS):
                return LakeError(f"{name} failed: {text.split(': ', 1)[1]}")
            stack = "" if error is None else "".join(error.stack[-3:])
            return LakeError(f"{name} failed: {text}\n{stack}".rstrip())
    return CryptoAssetsError("the run failed without a failing step: see the run in the Dagster UI")
