"""One file per layer of assets."""
