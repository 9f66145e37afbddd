"""Responses of the legacy routes, whose clients call templates handlers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from typing_extensions import TypedDict

from tasker import versions
from tasker.api.compat.requests import parent_correlation_id, source_system
from tasker.api.views import convert_to_view, documented
from tasker.api.views.tasks import TaskView, task_view
from tasker.api.views.templates import GraphView, graph_view
from tasker.client.templates import LoadedTemplate
from tasker.model import Step, StepSpec, StoredTemplate, Task
from tasker.teams.model import NamespaceInfo


@dataclass(frozen=True, kw_only=True)
class LegacyTaskFields(TaskView):
    """A task's fields, plus those that only earlier clients read."""

    task_id: str
    """The same as `id`."""
    initiator: str
    """The same as `created_by`."""
    source_system: str
    """The source system's name, or `unknown` if the task has none."""
    parent_correlation_id: str | None
    completed_at: datetime | None
    """The same as `ended_at`."""


@dataclass(frozen=True, kw_only=True)
class LegacyTask(LegacyTaskFields):
    """A task: its fields, repeated under `task`."""

    task: LegacyTaskFields


@documented
class LegacyTaskList(TypedDict):
    """Tasks, newest first."""

    tasks: list[LegacyTaskFields]
    next_cursor: str | None
    """The `cursor` of the next page; null on the last one."""


@documented
class DelegatedTask(TypedDict):
    """The response to a request that named a `workflow_name`."""

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
    task: LegacyTaskFields


@documented
class LegacyTemplateEntry(TypedDict):
    """One template version in a list."""

    id: str
    """The template's name."""
    name: str
    namespace: str
    version: str
    full_name: str
    description: str
    step_count: int
    step_names: list[str]
    versions: list[str]
    """All approved versions of the template, in ascending order."""
    latest_version: str
    handler_count: int
    """Number of versions."""


@documented
class LegacyNamespace(TypedDict):
    """A namespace, its owner, and its templates."""

    name: str
    description: str
    owner_team: str
    contact_email: str
    requires_approval: bool
    handler_count: int
    handlers: list[LegacyTemplateEntry]


class LegacyNamespaceList(TypedDict):
    """All namespaces and their templates."""

    namespaces: list[LegacyNamespace]
    total_namespaces: int
    generated_at: datetime


class LegacyTemplatesOfNamespace(TypedDict):
    """The templates of one namespace."""

    namespace: str
    description: str
    owner_team: str
    contact_email: str
    requires_approval: bool
    handlers: list[LegacyTemplateEntry]
    total_handlers: int


@documented
class LegacyStepSpec(TypedDict):
    """One step of a template, in the words of earlier clients."""

    name: str
    description: str
    dependent_system: str | None
    depends_on_step: str | None
    """The step's only dependency; null if it has none or several."""
    depends_on_steps: list[str]
    handler_class: str
    configuration: Any
    default_retryable: bool
    default_retry_limit: int
    skippable: bool
    custom_events: list[str]


class LegacyTemplateFields(LegacyTemplateEntry):
    """One template version in full."""

    class_name: str
    available: bool
    step_templates: list[LegacyStepSpec]
    dependency_graph: GraphView


class LegacyTemplateDetail(LegacyTemplateFields):
    """One template version in full: its fields, repeated under `handler`."""

    handler: LegacyTemplateFields
    generated_at: datetime


def legacy_task_fields(task: Task, steps: Sequence[Step] = ()) -> LegacyTaskFields:
    """Return a task's fields in the form of the legacy routes."""
    return convert_to_view(
        task_view(task, steps),
        LegacyTaskFields,
        task_id=task.id,
        initiator=task.created_by or "unknown",
        source_system=source_system(task),
        parent_correlation_id=parent_correlation_id(task),
        completed_at=task.ended_at,
    )


def legacy_task(fields: LegacyTaskFields) -> LegacyTask:
    """Return a task with its fields in both places where earlier clients look for them."""
    return convert_to_view(fields, LegacyTask, task=fields)


def delegated_task_view(task: LegacyTaskFields) -> DelegatedTask:
    """Return the response to a team that delegated to another team's workflow."""
    return {
        "task_id": task.id,
        "status": "created",
        "correlation_id": task.correlation_id,
        "id": task.id,
        "namespace": task.namespace,
        "name": task.name,
        "version": task.version,
        "full_name": task.full_name,
        "workflow_name": task.name,
        "workflow_version": task.version,
        "task_status": task.status,
        "created_at": task.created_at,
        "task": task,
    }


def legacy_namespace(info: NamespaceInfo, templates: Sequence[StoredTemplate]) -> LegacyNamespace:
    """Return a namespace with its owner and its templates, as the legacy routes list them."""
    policy = info.policy
    entries = legacy_template_entries(templates)
    return {
        "name": info.name,
        "description": policy.description if policy else "",
        "owner_team": policy.owner_team if policy else "",
        "contact_email": policy.contact_email if policy else "",
        "requires_approval": policy.requires_approval if policy else False,
        "handler_count": len(entries),
        "handlers": entries,
    }


def legacy_template_entries(templates: Sequence[StoredTemplate]) -> list[LegacyTemplateEntry]:
    """Return templates of one namespace, by name and version."""
    known: dict[str, list[str]] = {}
    for stored in templates:
        known.setdefault(stored.template.name, []).append(stored.template.version)
    ordered = {name: sorted(numbers, key=versions.sort_key) for name, numbers in known.items()}
    chosen = sorted(
        templates, key=lambda one: (one.template.name, versions.sort_key(one.template.version))
    )
    return [_legacy_template_entry(stored, ordered) for stored in chosen]


def _legacy_template_entry(
    stored: StoredTemplate, known: Mapping[str, list[str]]
) -> LegacyTemplateEntry:
    template, numbers = stored.template, known[stored.template.name]
    return {
        "id": template.name,
        "name": template.name,
        "namespace": template.namespace,
        "version": template.version,
        "full_name": template.full_name,
        "description": template.description,
        "step_count": len(template.steps),
        "step_names": [spec.name for spec in template.steps],
        "versions": numbers,
        "latest_version": versions.highest_matching_version(numbers) or template.version,
        "handler_count": len(numbers),
    }


def legacy_template_detail(
    loaded: LoadedTemplate, siblings: Sequence[StoredTemplate], now: datetime
) -> LegacyTemplateDetail:
    """Return one template version in full, in the form of the legacy routes."""
    stored = loaded.stored
    numbers = sorted({one.template.version for one in siblings}, key=versions.sort_key)
    entry = _legacy_template_entry(
        stored, {stored.template.name: numbers or [stored.template.version]}
    )
    facts: LegacyTemplateFields = {
        **entry,
        "class_name": stored.template.full_name,
        "available": stored.status.value == "approved",
        "step_templates": [_legacy_step_spec(spec) for spec in stored.template.steps],
        "dependency_graph": graph_view(loaded),
    }
    return {**facts, "handler": facts, "generated_at": now}


def _legacy_step_spec(spec: StepSpec) -> LegacyStepSpec:
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
