"""Feature families: one file a family, pure LazyFrame -> LazyFrame, stamped with inputs, lookback and columns.

Here belongs what is known at a decision time. Nothing that fits, and nothing that looks ahead.
"""

from crypto_assets.features._as_known import as_known
from crypto_assets.features._discover import built_in, catalogue, families, load_family
from crypto_assets.features._family import Column, FeatureFamily

__all__ = ["Column", "FeatureFamily", "as_known", "built_in", "catalogue", "families", "load_family"]
