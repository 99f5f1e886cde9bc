"""Bring your own history: check it, map it, stage it under `imports/`; in world archive the raw tables are read from there.

`import` writes no raw table and no Dagster event: the raw assets materialise from the staged rows like from anywhere else.
"""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import polars as pl

from crypto_assets.lake import Lake, RawTable, quarantine
from crypto_assets.lake.store import write_parquet
from crypto_assets.lake.tables import UTC_US
from crypto_assets.market.coins import resolve
from crypto_assets.market.errors import ImportRefusedError
from crypto_assets.market.time import Window
from crypto_assets.sources._spec import Source, discover

SYNONYMS = {
    "ts": ("timestamp", "time", "date", "datetime", "open_time"),
    "symbol": ("asset", "coin", "pair", "ticker"),
    "close": ("price", "value"),
    "metric": ("name",),
}
"""Names that are taken for ours when ours is absent and nothing was mapped by hand."""


@dataclass(frozen=True)
class ImportReport:
    """What an import found; `reasons` counts the quarantined rows by reason."""

    table: str
    rows: int
    accepted: int
    quarantined: int
    from_: str | None
    to: str | None
    symbols: list[str]
    reasons: dict[str, int]
    unused: list[str]

    def json(self) -> dict:
        """The contract's keys, then ours."""
        plain = asdict(self)
        plain["from"] = plain.pop("from_")
        return plain


def stage(
    table: str,
    files: Sequence[Path],
    lake: Lake,
    *,
    source: str | None = None,
    mapping: Mapping[str, str] | None = None,
    where: str | None = None,
) -> ImportReport:
    """Read Parquet or CSV files, map them onto `raw/<table>`, stage the good rows, quarantine the bad ones.

    `mapping` is theirs -> ours. `available_at` comes from the source's publication lag unless a column gives it. Raises
    ImportRefusedError when the files cannot be that table at all: an unknown table, a missing file or column, naive
    timestamps, or not one row that can be read.
    """
    spec = source_named(table)
    lake.ensure_writable()
    theirs = _read(files, where)
    named, unused = _rename(spec.table, theirs, mapping or {})
    typed, complaints = _typed(spec, named, source)
    parts = quarantine.split(spec.table, typed.filter(complaints.is_null()))
    broken = _broken(theirs, complaints)
    set_aside = pl.concat([parts.bad, broken])
    if parts.good.is_empty():
        first = set_aside["reason"][0] if set_aside.height else "the files hold no rows"
        raise ImportRefusedError(f"no row of {[str(f) for f in files]} fits {spec.table.name}: {first}")
    good = parts.good.sort([*spec.table.key, "available_at"])
    digest = hashlib.sha256(good.hash_rows(seed=0).to_numpy().tobytes()).hexdigest()[:16]
    write_parquet(_folder(lake, spec) / f"{digest}.parquet", good)
    write_parquet(lake.root / "quarantine" / "imports" / spec.name / f"{digest}.parquet", set_aside)
    symbols = sorted(good["symbol"].unique()) if "symbol" in good.columns else []
    return ImportReport(
        table=spec.table.name,
        rows=theirs.height,
        accepted=good.height,
        quarantined=set_aside.height,
        from_=str(good["ts"].min()),
        to=str(good["ts"].max()),
        symbols=symbols,
        reasons=dict(set_aside.group_by("reason").len().sort("len", descending=True).head(20).iter_rows()),
        unused=unused,
    )


def read(lake: Lake, source: Source, window: Window | None = None) -> pl.DataFrame:
    """Staged rows of `source` (in `window`), in table shape; empty where nothing was imported.

    A row staged twice is kept once; of two imports that disagree on a key, both stay and `quarantine.split` sets the second
    aside with its reason.
    """
    files = sorted(_folder(lake, source).glob("*.parquet"))
    if not files:
        return source.table.empty()
    rows = pl.concat([pl.scan_parquet(f) for f in files])
    if window is not None:
        rows = rows.filter((pl.col("ts") >= window.start) & (pl.col("ts") < window.end))
    return rows.collect().unique(maintain_order=True)


