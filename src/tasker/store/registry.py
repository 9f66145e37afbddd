"""What every store keeps of a template and of a submitted task."""

from hashlib import sha256
from typing import NamedTuple

from tasker import codec
from tasker.errors import IdempotencyConflict, NotFound, TaskRegistrationError
from tasker.graph import Graph
from tasker.model import JsonText, NewTask, Template, TemplateName
from tasker.template import digest, from_document, to_document

TEMPLATE_LIMIT = 16 << 20  #: bytes of a stored template


class GraphRow(NamedTuple):
    """One step of a template as stores keep it."""

    no: int
    name: str
    handler: str
    requirement: str
    pending_parents: int
    children: tuple[int, ...]


class TemplateRow(NamedTuple):
    """A template as stores keep it."""

    name: TemplateName
    digest: str
    document: JsonText
    sinks: int
    steps: list[GraphRow]

    @classmethod
    def of(cls, template: Template) -> "TemplateRow":
        """Make the rows of a template.

        Raises:
            InvalidTemplate: It is wrong, as only one that was made in Python can be.
        """
        document = to_document(template)
        from_document(document)
        graph = Graph(template)
        return cls(
            template.key,
            digest(template),
            codec.dumps(document, what=f"template {template.key}", limit=TEMPLATE_LIMIT),
            len(graph.sinks),
            [
                GraphRow(
                    no,
                    spec.name,
                    spec.handler,
                    str(spec.requirement),
                    len(graph.parents[no]),
                    graph.children[no],
                )
                for no, spec in enumerate(template.steps, start=1)
            ],
        )


def conflict(
    name: TemplateName, registered_by: str, *, waiting: bool = False
) -> TaskRegistrationError:
    """The error for other content under a version that exists, or waits for approval."""
    waits = ", and waits for approval" if waiting else ""
    return TaskRegistrationError(
        f"Handler for task '{name.name}' already exists in namespace '{name.namespace}' with"
        f" version {name.version} and other content (registered by {registered_by}{waits}):"
        " give the changed template a new version"
    )


def unknown(name: TemplateName) -> NotFound:
    return NotFound(f"there is no template {name}")


def submission_digest(task: NewTask) -> str:
    """What must be equal for two submissions under one idempotency key to be the same."""
    return sha256(f"{task.template_id}\n{task.context}".encode()).hexdigest()


def key_conflict(key: str) -> IdempotencyConflict:
    return IdempotencyConflict(
        f"the idempotency key {key!r} was used with another template or context"
    )
