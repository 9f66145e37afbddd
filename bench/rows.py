"""The result of a measurement."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from statistics import median
from typing import Any, NamedTuple


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
    """One line of a table. None: does not apply, or cannot be measured here."""

    store: str
    workload: str
    processes: int = 1
    steps_per_s: float | None = None
    tasks_per_s: float | None = None
    latency_ms: Percentiles | None = None
    python_us_per_step: float | None = None
    postgres_us_per_step: float | None = None
    client_us_per_step: float | None = None  #: of the process that sends requests
    rss_mb: float | None = None
    idle_cpu_percent: float | None = None
    fairness: float | None = None  #: Jain's index over the keys of limits: see `throughput`
    start_s: float | None = None  #: until a worker has started
    start_cpu_s: float | None = None
    spread: tuple[float, float] | None = None
    """The lowest and the highest of all runs, of the figure that `figure` returns."""

    @property
    def figure(self) -> float:
        """The first of these whose median counts: steps/s, tasks/s, p50 ms, idle %, start, MB."""
        p50 = self.latency_ms.p50 if self.latency_ms else None
        figures = (self.steps_per_s, self.tasks_per_s, p50, self.idle_cpu_percent, self.start_s)
        return next((value for value in figures if value is not None), self.rss_mb or 0.0)

    def summary(self) -> str:
        """Return the most important figures in one line."""
        parts = []
        if self.steps_per_s is not None:
            parts.append(f"{self.steps_per_s:,.0f} steps/s")
        if self.tasks_per_s is not None:
            parts.append(f"{self.tasks_per_s:,.0f} tasks/s")
        if self.latency_ms is not None:
            parts.append("p50 {:.2f}, p95 {:.2f}, p99 {:.2f} ms".format(*self.latency_ms))
        if self.fairness is not None:
            parts.append(f"Jain's index {self.fairness:.3f}")
        if self.idle_cpu_percent is not None:
            parts.append(f"{self.idle_cpu_percent:.2f} % of a core")
        if self.start_s is not None:
            parts.append(f"started in {self.start_s:.2f} s, {self.start_cpu_s:.2f} s of CPU")
        if self.rss_mb is not None and (not parts or self.idle_cpu_percent is not None):
            parts.append(f"{self.rss_mb} MB")
        return ", ".join(parts)

    def as_json(self) -> dict[str, Any]:
        latency = self.latency_ms._asdict() if self.latency_ms else None
        return {**asdict(self), "latency_ms": latency}


def median_row(rows: Sequence[Row]) -> Row:
    """Return the run with the median figure, with the spread of all runs and median CPU."""
    ordered = sorted(rows, key=lambda row: row.figure)
    chosen = ordered[(len(ordered) - 1) // 2]
    python = [row.python_us_per_step for row in rows if row.python_us_per_step is not None]
    postgres = [row.postgres_us_per_step for row in rows if row.postgres_us_per_step is not None]
    return replace(
        chosen,
        python_us_per_step=median(python) if python else None,
        postgres_us_per_step=median(postgres) if postgres else None,
        spread=(ordered[0].figure, ordered[-1].figure) if len(rows) > 1 else None,
    )