def source_named(table: str) -> Source:
    """The source of `raw/<table>` or `<table>`. Raises ImportRefusedError naming the tables there are."""
    sources = discover()
    name = table.removeprefix("raw/")
    if name in sources:
        return sources[name]
    near = difflib.get_close_matches(name, sources, n=3, cutoff=0.4)
    core = [n for n, source in sources.items() if source.is_core]
    hint = f"did you mean {' or '.join(near)}? " if near else ""
    raise ImportRefusedError(
        f"no raw table {table!r}: {hint}The core tables are {', '.join(core)}; all {len(sources)} are in docs/sources.md"
    )


def _folder(lake: Lake, source: Source) -> Path:
    return lake.root / "imports" / source.name


def _read(files: Sequence[Path], where: str | None) -> pl.DataFrame:
    import duckdb

    frames = []
    for file in files:
        if not Path(file).exists():
            raise ImportRefusedError(f"no file {file}: check the path")
        kind = Path(file).suffix.lower()
        readers = {".parquet": "read_parquet(?)", ".csv": "read_csv(?, all_varchar = true, header = true)"}
        readers[".gz"] = readers[".csv"]
        if kind not in readers:
            raise ImportRefusedError(f"{file}: {kind or 'no suffix'} cannot be read: give .parquet, .csv or .csv.gz")
        sql = f"SELECT * FROM {readers[kind]}" + (f" WHERE {where}" if where else "")
        with duckdb.connect() as connection:
            connection.execute("SET TimeZone = 'UTC'")
            try:
                frames.append(pl.DataFrame(connection.sql(sql, params=[str(file)]).to_arrow_table()))
            except duckdb.Error as error:
                raise ImportRefusedError(f"{file} cannot be read: {error}") from error
    if not frames:
        raise ImportRefusedError("no files given: name at least one .parquet or .csv file")
    try:
        return pl.concat(frames, how="diagonal_relaxed")
    except pl.exceptions.PolarsError as error:
        raise ImportRefusedError(f"the files do not have the same columns ({error}): import them one by one") from error


def _rename(table: type[RawTable], frame: pl.DataFrame, mapping: Mapping[str, str]) -> tuple[pl.DataFrame, list[str]]:
    """Columns of the table only, under our names, and the columns that were left over."""
    for theirs, ours in mapping.items():
        if theirs not in frame.columns:
            raise ImportRefusedError(f"--map {theirs}={ours}: the file has no column {theirs!r}, it has {frame.columns}")
        if ours not in table.dtypes:
            raise ImportRefusedError(f"--map {theirs}={ours}: {table.name} has no column {ours!r}, it has {list(table.dtypes)}")
    chosen = {ours: theirs for theirs, ours in mapping.items()}
    for ours in table.dtypes:
        if ours in chosen:
            continue
        candidates = [ours, *SYNONYMS.get(ours, ())]
        found = next((c for c in frame.columns if c.lower() in candidates and c not in chosen.values()), None)
        if found is not None:
            chosen[ours] = found
    filled = {"available_at", "source"}
    missing = [c for c, f in table.fields.items() if c not in chosen and not f.nullable and c not in filled]
    if missing:
        raise ImportRefusedError(
            f"{table.name} needs {missing}, the file has {frame.columns}: map its columns with --map theirs=ours"
        )
    unused = [c for c in frame.columns if c not in chosen.values()]
    return frame.select(pl.col(theirs).alias(ours) for ours, theirs in chosen.items()), unused


