"""Metrics, statistics, the trial ledger, the walk-forward run, the report.

Here belongs the only road from a forecast to a number about it. Nothing that fits or trades.
"""
