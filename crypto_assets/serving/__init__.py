"""Forecasts over HTTP: the API, its page, and the sessions that compute them.

Here belongs what answers a request. Features and forecasts come from the functions the assets call.
Nothing that is fitted, and nothing that starts a run.
"""
