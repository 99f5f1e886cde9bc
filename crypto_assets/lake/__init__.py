"""The point-in-time lake: typed tables, atomic Parquet by UTC day, quarantine, revisions, derivations, the DuckDB catalog.

Here belongs how rows are kept and read. Nothing that knows a provider, a feature or a model.
"""

from crypto_assets.lake.derivation import Derivation, derive
from crypto_assets.lake.store import Frames, Lake, Reader
from crypto_assets.lake.tables import TABLES, Field, RawTable, Table, Timestamp

__all__ = ["TABLES", "Derivation", "Field", "Frames", "Lake", "RawTable", "Reader", "Table", "Timestamp", "derive"]
