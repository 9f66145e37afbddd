"""The workloads of `bench.side`: what each runs, on which stores, and which costs count."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Literal, NamedTuple, TypeAlias

Sample: TypeAlias = Mapping[str, Mapping[str, float]]
"""What one run cost: see `bench.side.order.Sample`."""

Scale: TypeAlias = Literal["quick", "normal", "long"]

STORES = ("postgres", "sqlite")


class Measure(NamedTuple):
    """A cost that is compared. Less is better."""

    title: str
    unit: str
    of: Callable[[Sample], float]


class Amounts(NamedTuple):
    """How much one run does: tasks, unless the workload says otherwise."""

    quick: int
    normal: int
    long: int

    def at(self, scale: Scale) -> int:
        amount: int = getattr(self, scale)
        return amount


class Compared(NamedTuple):
    """A workload that `bench.side` can run for any revision."""

    name: str
    amounts: Amounts
    measures: Mapping[str, Sequence[Measure]]  #: by store
    program: str
    size: int = 0
    autovacuum: bool = False  #: whether the server's background work belongs to the workload
    default: bool = False  #: whether it is compared when no workload is named
    limit: float = 300  #: seconds until a run is stopped

    @property
    def processes(self) -> int:
        """The number of worker processes."""
        return self.size if self.program == "processes" else 1

    def matches(self, name: str) -> bool:
        """Return whether a name given by the user selects this workload."""
        return name in (self.name, self.program)


def _cost(title: str, phase: str, *parts: str, unit: str = "us/step") -> Measure:
    return Measure(title, unit, lambda sample: sum(sample[phase][part] for part in parts))


def _growth(title: str, after: str, before: str, part: str) -> Measure:
    return Measure(title, "x", lambda sample: sample[after][part] / sample[before][part])


def _of_both(phase: str, of: str = "run", unit: str = "us/step") -> Sequence[Measure]:
    return (
        _cost(f"{of}: worker", phase, "process", unit=unit),
        _cost(f"{of}: PostgreSQL", phase, "postgres", unit=unit),
        _cost(f"{of}: both", phase, "process", "postgres", unit=unit),
    )


def _shape(name: str, amounts: Amounts) -> Compared:
    return Compared(
        name,
        amounts,
        {
            "postgres": (*_of_both("run"), _cost("create: both", "create", "process", "postgres")),
            "sqlite": (
                _cost("run: worker", "run", "process"),
                _cost("create: client", "create", "process"),
            ),
        },
        program=name,
        default=True,
    )


def _queues(handlers: int) -> Compared:
    start = Measure("start: CPU", "s", lambda sample: sample["start"]["process"] / 1e6)
    seconds = Measure("start: time", "s", lambda sample: sample["start"]["wall"] / 1e6)
    return Compared(
        f"queues-{handlers}",
        Amounts(2_500, 10_000, 10_000),
        {
            "postgres": (*_of_both("run"), start, seconds),
            "sqlite": (_cost("run: worker", "run", "process"), start, seconds),
        },
        program="queues",
        size=handlers,
    )


def _processes(processes: int) -> Compared:
    return Compared(
        f"processes-{processes}",
        Amounts(5_000, 20_000, 40_000),
        {"postgres": _of_both("run"), "sqlite": (_cost("run: workers", "run", "process"),)},
        program="processes",
        size=processes,
    )


def _remote(shape: str, amounts: Amounts) -> Compared:
    server = _cost("run: server", "run", "process")
    database = _cost("run: PostgreSQL", "run", "postgres")
    both = _cost("run: both", "run", "process", "postgres")
    name = f"remote-{shape}"
    measures = {"postgres": (server, database, both), "sqlite": (server,)}
    return Compared(name, amounts, measures, program=name)


_CREATION = "us/creation"
_SNAPSHOT = (
    _cost("before: both", "before", "process", "postgres"),
    _cost("open: both", "open", "process", "postgres"),
    _growth("PostgreSQL, open/before", "open", "before", "postgres"),
)
_MEMORY = (
    _cost("before the tasks", "before", "rss", unit="MB"),
    _cost("most", "peak", "rss", unit="MB"),
    _cost("a minute after", "after", "rss", unit="MB"),
)

COMPARED: Sequence[Compared] = (
    _shape("chain", Amounts(2_000, 8_000, 8_000)),
    _shape("fan50", Amounts(150, 600, 600)),
    *map(_queues, (10, 1_000, 5_000)),
    Compared(
        "snapshot",
        Amounts(20, 60, 300),  # seconds that the snapshot is open
        {"postgres": _SNAPSHOT},
        program="snapshot",
        autovacuum=True,
        limit=600,
    ),
    Compared(
        "create-single",
        Amounts(4_000, 12_000, 12_000),
        {
            "postgres": (
                *_of_both("create", "create", _CREATION),
                _cost("create: time", "create", "wall", unit=_CREATION),
            ),
            "sqlite": (
                _cost("create: client", "create", "process", unit=_CREATION),
                _cost("create: time", "create", "wall", unit=_CREATION),
            ),
        },
        program="create-single",
    ),
    Compared(
        "api-create",
        Amounts(4_000, 10_000, 20_000),
        {
            "postgres": (
                _cost("create: server", "create", "process", unit=_CREATION),
                _cost("create: PostgreSQL", "create", "postgres", unit=_CREATION),
                _cost("create: both", "create", "process", "postgres", unit=_CREATION),
                _cost("create: time", "create", "wall", unit=_CREATION),
            ),
            "sqlite": (
                _cost("create: server", "create", "process", unit=_CREATION),
                _cost("create: time", "create", "wall", unit=_CREATION),
            ),
        },
        program="api-create",
    ),
    _remote("1x50", Amounts(1_500, 5_000, 10_000)),
    _remote("8x5", Amounts(750, 2_500, 5_000)),
    _remote("12x2", Amounts(500, 1_500, 3_000)),
    _remote("1x1", Amounts(100, 400, 800)),
    *map(_processes, (1, 2, 4)),
    Compared(
        "backlog",
        Amounts(10_000, 100_000, 1_000_000),  # ended tasks, and as many enqueued ones
        {
            "postgres": (
                _cost("empty: both", "empty", "process", "postgres"),
                _cost("full: both", "full", "process", "postgres"),
                _growth("PostgreSQL, full/empty", "full", "empty", "postgres"),
            ),
            "sqlite": (
                _cost("empty: worker", "empty", "process"),
                _cost("full: worker", "full", "process"),
            ),
        },
        program="backlog",
        autovacuum=True,
        limit=3_600,
    ),
    Compared(
        "memory",
        Amounts(10_000, 50_000, 50_000),  # steps in all
        {"postgres": _MEMORY, "sqlite": _MEMORY},
        program="memory",
    ),
)


def named(names: Sequence[str]) -> list[Compared]:
    """List the workloads that names select, or else the default ones."""
    if not names:
        return [one for one in COMPARED if one.default]
    return [one for one in COMPARED if any(one.matches(name) for name in names)]


def names() -> Iterator[str]:
    """List the names that select a workload or a group of them."""
    yield from dict.fromkeys(name for one in COMPARED for name in (one.program, one.name))
