"""Observation of a process: metrics for Prometheus, health, traces.

Events of attempts come from the worker (`Worker(observers=..., around=...)`), requests from
the API; neither depends on this package.
"""
