"""Observability of a process: Prometheus metrics, health, traces.

Attempt notices come from the worker (`Worker(observers=..., around=...)`), and requests from the
API; neither depends on this package.
"""
