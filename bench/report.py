"""The report of a run: tables, `last.json`, and the numbers in docs/benchmarks.md."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import orjson
from rich.console import Console
from rich.table import Table

from bench.ceiling import Ceiling
from bench.rows import Row
from bench.workloads import GROWTH, THROUGHPUT

LAST = Path(__file__).resolve().parent / "last.json"
DOCS = LAST.parent.parent / "docs" / "benchmarks.md"
_BEGIN, _END = "<!-- numbers: begin -->\n", "<!-- numbers: end -->\n"

_STORES = {"postgres": "PostgreSQL", "sqlite": "SQLite", "sqlite-normal": "SQLite, NORMAL"}
_TITLES = {
    "chain": THROUGHPUT["chain"].title,
    **{name: workload.title for name, workload in THROUGHPUT.items() if name != "chain"},
    **{name: workload.title for name, workload in GROWTH.items()},
    "chain-after-1M": "4-step chain, 1,000,000 ended tasks in the tables",
    "sustained-first": "4-step chain, first of five minutes",
    "sustained-last": "4-step chain, last of five minutes",
    "queues-10": "4-step chains, 10 handlers",
    "queues-1000": "4-step chains, 1,000 handlers",
    "queues-5000": "4-step chains, 5,000 handlers",
    "queues-10-start": "10 handlers, 5 templates",
    "queues-1000-start": "1,000 handlers, 250 templates",
    "queues-5000-start": "5,000 handlers, 1,250 templates",
    "processes-1": "4-step chain, counted in the handlers",
    "processes-2": "4-step chain, counted in the handlers",
    "processes-4": "4-step chain, counted in the handlers",
    "snapshot-before": "4-step chain, before a snapshot is open",
    "snapshot-open": "4-step chain, with a snapshot open",
    "backlog-empty": "4-step chain, empty tables",
    "backlog-full": "4-step chain, ended and enqueued tasks in the tables",
    "memory-before": "before large tasks",
    "memory-peak": "most, during and after them",
    "memory-after": "a minute after their end",
    "latency": "4-step chain, from creation to completion",
    "wake": "wake-up of an idle worker",
    "api-create": "HTTP: create a task, 50 connections",
    "api-bulk": "HTTP: create tasks, 500 per request, 4 connections",
    "api-list": "HTTP: list a page of 25 tasks",
    "api-wait": "HTTP: create a 4-step chain and wait for its end",
    "remote-1x50": "4-step chain, a remote worker with 50 slots",
    "remote-8x5": "4-step chain, 8 remote workers with 5 slots",
    "remote-12x2": "4-step chain, 12 remote workers with 2 slots",
    "remote-1x1": "4-step chain, a remote worker with one slot",
    "create-bulk": "500 per call",
    "create-single": "one by one, 50 at a time",
    "wake-signal": "wake-up of an idle worker by a signal",
    "timers": "10,000 sleeps until one time, from then to their attempts",
    "ui-tabs-saturated-0": "4-step chain, no open tab of the web UI",
    "ui-tabs-saturated-50": "4-step chain, 50 open tabs of the web UI",
    "ui-tabs-steady-0": "4-step chain, 100 created per second, no open tab of the web UI",
    "ui-tabs-steady-50": "4-step chain, 100 created per second, 50 open tabs of the web UI",
    "settle-costs": "4-step chain, with figures and step logs",
    "settle-costs-without": "4-step chain, without figures and step logs",
    "idle": "idle worker",
    "idle-parked": "idle worker, 100,000 steps waiting for signals",
    "remote-idle": "server with 1,000 idle remote workers",
    "remote-cancel": "cancellation of a task, until the remote worker of its attempt receives it",
    "create-and-wait": "Tasker",
    "dbos-async": "DBOS Transact, async functions",
    "dbos-sync": "DBOS Transact, sync functions in threads",
}
_LATENCIES = ("latency", "wake", "wake-signal", "timers", "api-list", "api-wait", "remote-cancel")
_PEERS = ("create-and-wait", "dbos-async", "dbos-sync")
_CREATIONS = ("create-bulk", "create-single", "api-create", "api-bulk")

Cells: TypeAlias = Sequence[str]


class _Section(NamedTuple):
    """One table."""

    title: str
    headings: Cells
    includes: Callable[[Row], bool]
    cells: Callable[[Row], Cells]


_SECTIONS = (
    _Section(
        "Throughput",
        (
            *("workload", "store", "workers", "steps/s", "min-max", "tasks/s"),
            *("Python µs/step", "PostgreSQL µs/step", "MB"),
        ),
        lambda row: row.steps_per_s is not None and row.workload not in _PEERS,
        lambda row: (
            str(row.processes),
            _number(row.steps_per_s),
            _range(row.spread),
            _number(row.tasks_per_s),
            _number(row.python_us_per_step),
            _number(row.postgres_us_per_step),
            _number(row.rss_mb),
        ),
    ),
    _Section(
        "Comparison of libraries: 4-step chains, created and awaited in one process",
        (
            *("library", "store", "steps/s, 100 chains at a time", "min-max", "chains/s"),
            *("Python µs/step", "PostgreSQL µs/step", "p50 ms of one chain alone", "p95 ms", "MB"),
        ),
        lambda row: row.workload in _PEERS,
        lambda row: (
            _number(row.steps_per_s),
            _range(row.spread),
            _number(row.tasks_per_s),
            _number(row.python_us_per_step),
            _number(row.postgres_us_per_step),
            *_latency(row)[:2],
            _number(row.rss_mb),
        ),
    ),
    _Section(
        "Latency",
        ("workload", "store", "p50 ms", "min-max", "p95 ms", "p99 ms"),
        lambda row: row.workload in _LATENCIES,
        lambda row: (_latency(row)[0], _range(row.spread), *_latency(row)[1:]),
    ),
    _Section(
        "Creating tasks of four steps",
        (
            *("workload", "store", "tasks/s", "min-max", "Python µs/task", "PostgreSQL µs/task"),
            *("client µs/task", "p50 ms", "p95 ms", "p99 ms"),
        ),
        lambda row: row.workload in _CREATIONS,
        lambda row: (
            _number(row.tasks_per_s),
            _range(row.spread),
            _per_task(row.python_us_per_step),
            _per_task(row.postgres_us_per_step),
            _per_task(row.client_us_per_step),
            *_latency(row),
        ),
    ),
    _Section(
        "Fairness between the keys of limits",
        ("workload", "store", "workers", "Jain's index"),
        lambda row: row.fairness is not None,
        lambda row: (str(row.processes), f"{row.fairness:.3f}"),
    ),
    _Section(
        "Starting a worker",
        ("workload", "store", "s", "min-max", "CPU s"),
        lambda row: row.start_s is not None,
        lambda row: (
            _number(row.start_s),
            _range(row.spread),
            _number(row.start_cpu_s),
        ),
    ),
    _Section(
        "Memory of a worker",
        ("when", "store", "MB", "min-max"),
        lambda row: row.workload.startswith("memory-"),
        lambda row: (_number(row.rss_mb), _range(row.spread)),
    ),
    _Section(
        "An idle worker",
        ("workload", "store", "% of a core", "min-max", "MB"),
        lambda row: row.workload in ("idle", "idle-parked"),
        lambda row: (_number(row.idle_cpu_percent), _range(row.spread), _number(row.rss_mb)),
    ),
)


@dataclass
class Report:
    """All results of a run."""

    machine: Mapping[str, str | float | None]
    ceiling: Ceiling | None = None
    rows: list[Row] = field(default_factory=list)

    def as_json(self) -> bytes:
        document: dict[str, Any] = {
            "machine": self.machine,
            "ceiling": self.ceiling.as_json() if self.ceiling else {},
            "rows": [row.as_json() for row in self.rows],
        }
        return orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)

    def show(self, console: Console) -> None:
        """Print the tables."""
        for title, headings, rows in self._tables():
            table = Table(title=title, header_style="bold", title_justify="left")
            for heading in headings:
                table.add_column(heading, justify="left" if heading in headings[:2] else "right")
            for cells in rows:
                table.add_row(*cells)
            console.print(table)

    def write_docs(self) -> None:
        """Replace the numbers in docs/benchmarks.md, between their marks."""
        before, _, rest = DOCS.read_text().partition(_BEGIN)
        _, _, after = rest.partition(_END)
        DOCS.write_text(before + _BEGIN + self.as_markdown() + _END + after)

    def as_markdown(self) -> str:
        """Return the machine, the ceiling and the tables as Markdown."""
        facts = ", ".join(f"{name} {value}" for name, value in self.machine.items())
        text = f"\nMachine: {facts}.\n"
        if self.ceiling:
            text += f"\nThe database alone: {self.ceiling.summary()}.\n"
        for title, headings, rows in self._tables():
            lines = [headings, ["---"] * len(headings), *rows]
            text += f"\n### {title}\n\n"
            text += "".join(f"| {' | '.join(cells)} |\n" for cells in lines)
        return text + "\n"

    def _tables(self) -> Iterator[tuple[str, Cells, list[Cells]]]:
        """Yield the title, headings and rows of each section that has rows."""
        for section in _SECTIONS:
            included = sorted(filter(section.includes, self.rows), key=_place)
            if included:
                names = ((_TITLES[row.workload], _STORES[row.store]) for row in included)
                rows: list[Cells] = [
                    (*name, *section.cells(row)) for name, row in zip(names, included, strict=True)
                ]
                yield section.title, section.headings, rows


def _place(row: Row) -> tuple[int, int, int]:
    """Return the sort key of a row: by store, then in the order of `_TITLES`."""
    store, title = list(_STORES).index(row.store), list(_TITLES).index(row.workload)
    return store, title, row.processes


def _per_task(us_per_step: float | None) -> str:
    """Return a figure per chain."""
    return _number(None if us_per_step is None else us_per_step * THROUGHPUT["chain"].steps)


def _latency(row: Row) -> list[str]:
    return [_number(value) for value in row.latency_ms] if row.latency_ms else [""] * 3


def _range(spread: tuple[float, float] | None) -> str:
    return "" if spread is None else " - ".join(map(_number, spread))


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
