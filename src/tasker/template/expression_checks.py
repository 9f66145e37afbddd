"""Checks of a template's expressions against its schemas and types; for `tasker check`."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from tasker import codec
from tasker.approvals import DEFAULT_FORM
from tasker.errors import DocumentProblem, InvalidInput
from tasker.graph import Graph
from tasker.layout import instance_input_names
from tasker.model import (
    ApprovalSpec,
    Batch,
    CollectMode,
    EventSpec,
    Limit,
    Map,
    Repeat,
    StepSpec,
    StepType,
    Template,
    WaitSpec,
)
from tasker.template.condition_checks import find_steps_that_never_run
from tasker.template.expression_types import (
    KINDS,
    Schemas,
    element_schema,
    find_condition_type_errors,
    find_expression_type_errors,
    find_invalid_placeholder_paths,
    property_kinds,
)
from tasker.template.expressions import compile_expression, compile_text
from tasker.template.http import compile_texts_of_call
from tasker.template.schedules import render_tick_context
from tasker.template.schema import find_violations
from tasker.template.sensitive import find_sensitive_path_problems
from tasker.template.waits import compile_texts_with_placeholders

_DECISION = {
    "type": "object",
    "properties": {
        "chosen": {"type": "array", "items": {"type": "string"}},
        "reason": {"type": "string"},
        "data": {"type": "object"},
    },
}
_ERROR = {
    "type": "object",
    "properties": {
        "type": {"type": "string"},
        "message": {"type": "string"},
        "code": {"type": ["string", "null"]},
        "retryable": {"type": "boolean"},
        "details": True,
    },
}
_COUNTS = {
    "type": "object",
    "properties": {key: {"type": "integer"} for key in ("count", "succeeded", "failed")},
}
_CURSOR = {
    "type": "object",
    "properties": {key: {"type": "integer"} for key in ("start", "end")},
}
_STRING = frozenset({"string"})
_NUMBER = frozenset({"number"})
_LIST = frozenset({"array"})
_KEY = frozenset({"string", "number"})
_KEY_PART = frozenset({"string", "number", "boolean"})
_TICK = datetime(2030, 1, 31, 12, tzinfo=UTC)  #: for which the contexts of schedules are checked


def find_expression_problems(
    template: Template, results: Mapping[str, Any]
) -> list[DocumentProblem]:
    """List the type errors of a template's expressions, and the steps that never run.

    Args:
        template: The template.
        results: JSON Schemas of results by step, for steps without a `result_schema`.
    """
    graph = Graph(template)
    known = {spec.name: _step_result_schema(spec, results) for spec in graph.specs}
    known |= _instance_result_schemas(template.steps, known)
    schemas = {
        "input": template.input_schema or True,
        "results": {"type": "object", "properties": known},
    }
    return [
        *_find_template_level_problems(template, schemas),
        *find_sensitive_path_problems(template, schemas),
        *_find_step_problems(
            find_steps_that_never_run(graph), template.steps, "steps", schemas, known
        ),
    ]


def _step_result_schema(spec: StepSpec, results: Mapping[str, Any]) -> Any:
    if spec.result_schema is not None:
        return spec.result_schema
    if spec.type is StepType.DECISION:
        return _DECISION
    if spec.approval is not None:
        return _decision_schema(spec.approval)
    return results.get(spec.name, True)


def _decision_schema(approval: ApprovalSpec) -> Any:
    text = {"type": "string"}
    form = approval.form or DEFAULT_FORM
    return {
        "type": "object",
        "properties": {"form": form, "decided_by": text, "decided_at": text},
    }


def _instance_result_schemas(steps: Sequence[StepSpec], known: Mapping[str, Any]) -> dict[str, Any]:
    """Return the schemas of the results of steps with instances."""
    schemas: dict[str, Any] = {}
    for spec in steps:
        schemas |= _instance_result_schemas(spec.steps, known)
        if spec.spawning is None or spec.reduce is not None:
            continue
        instance = _one_instance_result_schema(spec, {**known, **schemas})
        if isinstance(spec.spawning, Repeat):
            schemas[spec.name] = instance
        elif spec.collect is CollectMode.NONE:
            schemas[spec.name] = _COUNTS
        else:
            schemas[spec.name] = {"anyOf": [{"type": "array", "items": instance}, _COUNTS]}
    return schemas


def _one_instance_result_schema(spec: StepSpec, known: Mapping[str, Any]) -> Any:
    """Return the schema of the result of one instance."""
    if not spec.steps:
        return known.get(f"{spec.name}[]", True)
    awaited = {name for step in spec.steps for name in step.dependencies}
    last = [step.name for step in spec.steps if step.name not in awaited]
    return known.get(last[0], True) if len(last) == 1 else True


# ------------------------------------------------------------------ the template


def _find_template_level_problems(
    template: Template, schemas: Schemas
) -> Iterator[DocumentProblem]:
    for message in _find_limit_key_problems(template.limits, schemas):
        yield DocumentProblem(message, path="limits")
    for message in find_invalid_placeholder_paths(compile_text(template.title), schemas):
        yield DocumentProblem(f"title: {message}", path="title")
    for name, text in template.attributes.items():
        for message in find_expression_type_errors(compile_expression(text), schemas):
            yield DocumentProblem(f"attribute {name!r}: {message}", path=f"attributes.{name}")
    for no, schedule in enumerate(template.schedules):
        with suppress(InvalidInput):  # invalid placeholders are reported when it is read
            context = codec.dumps(render_tick_context(schedule, _TICK, None))
            what = f"the context of schedule {schedule.name!r}"
            for message in find_violations(template.input_schema or {}, context, what):
                yield DocumentProblem(f"{what}: {message}", path=f"schedules[{no}].context")


def _find_limit_key_problems(limits: Sequence[Limit], schemas: Schemas) -> Iterator[str]:
    for limit in limits:
        for path in compile_text(limit.key).paths:
            expression = compile_expression(str(path))
            for message in find_expression_type_errors(
                expression, schemas, _KEY_PART, "a string, a number or a boolean"
            ):
                yield f"limit {limit.key!r}: {message}"


# --------------------------------------------------------------------- its steps


def _find_step_problems(
    unreachable: Mapping[str, str],
    steps: Sequence[StepSpec],
    prefix: str,
    schemas: Schemas,
    results: Mapping[str, Any],
) -> Iterator[DocumentProblem]:
    for no, spec in enumerate(steps):
        path = f"{prefix}[{no}]"
        within = {**schemas, **_instance_input_schemas(spec, schemas)}
        for message in (
            *_find_condition_problems(spec, schemas),
            *_find_never_runs_problem(spec, unreachable),
            *_find_spawning_problems(spec, schemas, within),
            *_find_problems_of_step_without_handler(spec, within),
            *_find_limit_key_problems(spec.limits or (), schemas),
            *_find_event_problems(spec, schemas, results),
        ):
            yield DocumentProblem(f"step {spec.name!r}: {message}", path=path)
        yield from _find_step_problems(unreachable, spec.steps, f"{path}.steps", within, results)


def _instance_input_schemas(spec: StepSpec, schemas: Schemas) -> Mapping[str, Any]:
    """Return the schemas of the inputs of a step's instances, by name."""
    names = instance_input_names(spec.spawning)
    match spec.spawning:
        case Map(over=over):
            return {names[0]: element_schema(compile_expression(over), schemas)}
        case Batch():
            return {names[0]: _CURSOR}
        case Repeat():
            return {names[0]: {"type": "integer"}}
    return {}


