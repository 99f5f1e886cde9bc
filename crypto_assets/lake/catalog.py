"""The DuckDB window on the lake: a small file of views over the Parquet, built aside and swapped in.

Nobody ever holds a write lock on the file others open, so any number of readers query while assets are written.
"""

from __future__ import annotations

import os
import typing
from pathlib import Path

import polars as pl

from crypto_assets.lake.store import Lake
from crypto_assets.market.errors import LakeError

if typing.TYPE_CHECKING:
    import duckdb

CATALOG = "catalog.duckdb"


def build(lake: Lake) -> list[str]:
    """(Re)build the catalog; returns the views, as `layer.table`."""
    import duckdb

    target = lake.root / CATALOG
    temporary = lake.root / f".{CATALOG}.{os.getpid()}.tmp"
    temporary.unlink(missing_ok=True)
    names = []
    with duckdb.connect(str(temporary)) as connection:
        for table in lake.tables():
            layer, name = table.split("/")
            connection.execute(f'CREATE SCHEMA IF NOT EXISTS "{layer}"')
            files = str(lake.folder(table) / "date=*" / "part.parquet").replace("'", "''")
            connection.execute(
                f'CREATE VIEW "{layer}"."{name}" AS SELECT * FROM '
                f"read_parquet('{files}', hive_partitioning = true, union_by_name = true)"
            )
            names.append(f"{layer}.{name}")
    os.replace(temporary, target)
    return names


def connect(lake: Lake) -> duckdb.DuckDBPyConnection:
    """A read-only connection in UTC that can read the lake and nothing else. Raises LakeError where no catalog was built."""
    import duckdb

    path: Path = lake.root / CATALOG
    if not path.exists():
        raise LakeError(f"{path} does not exist: materialise the `catalog` asset, or run `crypto-assets build`")
    connection = duckdb.connect(str(path), read_only=True)
    connection.execute("SET TimeZone = 'UTC'")
    root = str(lake.root).replace("'", "''")
    connection.execute(f"SET allowed_directories = ['{root}']")
    connection.execute("SET enable_external_access = false")
    return connection


def query(lake: Lake, sql: str) -> pl.DataFrame:
    """Run one statement read-only. Raises LakeError with DuckDB's message and the views there are."""
    import duckdb

    with connect(lake) as connection:
        try:
            return pl.DataFrame(connection.sql(sql).to_arrow_table())
        except duckdb.Error as error:
            views = connection.execute(
                "SELECT table_schema || '.' || table_name FROM information_schema.tables ORDER BY 1"
            ).fetchall()
            raise LakeError(f"{error}\nviews: {', '.join(v for (v,) in views)}") from error
