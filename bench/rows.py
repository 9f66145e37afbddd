"""What a measurement comes to."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import NamedTuple, TypeAlias

JsonValue: TypeAlias = "str | int | float | None | dict[str, float]"


class Percentiles(NamedTuple):
    """Milliseconds."""

    p50: float
    p95: float
    p99: float

    @classmethod
    def of(cls, seconds: Sequence[float]) -> "Percentiles":
        ordered = sorted(seconds)
        last = len(ordered) - 1
        return cls(*(round(ordered[round(last * q)] * 1000, 3) for q in (0.50, 0.95, 0.99)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of the table. None: it does not apply, or cannot be told here."""

    store: str
    workload: str
    processes: int = 1
    steps_per_s: float | None = None
    tasks_per_s: float | None = None
    latency_ms: Percentiles | None = None
    python_us_per_step: float | None = None
    postgres_us_per_step: float | None = None
    rss_mb: float | None = None
    idle_cpu_percent: float | None = None
    spread: tuple[float, float] | None = None
    """The slowest and the fastest of the runs, of which the row is the median: in steps/s
    or, where there are none, in milliseconds."""

    def told(self) -> str:
        """Tell the main of it in a line."""
        parts = []
        if self.steps_per_s is not None:
            parts.append(f"{self.steps_per_s:,.0f} steps/s")
        if self.tasks_per_s is not None:
            parts.append(f"{self.tasks_per_s:,.0f} tasks/s")
        if self.latency_ms is not None:
            parts.append("p50 {:.2f}, p95 {:.2f}, p99 {:.2f} ms".format(*self.latency_ms))
        if self.idle_cpu_percent is not None:
            parts.append(f"{self.idle_cpu_percent:.2f} % of a core, {self.rss_mb} MB")
        return ", ".join(parts)

    def as_json(self) -> dict[str, JsonValue]:
        latency = self.latency_ms
        row: dict[str, JsonValue] = {
            "store": self.store,
            "workload": self.workload,
            "processes": self.processes,
            "steps_per_s": _rounded(self.steps_per_s, 0),
            "tasks_per_s": _rounded(self.tasks_per_s, 0),
            "latency_ms": None if latency is None else latency._asdict(),
            "python_us_per_step": _rounded(self.python_us_per_step, 1),
            "postgres_us_per_step": _rounded(self.postgres_us_per_step, 1),
            "rss_mb": self.rss_mb,
        }
        if self.idle_cpu_percent is not None:
            row["idle_cpu_percent"] = round(self.idle_cpu_percent, 2)
        return row


def middle(rows: Sequence[Row]) -> Row:
    """Tell the median of several runs of one measurement, with their spread."""
    ordered = sorted(rows, key=_speed)
    chosen = ordered[(len(ordered) - 1) // 2]
    cpu = [row.python_us_per_step for row in rows if row.python_us_per_step is not None]
    server = [row.postgres_us_per_step for row in rows if row.postgres_us_per_step is not None]
    return replace(
        chosen,
        python_us_per_step=median(cpu) if cpu else None,
        postgres_us_per_step=median(server) if server else None,
        spread=(abs(_speed(ordered[0])), abs(_speed(ordered[-1]))) if len(rows) > 1 else None,
    )


def _speed(row: Row) -> float:
    """More is faster."""
    if row.steps_per_s is not None:
        return row.steps_per_s
    return -row.latency_ms.p50 if row.latency_ms else 0.0


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits or None)
