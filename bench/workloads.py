"""The templates that are run, and their handlers, which do nothing."""

import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from tasker import Template
from tasker.graph import Graph
from tasker.model import Collect, Map, StepSpec

NAMESPACE = "bench"
RESULT = {"data": "x" * 89}  #: 100 bytes as JSON

wake_delays: list[float] = []
"""Seconds from the creation of each `wake` task to the start of its handler."""


async def work() -> dict[str, str]:
    """Return at once."""
    return RESULT


async def wake(at: float) -> None:
    """Record the seconds since `at`, a time of the clock that all processes share."""
    wake_delays.append(time.monotonic() - at)


async def numbers() -> list[int]:
    """Return the elements of the map."""
    return list(range(MAPPED))


MAPPED = 10_000  #: instances of the map
HANDLERS = {"work": work, "wake": wake, "numbers": numbers}


class Workload(NamedTuple):
    """A template, and how many of its tasks make a run."""

    name: str
    title: str
    template: Template
    tasks: int
    quick: int  #: tasks of a short run
    instances: int = 0  #: steps that one task makes at run time

    @property
    def steps(self) -> int:
        """The number of steps of one task."""
        graph = Graph(self.template)
        return len(graph.specs) - len(graph.layout.scopes) + self.instances


def _workload(
    name: str, title: str, parents: Sequence[Sequence[int]], *, tasks: int, quick: int
) -> Workload:
    """Return the workload of a graph, given the numbers (from 1) of each step's parents."""
    steps = tuple(
        StepSpec(name=f"s{no}", callable="work", dependencies=tuple(f"s{p}" for p in before))
        for no, before in enumerate(parents, start=1)
    )
    template = Template(namespace=NAMESPACE, name=name, version="1.0.0", steps=steps)
    return Workload(name, title, template, tasks, quick)


def _fan(width: int) -> list[Sequence[int]]:
    return [(), *([(1,)] * width), range(2, width + 2)]


def _map() -> Workload:
    """Return a list, one instance for each of its elements, and their join."""
    steps = (
        StepSpec(name="numbers", callable="numbers"),
        StepSpec(
            name="each",
            callable="work",
            dependencies=("numbers",),
            spawning=Map(over="results.numbers"),
            collect=Collect.NONE,
        ),
    )
    template = Template(namespace=NAMESPACE, name="map", version="1.0.0", steps=steps)
    return Workload("map", f"one map of {MAPPED:,}", template, 1, 1, MAPPED)


def _lattice(side: int) -> list[Sequence[int]]:
    """Return layers of `side` steps, each with its three neighbours in the layer before."""
    first: list[Sequence[int]] = [()] * side
    others = [
        sorted({layer * side + (column + shift) % side + 1 for shift in (-1, 0, 1)})
        for layer in range(side - 1)
        for column in range(side)
    ]
    return first + others


_MAKERS: Sequence[Callable[[], Workload]] = (
    lambda: _workload("chain", "4-step chain", [(), (1,), (2,), (3,)], tasks=30_000, quick=10_000),
    lambda: _workload(
        "diamond",
        "5-step diamond",
        [(), (1,), (1,), (2, 3), (4,)],
        tasks=20_000,
        quick=6_000,
    ),
    lambda: _workload("single", "single step", [()], tasks=60_000, quick=20_000),
    lambda: _workload("fan50", "fan-out 1-50-1", _fan(50), tasks=2_000, quick=600),
    lambda: _workload("fan1000", "fan-out 1-1000-1", _fan(1_000), tasks=80, quick=25),
    lambda: _workload("fan9998", "one task, 1-9998-1", _fan(9_998), tasks=1, quick=1),
    _map,
    lambda: _workload("lattice", "one task, 100 layers of 100", _lattice(100), tasks=1, quick=1),
)
THROUGHPUT = {workload.name: workload for workload in (make() for make in _MAKERS)}
CHAIN = THROUGHPUT["chain"]
WAKE = Template(
    namespace=NAMESPACE,
    name="wake",
    version="1.0.0",
    steps=(StepSpec(name="wake", callable="wake"),),
)
