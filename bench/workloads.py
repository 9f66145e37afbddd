"""The templates that are run, and their handlers, which do nothing."""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache
from typing import Any, NamedTuple

from tasker import AsyncContext, Template
from tasker.graph import Graph
from tasker.model import CollectMode, EventSpec, Limit, Map, StepSpec

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


async def wait_for_signal(context: AsyncContext) -> None:
    """Record the seconds from the time in a signal to the attempt that receives it."""
    wake_delays.append(time.monotonic() - await context.wait_signal("go"))


async def sleep_until(at: float, context: AsyncContext) -> None:
    """Record the seconds from a time since 1970 to the attempt that begins then."""
    await context.sleep(until=datetime.fromtimestamp(at, UTC))
    wake_delays.append(time.time() - at)


async def once(context: AsyncContext) -> Any:
    """Run a trivial function in a durable call."""
    return await context.once("work", lambda: RESULT)


async def take_turns() -> dict[str, str]:
    """Return when it is this step's turn; `PACE` steps have theirs in each second."""
    now = time.monotonic()
    _turns[0] = max(_turns[0] + 1 / PACE, now)
    await asyncio.sleep(_turns[0] - now)
    return RESULT


PACE = 500
_turns = [0.0]  #: the time of the last turn


async def numbers() -> list[int]:
    """Return the elements of the map."""
    return list(range(MAPPED))


MAPPED = 10_000  #: instances of the map


@cache
def adapted_handler() -> Any:
    """Import the earlier Python package and return a handler of it as one of Tasker."""
    from tasker_core.adapter import adapters_of
    from tasker_core.registry import HandlerRegistry
    from tasker_core.step_handler import depends_on, step_handler

    @step_handler("earlier")
    @depends_on(before="s1")
    async def earlier(before: dict[str, str] | None) -> dict[str, str]:
        return RESULT

    registry = HandlerRegistry()
    registry.register("earlier", earlier._handler_class)  # type: ignore[attr-defined]
    return adapters_of(registry, ())["earlier"]


async def earlier(context: AsyncContext) -> Any:
    """Run a handler of the earlier Python package, which is imported on the first call."""
    return await adapted_handler().call(context)


HANDLERS = {
    "work": work,
    "wake": wake,
    "wait_for_signal": wait_for_signal,
    "sleep_until": sleep_until,
    "once": once,
    "take_turns": take_turns,
    "numbers": numbers,
    "earlier": earlier,
}


class Workload(NamedTuple):
    """A template, and how many of its tasks make a run."""

    name: str
    title: str
    template: Template
    tasks: int
    quick: int  #: tasks of a short run
    instances: int = 0  #: steps that one task makes at run time
    per_key: int = 0  #: tasks with the same value of the input `key`, if they have one

    @property
    def steps(self) -> int:
        """The number of steps of one task."""
        graph = Graph(self.template)
        return len(graph.specs) - len(graph.layout.scopes) + self.instances


def _workload(
    name: str,
    title: str,
    parents: Sequence[Sequence[int]],
    *,
    tasks: int,
    quick: int,
    handler: str = "work",
) -> Workload:
    """Return the workload of a graph, given the numbers (from 1) of each step's parents."""
    steps = tuple(
        StepSpec(name=f"s{no}", callable=handler, dependencies=tuple(f"s{p}" for p in before))
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
            collect=CollectMode.NONE,
        ),
    )
    template = Template(namespace=NAMESPACE, name="map", version="1.0.0", steps=steps)
    return Workload("map", f"one map of {MAPPED:,}", template, 1, 1, MAPPED)


def _with(base: Workload, name: str, title: str, *, per_key: int = 0, **fields: Any) -> Workload:
    """Return a workload whose steps have other fields."""
    steps = tuple(replace(spec, **fields) for spec in base.template.steps)
    template = replace(base.template, name=name, steps=steps)
    return base._replace(name=name, title=title, template=template, per_key=per_key)


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
        "earlier",
        "4-step chain, handlers of tasker_core",
        [(), (1,), (2,), (3,)],
        tasks=10_000,
        quick=5_000,
        handler="earlier",
    ),
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
CHAIN, _SINGLE = THROUGHPUT["chain"], THROUGHPUT["single"]
_PER_KEY, _ALL = Limit("customer:{input.key}", concurrency=5), Limit("all", concurrency=100)
GROWTH = {
    workload.name: workload
    for workload in (
        _with(_SINGLE, "once", "single step with one durable call", callable="once"),
        _with(CHAIN, "events", "4-step chain, an event per step", events=(EventSpec("done"),)),
        _with(
            _SINGLE._replace(tasks=100_000, quick=10_000),
            "limits",
            "single step, limits of 5 with 100 steps each",
            per_key=100,
            limits=(_PER_KEY,),
        ),
        _with(_SINGLE, "limit", "single step, one limit of 100", limits=(_ALL,)),
    )
}
"""What is compared with `single` and `chain` of the same run."""

WAKE = Template(
    namespace=NAMESPACE,
    name="wake",
    version="1.0.0",
    steps=(StepSpec(name="wake", callable="wake"),),
)
SIGNALLED = replace(
    WAKE, name="signalled", steps=(StepSpec(name="wait", callable="wait_for_signal"),)
)
TIMED = replace(WAKE, name="timed", steps=(StepSpec(name="sleep", callable="sleep_until"),))
_LATTICE = THROUGHPUT["lattice"].template
PACED = replace(
    _LATTICE,
    name="paced",
    steps=tuple(replace(spec, callable="take_turns") for spec in _LATTICE.steps),
)
"""10,000 steps of different shapes, of which `PACE` end in each second."""
