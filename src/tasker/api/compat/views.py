"""Answers in the forms that clients of earlier servers read."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from typing_extensions import TypedDict

from tasker import versions
from tasker.api.views import documented
from tasker.api.views.tasks import TaskAnswer
from tasker.api.views.templates import GraphAnswer, graph_answer
from tasker.client.templates import LoadedTemplate
from tasker.model import StepSpec, StoredTemplate
from tasker.teams.model import NamespaceInfo


@documented
class EarlierTask(TaskAnswer):
    """A task: its fields, and once more as `task`."""

    task_id: str
    """The same as `id`."""
    task: TaskAnswer


@documented
class Delegated(TypedDict):
    """What became of a request that named a `workflow_name`."""

    task_id: str
    status: str
    """`created`."""
    correlation_id: str
    id: str
    namespace: str
    name: str
    version: str
    full_name: str
    workflow_name: str
    workflow_version: str
    task_status: str
    """The task's own status."""
    created_at: datetime
    task: TaskAnswer


@documented
class HandlerEntry(TypedDict):
    """One template version, as discovery lists it."""

    id: str
    """The name, by which it is asked for."""
    name: str
    namespace: str
    version: str
    full_name: str
    description: str
    step_count: int
    step_names: list[str]
    versions: list[str]
    """All approved versions of that name, the highest last."""
    latest_version: str
    handler_count: int
    """How many versions there are."""


@documented
class HandlerNamespace(TypedDict):
    """A namespace, who owns it, and what it offers."""

    name: str
    description: str
    owner_team: str
    contact_email: str
    requires_approval: bool
    handler_count: int
    handlers: list[HandlerEntry]


class HandlerIndex(TypedDict):
    """All namespaces and their templates."""

    namespaces: list[HandlerNamespace]
    total_namespaces: int
    generated_at: datetime


class HandlersOfNamespace(TypedDict):
    """The templates of one namespace."""

    namespace: str
    description: str
    owner_team: str
    contact_email: str
    requires_approval: bool
    handlers: list[HandlerEntry]
    total_handlers: int


@documented
class StepTemplate(TypedDict):
    """One step of a template, in the words of earlier servers."""

    name: str
    description: str
    dependent_system: str | None
    depends_on_step: str | None
    """Its dependency where it has just one."""
    depends_on_steps: list[str]
    handler_class: str
    configuration: Any
    default_retryable: bool
    default_retry_limit: int
    skippable: bool
    custom_events: list[str]


class HandlerFacts(HandlerEntry):
    """One template version in full."""

    class_name: str
    available: bool
    step_templates: list[StepTemplate]
    dependency_graph: GraphAnswer


class HandlerDetail(HandlerFacts):
    """One template version in full: its fields, and once more as `handler`."""

    handler: HandlerFacts
    generated_at: datetime


def earlier_task(task: TaskAnswer) -> EarlierTask:
    return {**task, "task_id": task["id"], "task": task}


def delegated(task: TaskAnswer) -> Delegated:
    return {
        "task_id": task["id"],
        "status": "created",
        "correlation_id": task["correlation_id"],
        "id": task["id"],
        "namespace": task["namespace"],
        "name": task["name"],
        "version": task["version"],
        "full_name": task["full_name"],
        "workflow_name": task["name"],
        "workflow_version": task["version"],
        "task_status": task["status"],
        "created_at": task["created_at"],
        "task": task,
    }


def handler_namespace(info: NamespaceInfo, templates: Sequence[StoredTemplate]) -> HandlerNamespace:
    """Write a namespace and its templates."""
    policy = info.policy
    entries = handler_entries(templates)
    return {
        "name": info.name,
        "description": policy.description if policy else "",
        "owner_team": policy.owner_team if policy else "",
        "contact_email": policy.contact_email if policy else "",
        "requires_approval": policy.requires_approval if policy else False,
        "handler_count": len(entries),
        "handlers": entries,
    }


def handler_entries(templates: Sequence[StoredTemplate]) -> list[HandlerEntry]:
    """Write templates of one namespace, by name and version."""
    known: dict[str, list[str]] = {}
    for stored in templates:
        known.setdefault(stored.template.name, []).append(stored.template.version)
    ordered = {name: sorted(found, key=versions.sort_key) for name, found in known.items()}
    chosen = sorted(
        templates, key=lambda one: (one.template.name, versions.sort_key(one.template.version))
    )
    return [_entry(stored, ordered) for stored in chosen]


def _entry(stored: StoredTemplate, known: Mapping[str, list[str]]) -> HandlerEntry:
    template, there = stored.template, known[stored.template.name]
    return {
        "id": template.name,
        "name": template.name,
        "namespace": template.namespace,
        "version": template.version,
        "full_name": template.full_name,
        "description": template.description,
        "step_count": len(template.steps),
        "step_names": [spec.name for spec in template.steps],
        "versions": there,
        "latest_version": versions.latest(there) or template.version,
        "handler_count": len(there),
    }


def handler_detail(
    shape: LoadedTemplate, siblings: Sequence[StoredTemplate], now: datetime
) -> HandlerDetail:
    """Write one template version in full."""
    stored = shape.stored
    there = sorted({one.template.version for one in siblings}, key=versions.sort_key)
    entry = _entry(stored, {stored.template.name: there or [stored.template.version]})
    facts: HandlerFacts = {
        **entry,
        "class_name": stored.template.full_name,
        "available": stored.status.value == "approved",
        "step_templates": [_step_template(spec) for spec in stored.template.steps],
        "dependency_graph": graph_answer(shape),
    }
    return {**facts, "handler": facts, "generated_at": now}


def _step_template(spec: StepSpec) -> StepTemplate:
    one = len(spec.dependencies) == 1
    return {
        "name": spec.name,
        "description": spec.description,
        "dependent_system": spec.dependent_system,
        "depends_on_step": spec.dependencies[0] if one else None,
        "depends_on_steps": list(spec.dependencies),
        "handler_class": spec.handler,
        "configuration": spec.config,
        "default_retryable": spec.retry.retryable,
        "default_retry_limit": spec.retry.max_attempts,
        "skippable": False,
        "custom_events": [],
    }
