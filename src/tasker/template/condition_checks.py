"""Checks of branches: steps that never run, and results that may be missing."""

from collections.abc import Mapping

from tasker.arrival import guaranteed_successes_by_step, steps_that_may_be_skipped
from tasker.errors import InvalidExpression
from tasker.graph import Graph
from tasker.model import StepSpec, Template, TriggerRule
from tasker.template.expressions import compile_expression

_NEEDS_ALL = frozenset({TriggerRule.ALL_SUCCESS, TriggerRule.ALL_FAILED, TriggerRule.NONE_SKIPPED})
"""Trigger rules under which a step never runs if one of its parents never runs."""

_NEEDS_ONE = frozenset(
    {
        *(TriggerRule.ONE_SUCCESS, TriggerRule.ONE_FAILED, TriggerRule.ONE_DONE),
        TriggerRule.NONE_FAILED_MIN_ONE_SUCCESS,
    }
)
"""Trigger rules under which a step never runs if none of its parents ever runs."""


def find_steps_that_never_run(graph: Graph) -> Mapping[str, str]:
    """Return the steps that never run, and why."""
    conditional = steps_that_may_be_skipped(graph)
    reasons: dict[str, str] = {}
    for no in graph.topological_order:
        spec = graph.specs[no - 1]
        if _is_always_false(spec):
            reasons[spec.name] = "its condition is always false"
            continue
        certain = [name for name in spec.dependencies if graph.numbers[name] not in conditional]
        if spec.trigger is TriggerRule.ALL_SKIPPED and certain:
            reason = f"its trigger is all_skipped, but step {certain[0]!r} is never skipped"
            reasons[spec.name] = reason
            continue
        missing = [name for name in spec.dependencies if name in reasons]
        none_runs = missing == [*spec.dependencies]
        if missing and (spec.trigger in _NEEDS_ALL or (spec.trigger in _NEEDS_ONE and none_runs)):
            parent = missing[0]
            if parent.startswith(f"{spec.name}."):  # its own spawner or join
                reasons[spec.name] = reasons[parent]
            else:
                reasons[spec.name] = f"step {parent!r}, which it depends on, never runs"
    return reasons


def _is_always_false(spec: StepSpec) -> bool:
    if spec.when is None:
        return False
    expression = compile_expression(spec.when)
    if expression.paths:
        return False
    try:
        return not expression.is_true({})
    except InvalidExpression:  # reported as such
        return False


def find_possibly_missing_results(template: Template) -> Mapping[str, frozenset[str]]:
    """Return, for each step, the ancestors that may have no result when it runs."""
    graph = Graph(template)
    if not steps_that_may_be_skipped(graph) and not any(spec.allow_failure for spec in graph.specs):
        return {}
    certain = guaranteed_successes_by_step(graph)
    return {
        name: frozenset(graph.ancestor_names(name))
        - {graph.names[done - 1] for done in certain[no]}
        for name, no in graph.numbers.items()
        if no in certain
    }