def _typed(spec: Source, frame: pl.DataFrame, source: str | None) -> tuple[pl.DataFrame, pl.Series]:
    """The frame in table types, and for each row the first reason why it cannot be read (null for a good row)."""
    complaints = pl.Series("reason", [None] * frame.height, dtype=pl.String)
    for column in frame.columns:
        wanted = spec.table.dtypes[column]
        before = frame[column]
        after = _timestamps(column, before) if wanted == UTC_US else before.cast(wanted, strict=False)
        lost = before.is_not_null() & (before.cast(pl.String) != "") & after.is_null()
        if lost.any():
            kind = "a UTC time" if wanted == UTC_US else f"of type {wanted}"
            text = f"{column} = " + before.cast(pl.String) + f" is not {kind}"
            complaints = complaints.zip_with(~lost | complaints.is_not_null(), text)
        frame = frame.with_columns(after.alias(column))
    if "symbol" in frame.columns:
        names = frame["symbol"].unique().drop_nulls().to_list()
        ours = {name: resolve(name) for name in names}
        unknown = frame["symbol"].is_in([n for n, s in ours.items() if s is None])
        complaints = complaints.zip_with(~unknown | complaints.is_not_null(), "no coin is called " + frame["symbol"])
        frame = frame.with_columns(pl.col("symbol").replace_strict(ours, default=None, return_dtype=pl.String))
    if source is not None:
        frame = frame.with_columns(source=pl.lit(source))
    elif "source" not in frame.columns:
        frame = frame.with_columns(source=pl.lit(spec.provider))
    if "available_at" not in frame.columns:
        frame = frame.with_columns(available_at=spec.available_at)
    return spec.table.shape(frame), complaints


def _timestamps(column: str, values: pl.Series) -> pl.Series:
    """UTC microseconds. Dates mean 00:00 UTC; numbers are epoch seconds, milliseconds or microseconds by magnitude."""
    dtype = values.dtype
    if dtype == pl.Date:
        return values.cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
    if isinstance(dtype, pl.Datetime):
        if dtype.time_zone is None:
            _refuse_naive(column, str(values.drop_nulls()[0]))
        return values.dt.convert_time_zone("UTC").cast(UTC_US)
    if dtype.is_numeric():
        return _epoch(values.cast(pl.Int64))
    text = values.cast(pl.String)
    as_number = text.cast(pl.Int64, strict=False)
    if as_number.null_count() == text.null_count():
        return _epoch(as_number)
    as_day = text.str.to_date("%Y-%m-%d", strict=False)
    if as_day.null_count() < text.len() and text.drop_nulls().str.len_chars().max() == 10:
        return as_day.cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
    naive = text.str.contains(r"\d{2}:\d{2}") & ~text.str.contains(r"(Z|UTC|[+-]\d{2}:?\d{2})\s*$")
    if naive.fill_null(False).any():
        _refuse_naive(column, str(text.filter(naive.fill_null(False))[0]))
    cleaned = (
        text.str.strip_chars()
        .str.replace(r"\s*(Z|UTC)$", "+00:00")
        .str.replace(" ", "T")
        .str.replace(r"([+-]\d{2})$", "${1}:00")
    )
    return cleaned.str.to_datetime("%+", time_unit="us", time_zone="UTC", strict=False)


def _refuse_naive(column: str, example: str) -> None:
    raise ImportRefusedError(
        f"{column}: {example!r} has no time zone; write UTC times such as 2024-01-01T00:00:00Z, dates, or epoch seconds"
    )


def _epoch(values: pl.Series) -> pl.Series:
    size = values.abs()
    micros = values.zip_with(size >= 100_000_000_000_000, values * 1000)
    micros = micros.zip_with(size >= 100_000_000_000, values * 1_000_000)
    return micros.cast(pl.Datetime("us")).dt.replace_time_zone("UTC")


def _broken(theirs: pl.DataFrame, complaints: pl.Series) -> pl.DataFrame:
    rows = theirs.with_columns(reason=complaints).filter(pl.col("reason").is_not_null())
    payload = rows.select(pl.struct(pl.exclude("reason")).struct.json_encode()).to_series()
    none = pl.Series("ts", [None] * rows.height, dtype=pl.String)
    return pl.DataFrame({"ts": none, "reason": rows["reason"], "payload": payload}, schema=quarantine.SCHEMA)
