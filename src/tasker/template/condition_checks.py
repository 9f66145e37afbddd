"""Checks of what branches make of steps: those that never run, and those that may be missing."""

from collections.abc import Iterator, Mapping

from tasker.arrival import certain_steps, conditional_steps
from tasker.graph import Graph
from tasker.model import StepSpec, Template, Trigger


def check_reachable(graph: Graph, spec: StepSpec) -> Iterator[str]:
    """Report rules that no outcome of the parents satisfies."""
    if spec.trigger is not Trigger.ALL_SKIPPED:
        return
    conditional = conditional_steps(graph)
    for name in spec.dependencies:
        if graph.numbers[name] not in conditional:
            yield f"it never runs: its trigger is all_skipped, but step {name!r} is never skipped"


def may_lack(template: Template) -> Mapping[str, frozenset[str]]:
    """Return, for each step, the ancestors that may have no result when it runs."""
    graph = Graph(template)
    if not conditional_steps(graph) and not any(spec.allow_failure for spec in graph.specs):
        return {}
    certain = certain_steps(graph)
    return {
        name: frozenset(graph.ancestor_names(name))
        - {graph.names[done - 1] for done in certain[no]}
        for name, no in graph.numbers.items()
        if no in certain
    }
