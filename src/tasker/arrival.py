"""How steps arrive at their children: edges, trigger rules, and which steps need the engine.

A parent *arrives* at each of its children once: as a success, as a failure or as skipped. Successes
and skips arrive at all children. A failure arrives only at those children whose rule takes it into
account, or at all of them with `allow_failure`. A step is freed when all its parents have arrived
or, with an eager rule, earlier. If a parent arrived without success or did not choose the step, the
engine decides whether the step runs.
"""

from collections.abc import Iterator, Mapping, Sequence
from enum import Enum, auto
from typing import NamedTuple

from tasker.graph import Graph
from tasker.model import (
    EAGER_TRIGGERS,
    ENGINE,
    FAILURE_TRIGGERS,
    TASK_NODE,
    Map,
    StepSpec,
    StepType,
    Template,
    TimeoutAction,
    Trigger,
)

_NEEDS_MISSED = frozenset({Trigger.ALL_FAILED, Trigger.ALL_SKIPPED, Trigger.ONE_FAILED})
"""Rules with which a step does not run if all its parents succeeded."""


_NONE_FAILED = (Trigger.NONE_FAILED, Trigger.NONE_FAILED_MIN_ONE_SUCCESS)

_ALL_RAN = frozenset({Trigger.ALL_SUCCESS, Trigger.ALL_FAILED, Trigger.NONE_SKIPPED})
"""Rules with which a step runs only if all its parents have run."""


class Edges(NamedTuple):
    """The children that a step frees, by its outcome. A child that a single arrival frees is listed
    as often as it has parents.
    """

    children: tuple[int, ...]
    on_error: tuple[int, ...]  #: empty: a failure of the step fails its task


def edges_of(graph: Graph, no: int) -> Edges:
    """Return the edges of a step in the form in which stores keep them.

    A step with an eager child also frees the task itself, which would otherwise be complete before
    the step ends.
    """
    spec = graph.specs[no - 1]
    children: list[int] = []
    on_error: list[int] = []
    open_end = False
    tolerated = graph.layout.tolerates_failures(no)
    for child in graph.children[no]:
        trigger = Trigger.ALL_SUCCESS if child == TASK_NODE else graph.specs[child - 1].trigger
        open_end |= trigger is Trigger.ALWAYS or trigger in EAGER_TRIGGERS
        parents = len(graph.parents[child])
        if trigger is not Trigger.ALWAYS:
            children += [child] * (parents if _is_freed_by(trigger, success=True) else 1)
        if spec.allow_failure or tolerated:
            at_once = any(_is_freed_by(trigger, success=success) for success in (True, False))
            on_error += [child] * (parents if at_once else 1)
        elif trigger in FAILURE_TRIGGERS:
            on_error += [child] * (parents if _is_freed_by(trigger, success=False) else 1)
    if open_end:
        if children and set(children) <= set(on_error):
            on_error.insert(0, TASK_NODE)
        children.insert(0, TASK_NODE)
    return Edges(tuple(children), tuple(on_error))


def _is_freed_by(trigger: Trigger, *, success: bool) -> bool:
    """Return whether one parent's success (or, otherwise, its failure) frees a step."""
    if trigger is Trigger.ONE_DONE:
        return True
    return trigger is (Trigger.ONE_SUCCESS if success else Trigger.ONE_FAILED)


def pending_parents(graph: Graph, no: int) -> int:
    """Return how many arrivals a step waits for when it is created."""
    if graph.specs[no - 1].trigger is Trigger.ALWAYS:
        return 0
    return graph.pending_parents(no)


def conditional_steps(graph: Graph) -> frozenset[int]:
    """Return the steps that might not run after they are freed."""
    conditional: set[int] = set()
    for no in graph.order:
        spec = graph.specs[no - 1]
        if (
            spec.when is not None
            or spec.trigger is not Trigger.ALL_SUCCESS
            or any(
                parent in conditional
                or _may_arrive_without_success(graph.specs[parent - 1])
                or (graph.layout.tolerates_failures(parent) and graph.layout.scope(no))
                for parent in graph.awaited(no)
            )
        ):
            conditional.add(no)
    return frozenset(conditional)


def _may_arrive_without_success(parent: StepSpec) -> bool:
    """Return whether a step that runs may arrive without success at a child."""
    return parent.type is StepType.DECISION or _may_lack_result(parent)


def _may_lack_result(spec: StepSpec) -> bool:
    """Return whether a step that runs may arrive at all its children without success."""
    waits = (spec.wait, spec.approval)
    skips = any(wait is not None and wait.on_timeout is TimeoutAction.SKIP for wait in waits)
    return spec.allow_failure or skips


def certain_steps(graph: Graph) -> Mapping[int, frozenset[int]]:
    """Return, for each step, the steps that have certainly succeeded when it runs."""
    certain: dict[int, frozenset[int]] = {}
    unless_failed = _certain_unless_failed(graph)
    for no in graph.order:
        spec = graph.specs[no - 1]
        known: list[frozenset[int]] = []
        for parent in graph.waits[no]:
            succeeded = spec.trigger is Trigger.ALL_SUCCESS
            allowed = graph.specs[parent - 1].allow_failure
            itself = frozenset({parent}) if succeeded and not allowed else frozenset[int]()
            known.append(certain[parent] | itself)
        if spec.trigger in _ALL_RAN:
            certain[no] = frozenset[int]().union(*known)
        elif spec.trigger in EAGER_TRIGGERS:
            certain[no] = frozenset.intersection(*known)
        elif spec.trigger in _NONE_FAILED:
            certain[no] = unless_failed[no]
        else:
            certain[no] = frozenset()
    for no, undone in graph.layout.undone.items():
        certain[no] = certain[undone] | {undone}
    return certain


