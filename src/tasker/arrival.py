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
    TriggerRule,
)

_NEEDS_MISSED = frozenset({TriggerRule.ALL_FAILED, TriggerRule.ALL_SKIPPED, TriggerRule.ONE_FAILED})
"""Trigger rules under which a step does not run if all its parents succeeded."""


_NONE_FAILED = (TriggerRule.NONE_FAILED, TriggerRule.NONE_FAILED_MIN_ONE_SUCCESS)

_ALL_RAN = frozenset({TriggerRule.ALL_SUCCESS, TriggerRule.ALL_FAILED, TriggerRule.NONE_SKIPPED})
"""Trigger rules under which a step runs only if all its parents have run."""


class OutgoingEdges(NamedTuple):
    """The children that a step frees, by its outcome. A child that a single arrival frees is listed
    as often as it has parents.
    """

    children: tuple[int, ...]
    on_error: tuple[int, ...]  #: empty: a failure of the step fails its task


def outgoing_edges(graph: Graph, no: int) -> OutgoingEdges:
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
        trigger = TriggerRule.ALL_SUCCESS if child == TASK_NODE else graph.specs[child - 1].trigger
        open_end |= trigger is TriggerRule.ALWAYS or trigger in EAGER_TRIGGERS
        parents = len(graph.parents[child])
        if trigger is not TriggerRule.ALWAYS:
            children += [child] * (
                parents if _can_one_parent_free_step(trigger, success=True) else 1
            )
        if spec.allow_failure or tolerated:
            at_once = any(
                _can_one_parent_free_step(trigger, success=success) for success in (True, False)
            )
            on_error += [child] * (parents if at_once else 1)
        elif trigger in FAILURE_TRIGGERS:
            on_error += [child] * (
                parents if _can_one_parent_free_step(trigger, success=False) else 1
            )
    if open_end:
        if children and set(children) <= set(on_error):
            on_error.insert(0, TASK_NODE)
        children.insert(0, TASK_NODE)
    return OutgoingEdges(tuple(children), tuple(on_error))


def _can_one_parent_free_step(trigger: TriggerRule, *, success: bool) -> bool:
    """Return whether one parent's success (or, otherwise, its failure) frees a step."""
    if trigger is TriggerRule.ONE_DONE:
        return True
    return trigger is (TriggerRule.ONE_SUCCESS if success else TriggerRule.ONE_FAILED)


def initial_pending_parent_count(graph: Graph, no: int) -> int:
    """Return how many arrivals a step waits for when it is created."""
    if graph.specs[no - 1].trigger is TriggerRule.ALWAYS:
        return 0
    return graph.awaited_parent_count(no)


