"""Combining the forecasts of the members into one.

Here belongs what reads several models. Nothing that fits a member or scores a forecast.
"""
