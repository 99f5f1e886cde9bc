"""`crypto-assets`: the commands. Each is a thin wrapper that parses, calls one function, prints.

Here belongs what a person types and reads. Nothing that computes. Heavy imports happen inside the commands, so that `--help`
is instant.
"""

from crypto_assets.cli.app import app, main

__all__ = ["app", "main"]