def _find_never_runs_problem(spec: StepSpec, unreachable: Mapping[str, str]) -> Iterator[str]:
    if reason := unreachable.get(spec.name):
        yield f"it never runs: {reason}"


def _find_condition_problems(spec: StepSpec, schemas: Schemas) -> Iterator[str]:
    if spec.when is None:
        return
    expression = compile_expression(spec.when)
    for message in find_condition_type_errors(expression, schemas):
        yield f"when: {message}"


def _find_spawning_problems(spec: StepSpec, schemas: Schemas, within: Schemas) -> Iterator[str]:
    match spec.spawning:
        case Map(over=text):
            messages = find_expression_type_errors(
                compile_expression(text), schemas, _LIST, "a list"
            )
            yield from (f"map: over: {message}" for message in messages)
        case Batch(total=text):
            messages = find_expression_type_errors(
                compile_expression(text), schemas, _NUMBER, "a number"
            )
            yield from (f"batch: total: {message}" for message in messages)
        case Repeat(until=text):
            messages = find_condition_type_errors(compile_expression(text), within)
            yield from (f"repeat: until: {message}" for message in messages)


def _find_problems_of_step_without_handler(spec: StepSpec, schemas: Schemas) -> Iterator[str]:
    """Yield the problems of a wait, an approval, a task or an HTTP call."""
    if spec.wait is not None:
        yield from _find_wait_problems(spec.wait, schemas)
    if spec.approval is not None:
        yield from _find_approval_problems(spec.approval, schemas)
    for text in () if spec.task is None else compile_texts_with_placeholders(spec.task.context):
        yield from (f"task: {message}" for message in find_invalid_placeholder_paths(text, schemas))
    for text in () if spec.http is None else compile_texts_of_call(spec.http):
        yield from (f"http: {message}" for message in find_invalid_placeholder_paths(text, schemas))


