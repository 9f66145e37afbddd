"""What is shown and kept of a run: tables, `last.json`, the numbers in the docs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import orjson
from rich.console import Console
from rich.table import Table

from bench.ceiling import Ceiling
from bench.goals import judged
from bench.rows import Row

HERE = Path(__file__).resolve().parent
LAST = HERE / "last.json"
DOCS = HERE.parent / "docs" / "benchmarks.md"
_BEGIN, _END = "<!-- numbers: begin -->\n", "<!-- numbers: end -->\n"
_COLORS = {"reached": "green", "above the floor": "yellow", "BELOW": "red"}
_HEADINGS = (
    *("store", "workload", "workers", "steps/s", "min-max", "tasks/s"),
    *("p50 ms", "p95 ms", "p99 ms", "Python us/step", "PostgreSQL us/step", "MB"),
)


@dataclass
class Report:
    """All that a run found."""

    machine: Mapping[str, str | float | None]
    ceiling: Ceiling | None = None
    rows: list[Row] = field(default_factory=list)

    def as_json(self) -> bytes:
        document = {
            "machine": self.machine,
            "ceiling": self.ceiling.as_json() if self.ceiling else {},
            "rows": [row.as_json() for row in self.rows],
        }
        return orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)

    def show(self, console: Console) -> None:
        """Print the tables."""
        rows = Table(title="Measured", header_style="bold", title_justify="left")
        for name in _HEADINGS:
            rows.add_column(name, justify="left" if name in _HEADINGS[:2] else "right")
        for cells in map(_cells, self.rows):
            rows.add_row(*cells)
        console.print(rows)
        goals = Table(title="Goals", header_style="bold", title_justify="left")
        for name in ("", "goal", "floor", "measured", "min-max", ""):
            goals.add_column(name, justify="right" if name else "left")
        for cells in self._judged():
            goals.add_row(*cells[:-1], f"[{_COLORS[cells[-1]]}]{cells[-1]}[/]")
        console.print(goals)

    def write_docs(self) -> None:
        """Put the numbers into docs/benchmarks.md, between their marks."""
        text = DOCS.read_text()
        before, _, rest = text.partition(_BEGIN)
        _, _, after = rest.partition(_END)
        DOCS.write_text(before + _BEGIN + self._markdown() + _END + after)

    def _judged(self) -> list[list[str]]:
        return [
            [
                line.title,
                f"{_number(line.goal)} {line.unit}",
                _number(line.floor),
                _number(line.measured),
                _range(line.spread),
                line.verdict,
            ]
            for line in judged(self.rows, self.ceiling)
        ]

    def _markdown(self) -> str:
        facts = ", ".join(f"{name} {value}" for name, value in self.machine.items())
        ceiling = self.ceiling.told() if self.ceiling else "not measured"
        return (
            f"\nMachine: {facts}.\n\nCeiling: {ceiling}.\n\n"
            + _table(["measure", "goal", "floor", "measured", "min-max", ""], self._judged())
            + "\n"
            + _table(list(_HEADINGS), [_cells(row) for row in self.rows])
            + "\n"
        )


def _table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [headings, ["---"] * len(headings), *rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def _cells(row: Row) -> list[str]:
    latency = [_number(value) for value in row.latency_ms] if row.latency_ms else [""] * 3
    return [
        row.store,
        row.workload,
        str(row.processes),
        _number(row.steps_per_s),
        _range(row.spread),
        _number(row.tasks_per_s),
        *latency,
        _number(row.python_us_per_step),
        _number(row.postgres_us_per_step),
        _number(row.rss_mb),
    ]


def _range(spread: tuple[float, float] | None) -> str:
    return "" if spread is None else " - ".join(_number(value) for value in sorted(spread))


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
