"""`python -m crypto_assets.cli`."""

from crypto_assets.cli.app import main

main()