def _find_wait_problems(wait: WaitSpec, schemas: Schemas) -> Iterator[str]:
    if wait.until is not None:
        messages = find_expression_type_errors(
            compile_expression(wait.until), schemas, _STRING, "an instant"
        )
        yield from (f"wait: until: {message}" for message in messages)
    for signal in wait.signals:
        if signal.key is not None:
            key = compile_expression(signal.key)
            messages = find_expression_type_errors(key, schemas, _KEY, "a string or a number")
            yield from (f"wait: key: {message}" for message in messages)


def _find_approval_problems(approval: ApprovalSpec, schemas: Schemas) -> Iterator[str]:
    for assignee in (*approval.assignees, *approval.escalate_to):
        for message in find_invalid_placeholder_paths(compile_text(assignee), schemas):
            yield f"approval: assignee {assignee!r}: {message}"
    if approval.reject_when is not None:
        form = {**schemas, "form": approval.form or DEFAULT_FORM}
        for message in find_condition_type_errors(compile_expression(approval.reject_when), form):
            yield f"approval: reject_when: {message}"


def _find_event_problems(
    spec: StepSpec, schemas: Schemas, results: Mapping[str, Any]
) -> Iterator[str]:
    whole = f"{spec.name}[]" if spec.spawning else spec.name
    names = {"input": schemas["input"], "result": results.get(whole, True), "error": _ERROR}
    for event in spec.events:
        for message in _find_event_payload_problems(event, names):
            yield f"event {event.name!r}: {message}"


def _find_event_payload_problems(event: EventSpec, names: Schemas) -> Iterator[str]:
    if isinstance(event.payload, str):
        if event.payload:
            yield from find_expression_type_errors(compile_expression(event.payload), names)
        return
    declared: Mapping[str, Any] = event.schema or {}
    for key in declared.get("required", ()):
        if key not in event.payload:
            yield f"the payload lacks {key!r}, which its schema requires"
    for key, text in event.payload.items():
        expected = property_kinds(declared, key)
        what = "what its schema allows" if expected != KINDS else ""
        for message in find_expression_type_errors(compile_expression(text), names, expected, what):
            yield f"payload {key!r}: {message}"
