"""Feature families: one file a family, pure LazyFrame -> LazyFrame, stamped with inputs, lookback and columns.

Here belongs what is known at a decision time. Nothing that fits, and nothing that looks ahead.
"""