def steps_that_may_be_skipped(graph: Graph) -> frozenset[int]:
    """Return the steps that might not run after they are freed."""
    conditional: set[int] = set()
    for no in graph.topological_order:
        spec = graph.specs[no - 1]
        if (
            spec.when is not None
            or spec.trigger is not TriggerRule.ALL_SUCCESS
            or any(
                parent in conditional
                or _may_arrive_without_success(graph.specs[parent - 1])
                or (graph.layout.tolerates_failures(parent) and graph.layout.spawner_around(no))
                for parent in graph.awaited_parents(no)
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


def guaranteed_successes_by_step(graph: Graph) -> Mapping[int, frozenset[int]]:
    """Return, for each step, the steps that have certainly succeeded when it runs."""
    certain: dict[int, frozenset[int]] = {}
    when_run_or_skipped = _guaranteed_successes_even_if_skipped(graph)
    for no in graph.topological_order:
        spec = graph.specs[no - 1]
        known: list[frozenset[int]] = []
        for parent in graph.direct_dependencies[no]:
            succeeded = spec.trigger is TriggerRule.ALL_SUCCESS
            allowed = graph.specs[parent - 1].allow_failure
            itself = frozenset({parent}) if succeeded and not allowed else frozenset[int]()
            known.append(certain[parent] | itself)
        if spec.trigger in _ALL_RAN:
            certain[no] = frozenset[int]().union(*known)
        elif spec.trigger in EAGER_TRIGGERS:
            certain[no] = frozenset.intersection(*known)
        elif spec.trigger in _NONE_FAILED:
            certain[no] = when_run_or_skipped[no]
        else:
            certain[no] = frozenset()
    for no, undone in graph.layout.undone_node_by_compensating_node.items():
        certain[no] = certain[undone] | {undone}
    return certain


def _guaranteed_successes_even_if_skipped(graph: Graph) -> Mapping[int, frozenset[int]]:
    """Return, for each step, the steps that have certainly succeeded when it runs or is skipped."""
    conditional = steps_that_may_be_skipped(graph)
    certain: dict[int, frozenset[int]] = {}
    for no in graph.topological_order:
        known: set[int] = set()
        if graph.specs[no - 1].trigger in (TriggerRule.ALL_SUCCESS, *_NONE_FAILED):
            for parent in graph.direct_dependencies[no]:
                known |= certain[parent]
                if not (
                    parent in conditional
                    or _may_lack_result(graph.specs[parent - 1])
                    or graph.layout.tolerates_failures(parent)
                ):
                    known.add(parent)
        certain[no] = frozenset(known)
    return certain


class StepQueue(NamedTuple):
    """The properties that select the queue of a step: see `Queue`."""

    handler: str
    requirement: str = ""
    gated: bool = False


ENGINE_QUEUE = StepQueue(ENGINE)


def initial_queue_of_step(template: Template, graph: Graph, no: int) -> StepQueue:
    """Return the first queue of a step: the engine queue if it may not run at all."""
    spec = graph.specs[no - 1]
    if spec.when is not None or spec.trigger in _NEEDS_MISSED:
        return ENGINE_QUEUE
    return handler_queue_of_step(template, graph, no)


def handler_queue_of_step(template: Template, graph: Graph, no: int) -> StepQueue:
    """Return the queue of a step's handler."""
    spec = graph.specs[no - 1]
    if spec.handler == ENGINE:
        return ENGINE_QUEUE
    gated = (
        bool(template.limits_of_step(spec)) or enclosing_map_max_concurrency(graph, no) is not None
    )
    return StepQueue(spec.handler, str(spec.requirement), gated)


def enclosing_map_max_concurrency(graph: Graph, no: int) -> int | None:
    """Return `max_concurrency` of the map whose body contains a step."""
    body = graph.layout.bodies.get(graph.layout.spawner_around(no))
    if no in graph.layout.compensating_nodes:
        return None
    return body.spawning.max_concurrency if body and isinstance(body.spawning, Map) else None


# --------------------------------------------------------------------------- rules


class ParentOutcome(Enum):
    """How a parent arrived at a step."""

    SUCCEEDED = auto()
    ALLOWED = auto()  #: failed, with `allow_failure`
    FAILED = auto()
    SKIPPED = auto()
    NOT_CHOSEN = auto()  #: a decision that chose other steps
    PENDING = auto()  #: has not ended


_WORDS = {
    ParentOutcome.SUCCEEDED: "{} succeeded",
    ParentOutcome.ALLOWED: "{} failed",
    ParentOutcome.FAILED: "{} failed",
    ParentOutcome.SKIPPED: "{} was skipped",
    ParentOutcome.NOT_CHOSEN: "{} did not choose it",
    ParentOutcome.PENDING: "{} has not ended",
}
_SUCCESS = frozenset({ParentOutcome.SUCCEEDED, ParentOutcome.ALLOWED})
_FAILURE = frozenset({ParentOutcome.FAILED, ParentOutcome.ALLOWED})
_SKIP = frozenset({ParentOutcome.SKIPPED, ParentOutcome.NOT_CHOSEN})


class _TriggerCondition(NamedTuple):
    """A trigger rule: the arrivals that it requires and excludes."""

    one: frozenset[ParentOutcome] = frozenset()  #: at least one parent
    none: frozenset[ParentOutcome] = frozenset()  #: no parent


_RULES: Mapping[TriggerRule, _TriggerCondition] = {
    TriggerRule.ALL_SUCCESS: _TriggerCondition(none=frozenset(ParentOutcome) - _SUCCESS),
    TriggerRule.ALL_FAILED: _TriggerCondition(none=frozenset(ParentOutcome) - _FAILURE),
    TriggerRule.ALL_SKIPPED: _TriggerCondition(none=frozenset(ParentOutcome) - _SKIP),
    TriggerRule.ALL_DONE: _TriggerCondition(),
    TriggerRule.ONE_SUCCESS: _TriggerCondition(one=_SUCCESS),
    TriggerRule.ONE_FAILED: _TriggerCondition(one=_FAILURE),
    TriggerRule.ONE_DONE: _TriggerCondition(one=_SUCCESS | _FAILURE),
    TriggerRule.NONE_FAILED: _TriggerCondition(none=frozenset({ParentOutcome.FAILED})),
    TriggerRule.NONE_FAILED_MIN_ONE_SUCCESS: _TriggerCondition(
        one=_SUCCESS, none=frozenset({ParentOutcome.FAILED})
    ),
    TriggerRule.NONE_SKIPPED: _TriggerCondition(none=_SKIP),
    TriggerRule.ALWAYS: _TriggerCondition(),
}


class UnmetTriggerRule(NamedTuple):
    """Why a step does not run."""

    reason: str
    failed: bool = False  #: whether the step fails instead of being skipped


def find_unmet_trigger_rule(
    trigger: TriggerRule, parents: Sequence[tuple[str, ParentOutcome]]
) -> UnmetTriggerRule | None:
    """Return why its rule keeps a freed step from running, or None if the step runs.

    Args:
        trigger: The rule.
        parents: The names of its parents and how they arrived.
    """
    rule = _RULES[trigger]
    if trigger not in EAGER_TRIGGERS:  # a failed parent may have been retried since
        parents = [
            (name, ParentOutcome.FAILED if how is ParentOutcome.PENDING else how)
            for name, how in parents
        ]
    wrong = [(name, how) for name, how in parents if how in rule.none]
    if not wrong and (not rule.one or any(how in rule.one for _, how in parents)):
        return None
    reason = f"{trigger.value}: {', '.join(_describe_parents(wrong or parents))}"
    lost = trigger is TriggerRule.ONE_SUCCESS and any(how in _FAILURE for _, how in parents)
    return UnmetTriggerRule(reason, failed=lost)


def _describe_parents(parents: Sequence[tuple[str, ParentOutcome]]) -> Iterator[str]:
    for name, how in parents[:5]:
        yield _WORDS[how].format(name)
    if len(parents) > 5:
        yield f"and {len(parents) - 5} more"
