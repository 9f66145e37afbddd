"""Random graphs of steps, and the templates that they make."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from functools import cache
from typing import NamedTuple

from hypothesis import strategies as st

from tasker import Template
from tasker.model import (
    ENGINE,
    CompensateSpec,
    Compensation,
    Limit,
    Map,
    StepSpec,
    TaskEndEvent,
    TriggerRule,
    UnsuccessfulEndName,
)

HANDLERS = ("red", "blue")
LIMITS = {"one": 1, "two": 2}  #: concurrency by limit key
TRIGGERS = (
    *[TriggerRule.ALL_SUCCESS] * 5,
    *(TriggerRule.ALL_DONE, TriggerRule.ONE_SUCCESS, TriggerRule.ONE_FAILED, TriggerRule.ONE_DONE),
)


class Node(NamedTuple):
    """A step of a shape."""

    parents: tuple[int, ...]
    handler: str
    trigger: TriggerRule = TriggerRule.ALL_SUCCESS
    allow_failure: bool = False
    key: str | None = None  #: the limit that it is under
    spawns: bool = False  #: a spawner; the next step is its join
    joins: bool = False
    undone: bool = False  #: whether it says how it is undone; of a spawner: its instances

    @property
    def queue(self) -> str:
        """The queue in which it waits for its handler; those of limited steps are others."""
        return limited(self.handler) if self.key else self.handler


def limited(handler: str) -> str:
    """Return the queue of a handler's steps that are under limits."""
    return f"{handler}, limited"


LoadedTemplate = tuple[Node, ...]
"""The steps, by number from 1."""


_ONE_IN_8 = st.integers(0, 7)
_ONE_IN_6 = st.integers(0, 5)
_ONE_IN_4 = st.integers(0, 3)
_BOOLEANS = st.booleans()
_TRIGGERS = st.sampled_from(TRIGGERS)
_KEYS = st.sampled_from([None, None, None, *LIMITS])
_HANDLERS = st.sampled_from(HANDLERS)


@cache
def _sizes(most: int) -> st.SearchStrategy[int]:
    return st.integers(1, 4) | st.integers(1, most)


@cache
def _parents(known: tuple[int, ...]) -> st.SearchStrategy[set[int]]:
    return st.sets(st.sampled_from(known), max_size=4) if known else st.just(set[int]())


@st.composite
def shapes(draw: st.DrawFn, most: int = 12, first: Node | None = None) -> LoadedTemplate:
    """Make a graph of 1 to `most` steps; half of them small.

    Args:
        draw: Draws from strategies.
        most: The most steps.
        first: The first step; some steps can be undone if it can be.
    """
    size = draw(_sizes(most))
    steps = [first] if first else []
    compensated = first.undone if first else draw(_ONE_IN_4) == 3
    while len(steps) < size:
        known = tuple(no for no, node in enumerate(steps, start=1) if not node.spawns)
        parents = tuple(sorted(draw(_parents(known))))
        is_undone = compensated and draw(_BOOLEANS)
        if draw(_ONE_IN_8) == 7:
            steps.append(Node(parents, ENGINE, spawns=True, undone=is_undone))
            steps.append(Node((len(steps),), ENGINE, joins=True))
            continue
        trigger = draw(_TRIGGERS) if parents else TriggerRule.ALL_SUCCESS
        allowed = draw(_ONE_IN_6) == 5
        key = draw(_KEYS)
        steps.append(Node(parents, draw(_HANDLERS), trigger, allowed, key, undone=is_undone))
    return tuple(steps)


def publishes_ends(shape: LoadedTemplate) -> bool:
    """Return whether the tasks of a shape publish their ends: those of half of the shapes."""
    return len(shape) % 2 == 0


_ON: Sequence[Sequence[UnsuccessfulEndName]] = (
    ("error", "cancelled"),
    ("error", "cancelled"),
    ("error",),
    ("cancelled",),
)


def compensation_of(shape: LoadedTemplate) -> Compensation | None:
    """Return how the tasks of a shape are compensated; None: they are not."""
    undone = sum(node.undone for node in shape)
    if not undone:
        return None
    parents = sum(len(node.parents) for node in shape)
    hold = timedelta(minutes=1) if parents % 3 == 1 else timedelta()
    return Compensation(on=_ON[undone % 4], keep_going=parents % 2 == 0, hold=hold)


def template_of(
    shape: LoadedTemplate, namespace: str, name: str, *, holds: bool = True
) -> Template:
    """Make the template of a shape; step number n is called sn.

    Args:
        shape: The graph.
        namespace: The namespace.
        name: The name.
        holds: Whether its compensation may begin later than it could.
    """
    compensation = compensation_of(shape) or Compensation()
    return Template(
        namespace=namespace,
        name=name,
        version="1.0.0",
        steps=tuple(
            _step(shape, no, node) for no, node in enumerate(shape, start=1) if not node.joins
        ),
        events=tuple(TaskEndEvent) if publishes_ends(shape) else (),
        compensation=compensation if holds else replace(compensation, hold=timedelta()),
    )


def _step(shape: LoadedTemplate, no: int, node: Node) -> StepSpec:
    if node.spawns:
        return StepSpec(
            name=f"s{no + 1}",
            callable=HANDLERS[0],
            dependencies=names(node.parents),
            spawning=Map(over="input.items"),
            compensate=CompensateSpec(callable=HANDLERS[0]) if node.undone else None,
        )
    return StepSpec(
        name=f"s{no}",
        callable=node.handler,
        dependencies=names(node.parents),
        trigger=node.trigger,
        allow_failure=node.allow_failure,
        limits=(Limit("declared", concurrency=9),) if node.key else None,
        compensate=CompensateSpec(callable=node.handler) if node.undone else None,
    )


def names(nos: Sequence[int]) -> tuple[str, ...]:
    return tuple(f"s{no}" for no in nos)
