"""What is aimed at, and what must be kept: the numbers that a run is held against."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from bench.ceiling import Ceiling
from bench.rows import Row

_NAMES = {"postgres": "PostgreSQL", "sqlite": "SQLite FULL", "sqlite-normal": "SQLite NORMAL"}


class Goal(NamedTuple):
    """One measure of one row."""

    store: str
    title: str
    workload: str
    field: str  #: of the row; `p50` is that of its latency
    unit: str
    goal: float
    floor: float
    processes: int = 1


class Judged(NamedTuple):
    """One line of the table of goals."""

    title: str
    goal: float
    floor: float
    measured: float
    unit: str
    spread: tuple[float, float] | None

    @property
    def verdict(self) -> str:
        sign = 1 if self.goal > self.floor else -1
        if sign * self.measured >= sign * self.goal:
            return "reached"
        return "above the floor" if sign * self.measured >= sign * self.floor else "BELOW"


GOALS = (
    Goal("postgres", "4-step chain", "chain", "steps_per_s", "steps/s", 20_000, 10_000),
    Goal("postgres", "1-50-1", "fan50", "steps_per_s", "steps/s", 20_000, 10_000),
    Goal("postgres", "one lattice of 10,000", "lattice", "steps_per_s", "steps/s", 15_000, 8_000),
    Goal("postgres", "one 1-9998-1", "fan9998", "steps_per_s", "steps/s", 15_000, 8_000),
    Goal("postgres", "4-step chain, 2 workers", "chain", "steps_per_s", "steps/s", 30e3, 15e3, 2),
    Goal("sqlite", "4-step chain", "chain", "steps_per_s", "steps/s", 30_000, 15_000),
    Goal("sqlite-normal", "4-step chain", "chain", "steps_per_s", "steps/s", 30_000, 15_000),
    Goal("postgres", "one chain, idle, p50", "latency", "p50", "ms", 2.5, 5),
    Goal("sqlite", "one chain, idle, p50", "latency", "p50", "ms", 1, 3),
    Goal("sqlite-normal", "one chain, idle, p50", "latency", "p50", "ms", 1, 3),
    Goal("postgres", "create in bulk", "create-bulk", "tasks_per_s", "tasks/s", 10_000, 5_000),
    Goal("sqlite", "create in bulk", "create-bulk", "tasks_per_s", "tasks/s", 10_000, 5_000),
    Goal("postgres", "create singly", "create-single", "tasks_per_s", "tasks/s", 3_000, 1_500),
    Goal("sqlite", "create singly", "create-single", "tasks_per_s", "tasks/s", 3_000, 1_500),
    Goal("postgres", "Python of a step", "chain", "python_us_per_step", "us", 30, 60),
    Goal("postgres", "the server's part of it", "chain", "postgres_us_per_step", "us", 25, 40),
    Goal("sqlite", "Python of a step", "chain", "python_us_per_step", "us", 30, 60),
    Goal("postgres", "wake an idle worker, p50", "wake", "p50", "ms", 2, 10, 2),
    Goal("sqlite", "wake an idle worker, p50", "wake", "p50", "ms", 2, 10, 2),
    Goal("postgres", "an idle worker's CPU", "idle", "idle_cpu_percent", "%", 0.5, 1),
    Goal("sqlite", "an idle worker's CPU", "idle", "idle_cpu_percent", "%", 0.5, 1),
    Goal("postgres", "an idle worker's memory", "idle", "rss_mb", "MB", 60, 80),
    Goal("sqlite", "an idle worker's memory", "idle", "rss_mb", "MB", 60, 80),
)


def judged(rows: Sequence[Row], ceiling: Ceiling | None) -> Iterator[Judged]:
    """Hold what was measured against the goals."""
    for goal in GOALS:
        row = _row(rows, goal.store, goal.workload, goal.processes)
        value = None if row is None else _value(row, goal.field)
        if row is not None and value is not None:
            spread = row.spread if goal.field in ("steps_per_s", "p50") else None
            title = f"{_NAMES[goal.store]}: {goal.title}"
            yield Judged(title, goal.goal, goal.floor, value, goal.unit, spread)
    for title, value, goal_share, floor_share in _shares(rows, ceiling):
        yield Judged(title, goal_share, floor_share, value, "share", None)


def _shares(
    rows: Sequence[Row], ceiling: Ceiling | None
) -> Iterator[tuple[str, float, float, float]]:
    """Tell (title, measured, goal, floor) of what is a part of something else."""
    chain = _speed(rows, "postgres", "chain")
    if chain and ceiling is not None:
        yield "PostgreSQL: chain, of pgbench's batches", chain / ceiling.batched, 0.33, 0.17
    for store, name in _NAMES.items():
        plain, after = _speed(rows, store, "chain"), _speed(rows, store, "chain-after-1M")
        if plain and after:
            yield f"{name}: chain with 1,000,000 ended tasks", after / plain, 0.9, 0.8
        first, last = _speed(rows, store, "sustained-first"), _speed(rows, store, "sustained-last")
        if first and last:
            yield f"{name}: the last minute, of the first", last / first, 0.9, 0.8


def _row(rows: Sequence[Row], store: str, workload: str, processes: int = 1) -> Row | None:
    wanted = (store, workload, processes)
    return next((row for row in rows if (row.store, row.workload, row.processes) == wanted), None)


def _value(row: Row, field: str) -> float | None:
    if field == "p50":
        return row.latency_ms.p50 if row.latency_ms else None
    found: float | None = getattr(row, field)
    return found


def _speed(rows: Sequence[Row], store: str, workload: str) -> float | None:
    row = _row(rows, store, workload)
    return None if row is None else row.steps_per_s
