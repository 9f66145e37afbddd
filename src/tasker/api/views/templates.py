"""Templates and their reviews in responses."""

from datetime import datetime
from typing import Any, NotRequired

from typing_extensions import TypedDict

from tasker.api.views import documented
from tasker.client.templates import LoadedTemplate
from tasker.model import (
    StepSpec,
    StoredTemplate,
    TemplateVersion,
)
from tasker.template.document import template_to_document


@documented
class TemplateSummary(TypedDict):
    """A template version without its content, which `document` adds on request."""

    id: int
    namespace: str
    name: str
    version: str
    full_name: str
    """`namespace.name@version`."""
    description: str
    status: str
    """`approved` (accepts tasks), `pending_review`, `rejected` or `retired`."""
    step_count: int
    step_names: list[str]
    registered_by: str
    registered_at: datetime
    document: NotRequired[Any]
    """The whole template, in a form that can be registered; lists contain it only with
    `documents=true`."""


@documented
class TemplateList(TypedDict):
    """Templates by namespace, name and time of registration."""

    templates: list[TemplateSummary]


@documented
class RetryPolicyView(TypedDict):
    """The conditions under which a failed step gets another attempt."""

    retryable: bool
    max_attempts: int
    backoff: str
    initial_delay_seconds: float
    max_delay_seconds: float
    jitter: float


@documented
class StepSpecView(TypedDict):
    """One step of a template."""

    no: int
    name: str
    description: str
    handler: str
    method: str | None
    config: Any
    dependencies: list[str]
    retry: RetryPolicyView
    timeout_seconds: float | None
    result_schema: Any
    dependent_system: str | None


class GraphNode(TypedDict):
    id: str
    name: str
    type: str
    handler: str
    level: int


GraphEdge = TypedDict("GraphEdge", {"from": str, "to": str, "type": str})


@documented
class GraphView(TypedDict):
    """The graph of a template."""

    nodes: list[GraphNode]
    edges: list[GraphEdge]
    levels: list[list[str]]
    """Steps by distance from the roots; steps of one level can run in parallel."""
    execution_order: list[str]
    roots: list[str]
    leaves: list[str]


@documented
class TemplateView(TemplateSummary):
    """One template version."""

    metadata: Any
    input_schema: Any
    deadline_seconds: float | None
    durability: str
    """`full`, or `relaxed`: settled steps may run again after a crash of the database server."""
    retention_seconds: float | None
    """How long a task is kept after its end; null means that the workers' settings apply."""
    steps: list[StepSpecView]
    graph: GraphView
    created: bool
    """Whether this request registered the version; false if it was already registered."""


@documented
class RegisteredTemplate(TemplateSummary):
    """A template version of a request that registers several."""

    created: bool
    """Whether this request registered the version; false if it was already registered."""


@documented
class TemplatesRegistered(TypedDict):
    """Template versions in the order of the request."""

    templates: list[RegisteredTemplate]
    created: int
    """Number of versions that this request registered."""


@documented
class TemplateVersionList(TypedDict):
    """The versions of one template."""

    namespace: str
    name: str
    latest_version: str | None
    """The highest approved release, which tasks use if they specify no version."""
    versions: list[TemplateVersion]


@documented
class VersionWithReviewList(TypedDict):
    """Template versions of every status, with their reviews."""

    versions: list[TemplateVersion]


def template_summary(stored: StoredTemplate, *, document: bool = False) -> TemplateSummary:
    """Return the summary of a template version, or all of it if `document` is given."""
    template = stored.template
    head: TemplateSummary = {
        "id": stored.id,
        "namespace": template.namespace,
        "name": template.name,
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
        head["document"] = template_to_document(template)
    return head


def template_view(loaded: LoadedTemplate, *, created: bool = False) -> TemplateView:
    """Return a template version in full."""
    template = loaded.stored.template
    return {
        **template_summary(loaded.stored, document=True),
        "metadata": template.metadata,
        "input_schema": template.input_schema,
        "deadline_seconds": template.deadline.total_seconds() if template.deadline else None,
        "durability": template.durability.value,
        "retention_seconds": template.retention.total_seconds() if template.retention else None,
        "steps": [_step_spec_view(no, spec) for no, spec in enumerate(template.steps, start=1)],
        "graph": graph_view(loaded),
        "created": created,
    }


def _step_spec_view(no: int, spec: StepSpec) -> StepSpecView:
    return {
        "no": no,
        "name": spec.name,
        "description": spec.description,
        "handler": spec.handler,
        "method": spec.method,
        "config": spec.config,
        "dependencies": list(spec.dependencies),
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


def graph_view(loaded: LoadedTemplate) -> GraphView:
    """Return the nodes, edges and levels of a template."""
    graph, steps = loaded.graph, loaded.stored.template.steps
    levels: list[list[str]] = [[] for _ in range(max(graph.levels) + 1)]
    for no in graph.forward_nodes:
        levels[graph.levels[no]].append(graph.names[no - 1])
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
        "execution_order": [graph.names[no - 1] for no in graph.topological_order],
        "roots": [graph.names[no - 1] for no in graph.roots],
        "leaves": [graph.names[no - 1] for no in graph.sinks],
    }
