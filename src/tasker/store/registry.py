"""Rows of templates and digests of submissions, in the form used by all stores."""

import json
from collections.abc import Sequence
from hashlib import sha256
from typing import Any, NamedTuple

import orjson

from tasker import codec
from tasker.arrival import (
    ENGINE_QUEUE,
    StepQueue,
    handler_queue_of_step,
    initial_pending_parent_count,
    initial_queue_of_step,
    outgoing_edges,
    steps_that_may_be_skipped,
)
from tasker.errors import IdempotencyConflict, NotFound, TaskRegistrationError
from tasker.graph import Graph
from tasker.model import (
    TASK_NODE,
    JsonText,
    StatusCode,
    TaskEndEvent,
    Template,
    TemplateId,
    TemplateName,
)
from tasker.template.document import hash_template_document, template_to_document
from tasker.template.http import UrlHost, list_literal_hosts

_APART = -1  #: scope of the steps that undo others
TEMPLATE_LIMIT = 16 << 20  #: bytes of a stored template


_STATES = {
    TaskEndEvent.COMPLETED: StatusCode.COMPLETE,
    TaskEndEvent.FAILED: StatusCode.ERROR,
    TaskEndEvent.CANCELLED: StatusCode.CANCELLED,
    TaskEndEvent.RESOLVED: StatusCode.RESOLVED_MANUALLY,
}


class TemplateStepRow(NamedTuple):
    """One step of a template, in the form in which stores keep it."""

    no: int
    name: str
    handler: str  #: of the queue in which it begins
    requirement: str
    gated: bool  #: whether the queue is that of steps under limits
    own_handler: str | None  #: of the queue of its handler, if it begins in another
    own_requirement: str | None
    own_gated: bool | None
    pending_parents: int
    children: tuple[int, ...]
    on_error: tuple[int, ...] | None
    scope: int
    queue_timeout: float | None  #: seconds
    compensated_by: int | None  #: the node that undoes it


class TemplateRow(NamedTuple):
    """A template, in the form in which stores keep it."""

    name: TemplateName
    digest: str
    document: JsonText
    sinks: int
    retention: float | None  #: seconds
    queues: Sequence[StepQueue]
    steps: orjson.Fragment  #: a list of `TemplateStepRow`
    http_hosts: Sequence[tuple[str, UrlHost]]  #: hosts that its steps name, each with its step
    has_schedules: bool
    compensation_node: int | None  #: of the step that plans how others are undone
    compensates_on: list[int]  #: states in which tasks end that are compensated
    compensation_hold: float  #: seconds
    end_events: int | None  #: bits by the states whose tasks publish an event at their end

    @classmethod
    def of_template(cls, template: Template) -> "TemplateRow":
        """Build the rows of a valid template."""
        document = template_to_document(template)
        graph = Graph(template)
        undone_by = {
            undone: no for no, undone in graph.layout.undone_node_by_compensating_node.items()
        }
        rows = [
            _template_step_row(template, graph, no, undone_by.get(no))
            for no in range(1, len(graph.parents))
        ]
        compensating, compensation = graph.layout.compensating, template.compensation
        queues = {handler_queue_of_step(template, graph, no) for no in range(1, len(graph.parents))}
        if steps_that_may_be_skipped(graph):
            queues.add(ENGINE_QUEUE)
        return cls(
            template.key,
            hash_template_document(document),
            codec.dumps(document, what=f"template {template.key}", limit=TEMPLATE_LIMIT),
            sum(TASK_NODE in row.children and not row.scope for row in rows),
            template.retention.total_seconds() if template.retention else None,
            sorted(queues),
            orjson.Fragment(codec.dump_rows([row._asdict() for row in rows])),
            list_literal_hosts(template.steps),
            bool(template.schedules),
            compensating and compensating.planner,
            [int(StatusCode[ending.upper()]) for ending in compensation.on] if compensating else [],
            compensation.hold.total_seconds(),
            sum(1 << _STATES[event] for event in template.events) or None,
        )


def _template_step_row(
    template: Template, graph: Graph, no: int, compensated_by: int | None
) -> TemplateStepRow:
    spec = graph.specs[no - 1]
    first, own = (
        initial_queue_of_step(template, graph, no),
        handler_queue_of_step(template, graph, no),
    )
    edges = outgoing_edges(graph, no)
    begins_elsewhere = own != first
    return TemplateStepRow(
        no=no,
        name=graph.layout.step_name_pattern(no),
        handler=first.handler,
        requirement=first.requirement,
        gated=first.gated,
        own_handler=own.handler if begins_elsewhere else None,
        own_requirement=own.requirement if begins_elsewhere else None,
        own_gated=own.gated if begins_elsewhere else None,
        pending_parents=initial_pending_parent_count(graph, no),
        children=edges.children,
        on_error=edges.on_error or None,
        scope=_APART if no in graph.layout.compensating_nodes else graph.layout.spawner_around(no),
        queue_timeout=spec.queue_timeout.total_seconds() if spec.queue_timeout else None,
        compensated_by=compensated_by,
    )


def registration_conflict_error(
    name: TemplateName, registered_by: str, *, waiting: bool = False
) -> TaskRegistrationError:
    """Return the error for different content under a version that exists or is pending review."""
    waits = ", pending review" if waiting else ""
    return TaskRegistrationError(
        f"Handler for task '{name.name}' already exists in namespace '{name.namespace}' with"
        f" version {name.version} and different content (registered by {registered_by}{waits}):"
        " give the changed template a new version, or replace this one during development"
        " (--replace on the command line, Worker(..., replace=True) in Python)"
    )


def unknown_template_error(name: TemplateName) -> NotFound:
    return NotFound(f"template {name} not found")


def submission_digest(template_id: TemplateId, context: JsonText) -> str:
    """Return a digest that two submissions with the same idempotency key must share.

    Neither the order of keys in the context nor the spelling of numbers (`1` or `1.0`) matters.
    """
    text = json.dumps(_normalize_numbers(codec.loads(context)), sort_keys=True)
    return sha256(f"{template_id}\n{text}".encode()).hexdigest()


def _normalize_numbers(value: Any) -> Any:
    """Return a JSON value in which whole numbers are integers."""
    if isinstance(value, dict):
        return {key: _normalize_numbers(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_normalize_numbers(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def idempotency_conflict_error(key: str, task_id: str) -> IdempotencyConflict:
    return IdempotencyConflict(
        f"the idempotency key {key!r} was already used with a different template or context, by"
        f" task {task_id}: use another key, or submit the same template and context"
    )
