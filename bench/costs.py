"""What figures and the logs of steps cost the settlement of steps.

Causes of failures are found when they are read, and cost it nothing.
"""

from dataclasses import replace
from statistics import median

from bench.databases import Server, empty_database
from bench.fleet import Settings
from bench.ratios import MIN_ROUNDS, median_interval
from bench.rows import Row, median_row
from bench.throughput import drain
from bench.workloads import CHAIN, THROUGHPUT


def settle_costs(settings: Settings, store: str, server: Server | None) -> list[Row]:
    """Measure chains with and without figures and step logs, in turns."""
    rounds = settings.runs if settings.quick else max(settings.runs, 2 * MIN_ROUNDS)
    rows: dict[bool, list[Row]] = {True: [], False: []}
    for turn in range(rounds):
        for kept in (True, False)[:: 1 - turn % 2 * 2]:
            with empty_database(store, server) as database:
                row = drain(settings, database, THROUGHPUT[CHAIN.name], extras=kept)
            rows[kept].append(row)
    ratios = [_cpu_of(a) / _cpu_of(b) for a, b in zip(rows[True], rows[False], strict=True)]
    text = f"CPU per step with figures and step logs is {median(ratios):.4f} of that without"
    if rounds >= MIN_ROUNDS:
        text += " (90 % interval {:.4f} to {:.4f})".format(*median_interval(ratios))
    print(text)
    return [
        replace(median_row(rows[True]), workload="settle-costs"),
        replace(median_row(rows[False]), workload="settle-costs-without"),
    ]


def _cpu_of(row: Row) -> float:
    return (row.python_us_per_step or 0.0) + (row.postgres_us_per_step or 0.0)
