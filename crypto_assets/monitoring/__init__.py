"""Is the champion still what it was? Drift, live accuracy, alerts, metrics, and the gate a challenger must pass.

Here belongs what watches forecasts after they were made. Nothing that makes one, and nothing that starts a run.
"""
