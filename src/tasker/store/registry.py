"""Rows of templates and digests of submissions, in the form that all stores use."""

import json
from collections.abc import Sequence
from hashlib import sha256
from typing import Any, NamedTuple

from tasker import codec
from tasker.errors import IdempotencyConflict, NotFound, TaskRegistrationError
from tasker.graph import Graph
from tasker.model import JsonText, Template, TemplateId, TemplateName
from tasker.template.document import digest, to_document
from tasker.template.http import Host, literal_hosts

TEMPLATE_LIMIT = 16 << 20  #: bytes of a stored template


class GraphRow(NamedTuple):
    """One step of a template as stores keep it."""

    no: int
    name: str
    handler: str
    requirement: str
    gated: bool  #: whether it is under limits
    pending_parents: int
    children: tuple[int, ...]
    scope: int
    queue_timeout: float | None  #: seconds


class TemplateRow(NamedTuple):
    """A template as stores keep it."""

    name: TemplateName
    digest: str
    document: JsonText
    sinks: int
    retention: float | None  #: seconds
    steps: JsonText  #: a list of `GraphRow`
    http_hosts: Sequence[tuple[str, Host]]  #: hosts that its steps name, each with its step

    @classmethod
    def of_template(cls, template: Template) -> "TemplateRow":
        """Make the rows of a valid template."""
        document = to_document(template)
        graph = Graph(template)
        return cls(
            template.key,
            digest(document),
            codec.dumps(document, what=f"template {template.key}", limit=TEMPLATE_LIMIT),
            len(graph.sinks),
            template.retention.total_seconds() if template.retention else None,
            codec.orjson_text(
                [
                    GraphRow(
                        no,
                        graph.layout.label(no),
                        spec.handler,
                        str(spec.requirement),
                        bool(template.limits_of(spec)),
                        graph.pending_parents(no),
                        graph.children[no],
                        graph.layout.scope(no),
                        spec.queue_timeout.total_seconds() if spec.queue_timeout else None,
                    )._asdict()
                    for no, spec in enumerate(graph.specs, start=1)
                ]
            ),
            literal_hosts(template.steps),
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

    The order of keys in the context does not matter, nor whether a number is written `1` or
    `1.0`.
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


def key_conflict(key: str, task_id: str) -> IdempotencyConflict:
    return IdempotencyConflict(
        f"the idempotency key {key!r} was already used with a different template or context, by"
        f" task {task_id}: use another key, or submit the same template and context"
    )
