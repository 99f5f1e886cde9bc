"""The only Dagster: assets, checks, partitions, jobs, schedules. Decorators and a handful of lines each.

Here belongs wiring. Nothing that computes.
"""
