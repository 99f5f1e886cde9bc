"""crypto_assets: crypto market forecasts as a lineage of Dagster assets, in which every number can be believed."""

__version__ = "0.1.0"
