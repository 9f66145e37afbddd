"""How fast it is: `make bench`, or `python -m bench WORKLOAD --store postgres --processes 2`.

What is measured and how stands in docs/benchmarks.md. Each run is in processes of its
own, on a store of its own; this process only starts them, waits, and reads clocks.
"""
