"""Forecasts over HTTP: the API, its page, and the sessions that compute them.

Here belongs what answers a request. Features and forecasts come from the functions the assets call; nothing is fitted here.
"""