def _certain_unless_failed(graph: Graph) -> Mapping[int, frozenset[int]]:
    """Return, for each step, the steps that have certainly succeeded when it runs or is skipped."""
    conditional = conditional_steps(graph)
    certain: dict[int, frozenset[int]] = {}
    for no in graph.order:
        known: set[int] = set()
        if graph.specs[no - 1].trigger in (Trigger.ALL_SUCCESS, *_NONE_FAILED):
            for parent in graph.waits[no]:
                known |= certain[parent]
                if not (
                    parent in conditional
                    or _may_lack_result(graph.specs[parent - 1])
                    or graph.layout.tolerates_failures(parent)
                ):
                    known.add(parent)
        certain[no] = frozenset(known)
    return certain


class FirstQueue(NamedTuple):
    """The first queue of a step: see `Queue`."""

    handler: str
    requirement: str = ""
    gated: bool = False


ENGINE_QUEUE = FirstQueue(ENGINE)


def first_queue(template: Template, graph: Graph, no: int) -> FirstQueue:
    """Return the first queue of a step: the engine queue if it may not run at all."""
    spec = graph.specs[no - 1]
    if spec.when is not None or spec.trigger in _NEEDS_MISSED:
        return ENGINE_QUEUE
    return own_queue(template, graph, no)


def own_queue(template: Template, graph: Graph, no: int) -> FirstQueue:
    """Return the queue of a step's handler."""
    spec = graph.specs[no - 1]
    if spec.handler == ENGINE:
        return ENGINE_QUEUE
    gated = bool(template.limits_of(spec)) or max_concurrency(graph, no) is not None
    return FirstQueue(spec.handler, str(spec.requirement), gated)


def max_concurrency(graph: Graph, no: int) -> int | None:
    """Return `max_concurrency` of the map whose body contains a step."""
    body = graph.layout.bodies.get(graph.layout.scope(no))
    if no in graph.layout.compensating_nodes:
        return None
    return body.spawning.max_concurrency if body and isinstance(body.spawning, Map) else None


# --------------------------------------------------------------------------- rules


class Arrived(Enum):
    """How a parent arrived at a step."""

    SUCCEEDED = auto()
    ALLOWED = auto()  #: failed, with `allow_failure`
    FAILED = auto()
    SKIPPED = auto()
    NOT_CHOSEN = auto()  #: a decision that chose other steps
    PENDING = auto()  #: has not ended


_WORDS = {
    Arrived.SUCCEEDED: "{} succeeded",
    Arrived.ALLOWED: "{} failed",
    Arrived.FAILED: "{} failed",
    Arrived.SKIPPED: "{} was skipped",
    Arrived.NOT_CHOSEN: "{} did not choose it",
    Arrived.PENDING: "{} has not ended",
}
_SUCCESS = frozenset({Arrived.SUCCEEDED, Arrived.ALLOWED})
_FAILURE = frozenset({Arrived.FAILED, Arrived.ALLOWED})
_SKIP = frozenset({Arrived.SKIPPED, Arrived.NOT_CHOSEN})


class _Rule(NamedTuple):
    """A trigger rule: the arrivals that it requires and excludes."""

    one: frozenset[Arrived] = frozenset()  #: at least one parent
    none: frozenset[Arrived] = frozenset()  #: no parent


_RULES: Mapping[Trigger, _Rule] = {
    Trigger.ALL_SUCCESS: _Rule(none=frozenset(Arrived) - _SUCCESS),
    Trigger.ALL_FAILED: _Rule(none=frozenset(Arrived) - _FAILURE),
    Trigger.ALL_SKIPPED: _Rule(none=frozenset(Arrived) - _SKIP),
    Trigger.ALL_DONE: _Rule(),
    Trigger.ONE_SUCCESS: _Rule(one=_SUCCESS),
    Trigger.ONE_FAILED: _Rule(one=_FAILURE),
    Trigger.ONE_DONE: _Rule(one=_SUCCESS | _FAILURE),
    Trigger.NONE_FAILED: _Rule(none=frozenset({Arrived.FAILED})),
    Trigger.NONE_FAILED_MIN_ONE_SUCCESS: _Rule(one=_SUCCESS, none=frozenset({Arrived.FAILED})),
    Trigger.NONE_SKIPPED: _Rule(none=_SKIP),
    Trigger.ALWAYS: _Rule(),
}


class Verdict(NamedTuple):
    """Why a step does not run."""

    reason: str
    failed: bool = False  #: whether the step fails instead of being skipped


def judge(trigger: Trigger, parents: Sequence[tuple[str, Arrived]]) -> Verdict | None:
    """Return why its rule keeps a freed step from running, or None if the step runs.

    Args:
        trigger: The rule.
        parents: The names of its parents and how they arrived.
    """
    rule = _RULES[trigger]
    if trigger not in EAGER_TRIGGERS:  # a failed parent may have been retried since
        parents = [
            (name, Arrived.FAILED if how is Arrived.PENDING else how) for name, how in parents
        ]
    wrong = [(name, how) for name, how in parents if how in rule.none]
    if not wrong and (not rule.one or any(how in rule.one for _, how in parents)):
        return None
    reason = f"{trigger.value}: {', '.join(_describe(wrong or parents))}"
    lost = trigger is Trigger.ONE_SUCCESS and any(how in _FAILURE for _, how in parents)
    return Verdict(reason, failed=lost)


def _describe(parents: Sequence[tuple[str, Arrived]]) -> Iterator[str]:
    for name, how in parents[:5]:
        yield _WORDS[how].format(name)
    if len(parents) > 5:
        yield f"and {len(parents) - 5} more"
