"""From tables to tensors: labels, purged walk-forward folds, scaling, the dense panel.

Here belongs what stands between features and models. Nothing that has a parameter to learn.
"""
