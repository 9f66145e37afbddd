"""Benchmarks: `make bench`, or `python -m bench WORKLOAD --store postgres --processes 2`.

docs/benchmarks.md describes what is measured and how. Each run has its own processes and its
own database; this process starts them, waits for them and reads clocks.
"""
