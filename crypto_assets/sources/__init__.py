"""One file per provider table: its schema, its fetch, its SOURCE. A new source is one new file (`_template.py`).

Here belongs everything that knows a provider's wire format. Nothing that combines sources, and nothing of Dagster.
"""

from crypto_assets.sources._spec import FULL, History, Source, discover

__all__ = ["FULL", "History", "Source", "discover"]
