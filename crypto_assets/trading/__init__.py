"""From forecasts to money: costs, fills, positions, equity. Returns tables.

Here belongs what an account would see. Nothing that computes a statistic of performance: that is evaluation.
"""
