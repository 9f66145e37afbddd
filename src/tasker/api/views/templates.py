"""Templates, and what is decided about them, in answers."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NotRequired

from typing_extensions import TypedDict

from tasker.api.views import documented
from tasker.client.templates import LoadedTemplate
from tasker.model import (
    TASK_NODE,
    StepSpec,
    StoredTemplate,
    TemplateVersion,
)
from tasker.teams.model import NamespaceInfo
from tasker.template import to_document
from tasker.template.diff import Difference


@documented
class TemplateHead(TypedDict):
    """What identifies a template version."""

    template_id: int
    name: str
    namespace: str
    version: str
    full_name: str
    description: str
    status: str
    """`approved` (takes tasks), `pending_review`, `rejected` or `retired`."""
    step_count: int
    step_names: list[str]
    registered_by: str
    registered_at: datetime
    document: NotRequired[Any]
    """The whole template as it can be registered again; of lists where `documents` asks."""


@documented
class NamespaceCount(TypedDict):
    """A namespace of a list of templates."""

    name: str
    description: str
    template_count: int


@documented
class TemplateList(TypedDict):
    """Templates by namespace, name and registration."""

    namespaces: list[NamespaceCount]
    templates: list[TemplateHead]
    total_count: int


@documented
class RetryAnswer(TypedDict):
    """When a failed step gets another attempt."""

    retryable: bool
    max_attempts: int
    backoff: str
    initial_delay_seconds: float
    max_delay_seconds: float
    jitter: float


@documented
class SpecAnswer(TypedDict):
    """One step of a template."""

    no: int
    name: str
    description: str
    handler: str
    method: str | None
    configuration: Any
    dependencies: list[str]
    default_retryable: bool
    default_max_attempts: int
    retry: RetryAnswer
    timeout_seconds: float | None
    result_schema: Any
    dependent_system: str | None


class Node(TypedDict):
    id: str
    name: str
    type: str
    handler: str
    level: int


GraphEdge = TypedDict("GraphEdge", {"from": str, "to": str, "type": str})


@documented
class GraphAnswer(TypedDict):
    """The shape of a template."""

    nodes: list[Node]
    edges: list[GraphEdge]
    levels: list[list[str]]
    """Steps by their distance from the start; those of one level may run at once."""
    execution_order: list[str]
    roots: list[str]
    leaves: list[str]


@documented
class TemplateAnswer(TemplateHead):
    """One template version."""

    configuration: None
    """Always null."""
    metadata: Any
    input_schema: Any
    deadline_seconds: float | None
    steps: list[SpecAnswer]
    graph: GraphAnswer
    created: bool
    """Whether this request registered it; false where it was there already."""


@documented
class VersionAnswer(TypedDict):
    """What was decided about one version of a template."""

    template_id: int
    namespace: str
    name: str
    version: str
    full_name: str
    status: str
    registered_by: str
    registered_at: datetime
    decided_by: str | None
    """Who approved, rejected, retired or restored it last; null where nobody had to."""
    decided_at: datetime | None
    reason: str


@documented
class VersionList(TypedDict):
    """The versions of one template."""

    namespace: str
    name: str
    latest_version: str | None
    """The highest approved release, which tasks get that name no version."""
    versions: list[VersionAnswer]


class ChangeAnswer(TypedDict):
    path: str
    change: str
    before: Any
    after: Any


@documented
class DifferenceAnswer(TypedDict):
    """What one version changed against another."""

    namespace: str
    name: str
    from_version: str
    to_version: str
    identical: bool
    steps_added: list[str]
    steps_removed: list[str]
    steps_changed: list[str]
    changes: list[ChangeAnswer]
    """`added`, `removed` or `changed`; steps by name (`$.steps.charge.timeout_seconds`)."""


def template_head(stored: StoredTemplate, *, document: bool = False) -> TemplateHead:
    template = stored.template
    head: TemplateHead = {
        "template_id": stored.id,
        "name": template.name,
        "namespace": template.namespace,
        "version": template.version,
        "full_name": template.full_name,
        "description": template.description,
        "status": stored.status.value,
        "step_count": len(template.steps),
        "step_names": [spec.name for spec in template.steps],
        "registered_by": stored.registered_by,
        "registered_at": stored.registered_at,
    }
    if document:
        head["document"] = to_document(template)
    return head


def template_list(
    found: Sequence[StoredTemplate], namespaces: Sequence[NamespaceInfo], *, documents: bool
) -> TemplateList:
    counts: dict[str, int] = {}
    for stored in found:
        counts[stored.template.namespace] = counts.get(stored.template.namespace, 0) + 1
    about = {info.name: info.policy.description for info in namespaces if info.policy}
    return {
        "namespaces": [
            {"name": name, "description": about.get(name, ""), "template_count": count}
            for name, count in sorted(counts.items())
        ],
        "templates": [template_head(stored, document=documents) for stored in found],
        "total_count": len(found),
    }


def template_answer(shape: LoadedTemplate, *, created: bool = False) -> TemplateAnswer:
    """Write a template version in full."""
    template = shape.stored.template
    return {
        **template_head(shape.stored, document=True),
        "configuration": None,
        "metadata": template.metadata,
        "input_schema": template.input_schema,
        "deadline_seconds": template.deadline.total_seconds() if template.deadline else None,
        "steps": [_spec(no, spec) for no, spec in enumerate(template.steps, start=1)],
        "graph": graph_answer(shape),
        "created": created,
    }


def _spec(no: int, spec: StepSpec) -> SpecAnswer:
    return {
        "no": no,
        "name": spec.name,
        "description": spec.description,
        "handler": spec.handler,
        "method": spec.method,
        "configuration": spec.config,
        "dependencies": list(spec.dependencies),
        "default_retryable": spec.retry.retryable,
        "default_max_attempts": spec.retry.max_attempts,
        "retry": {
            "retryable": spec.retry.retryable,
            "max_attempts": spec.retry.max_attempts,
            "backoff": spec.retry.backoff.value,
            "initial_delay_seconds": spec.retry.initial_delay.total_seconds(),
            "max_delay_seconds": spec.retry.max_delay.total_seconds(),
            "jitter": spec.retry.jitter,
        },
        "timeout_seconds": spec.timeout.total_seconds() if spec.timeout else None,
        "result_schema": spec.result_schema,
        "dependent_system": spec.dependent_system,
    }


def graph_answer(shape: LoadedTemplate) -> GraphAnswer:
    """Write the nodes, edges and levels of a template."""
    graph, steps = shape.graph, shape.stored.template.steps
    levels: list[list[str]] = [[] for _ in range(max(graph.levels) + 1)]
    for no, name in enumerate(graph.names, start=1):
        levels[graph.levels[no]].append(name)
    return {
        "nodes": [
            {
                "id": spec.name,
                "name": spec.name,
                "type": "step",
                "handler": spec.handler,
                "level": graph.levels[no],
            }
            for no, spec in enumerate(steps, start=1)
        ],
        "edges": [
            {"from": parent, "to": spec.name, "type": "dependency"}
            for spec in steps
            for parent in spec.dependencies
        ],
        "levels": levels,
        "execution_order": [graph.names[no - 1] for no in graph.order],
        "roots": [graph.names[no - 1] for no in graph.roots],
        "leaves": [
            name
            for no, name in enumerate(graph.names, start=1)
            if graph.children[no] == (TASK_NODE,)
        ],
    }


@documented
class StatusList(TypedDict):
    """What was decided about template versions of every status."""

    versions: list[VersionAnswer]


def version_answer(version: TemplateVersion) -> VersionAnswer:
    return {
        "template_id": version.id,
        "namespace": version.name.namespace,
        "name": version.name.name,
        "version": version.name.version,
        "full_name": str(version.name),
        "status": version.status.value,
        "registered_by": version.registered_by,
        "registered_at": version.registered_at,
        "decided_by": version.decided_by,
        "decided_at": version.decided_at,
        "reason": version.reason,
    }


def difference_answer(
    before: StoredTemplate, after: StoredTemplate, found: Difference
) -> DifferenceAnswer:
    return {
        "namespace": after.template.namespace,
        "name": after.template.name,
        "from_version": before.template.version,
        "to_version": after.template.version,
        "identical": found.identical,
        "steps_added": list(found.steps_added),
        "steps_removed": list(found.steps_removed),
        "steps_changed": list(found.steps_changed),
        "changes": [
            {
                "path": change.path,
                "change": change.kind.value,
                "before": change.before,
                "after": change.after,
            }
            for change in found.changes
        ],
    }
