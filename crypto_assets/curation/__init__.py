"""Canonical tables, one per subject, made from the raw tables of several providers: candles cross-checked, texts scored.

Here belongs reconciling sources. Nothing that looks across coins or over more than a bar: those are features.
"""
