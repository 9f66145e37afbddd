"""Checks of conditions against schemas, and of steps that never run; for `tasker check`."""

from collections.abc import Iterator, Mapping
from typing import Any

from tasker.arrival import certain_steps, conditional_steps
from tasker.errors import InvalidExpression, Problem
from tasker.graph import Graph
from tasker.model import StepSpec, StepType, Template, Trigger
from tasker.template.expression_types import check_condition
from tasker.template.expressions import compile_expression

_DECISION = {
    "type": "object",
    "properties": {
        "chosen": {"type": "array", "items": {"type": "string"}},
        "reason": {"type": "string"},
        "data": {"type": "object"},
    },
}


def condition_problems(template: Template, results: Mapping[str, Any]) -> list[Problem]:
    """List the type errors of a template's conditions, and the steps that never run.

    Args:
        template: The template.
        results: JSON Schemas of results by step, for steps without a `result_schema`.
    """
    graph = Graph(template)
    schemas = {
        "input": template.input_schema or True,
        "results": {
            "type": "object",
            "properties": {spec.name: _result_schema(spec, results) for spec in graph.specs},
        },
    }
    problems = []
    for no, spec in enumerate(template.steps):
        messages = [*_check_condition(spec, schemas), *_check_reachable(graph, spec)]
        problems += [
            Problem(f"step {spec.name!r}: {message}", path=f"steps[{no}]") for message in messages
        ]
    return problems


def _result_schema(spec: StepSpec, results: Mapping[str, Any]) -> Any:
    if spec.result_schema is not None:
        return spec.result_schema
    return _DECISION if spec.type is StepType.DECISION else results.get(spec.name, True)


def _check_condition(spec: StepSpec, schemas: Mapping[str, Any]) -> Iterator[str]:
    if spec.when is None:
        return
    expression = compile_expression(spec.when)
    for message in check_condition(expression, schemas):
        yield f"when: {message}"
    if not expression.paths:
        try:
            runs = expression.is_true({})
        except InvalidExpression:  # reported above
            return
        if not runs:
            yield "it never runs: its condition is always false"


def _check_reachable(graph: Graph, spec: StepSpec) -> Iterator[str]:
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
    }
