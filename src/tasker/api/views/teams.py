"""Namespaces, their policies, and what was done to them, in answers."""

from collections.abc import Collection
from datetime import datetime
from typing import Any

from typing_extensions import TypedDict

from tasker.api.views import documented
from tasker.model import WorkerInfo
from tasker.teams.model import NamespaceInfo, NamespacePolicy, TeamEvent


@documented
class PolicyAnswer(TypedDict):
    """Who owns a namespace, and whether its template versions need an approval."""

    namespace: str
    owner_team: str
    contact_email: str
    description: str
    requires_approval: bool
    approvers: list[str]
    updated_by: str
    updated_at: datetime | None


@documented
class NamespaceAnswer(TypedDict):
    """A namespace."""

    name: str
    policy: PolicyAnswer | None
    """Null where nobody declared one."""
    templates: int
    """Names that have an approved version."""
    approved: int
    """Template versions of that status, as the next ones."""
    pending_review: int
    rejected: int
    retired: int


class NamespaceList(TypedDict):
    """Namespaces that have a policy or a template, and `default`."""

    namespaces: list[NamespaceAnswer]


@documented
class TeamEventAnswer(TypedDict):
    """One entry of the audit of namespaces, template versions and API keys."""

    id: int
    at: datetime
    namespace: str | None
    subject: str
    actor: str
    action: str
    reason: str
    before: Any
    after: Any


@documented
class TeamAudit(TypedDict):
    """What was done, newest first."""

    events: list[TeamEventAnswer]
    next_cursor: int | None
    """To be sent as `cursor` for what is older; null at the end."""


@documented
class WorkerAnswer(TypedDict):
    """A worker process."""

    id: int
    name: str
    started_at: datetime
    lease_until: datetime
    alive: bool
    running: int
    slots: int
    handlers: list[str]


class WorkerList(TypedDict):
    """Workers whose lease holds, or expired less than a day ago; newest first."""

    workers: list[WorkerAnswer]


def policy_answer(policy: NamespacePolicy) -> PolicyAnswer:
    return {
        "namespace": policy.namespace,
        "owner_team": policy.owner_team,
        "contact_email": policy.contact_email,
        "description": policy.description,
        "requires_approval": policy.requires_approval,
        "approvers": list(policy.approvers),
        "updated_by": policy.updated_by,
        "updated_at": policy.updated_at,
    }


def namespace_answer(info: NamespaceInfo) -> NamespaceAnswer:
    return {
        "name": info.name,
        "policy": None if info.policy is None else policy_answer(info.policy),
        "templates": info.templates,
        "approved": info.approved,
        "pending_review": info.pending_review,
        "rejected": info.rejected,
        "retired": info.retired,
    }


def team_event_answer(event: TeamEvent) -> TeamEventAnswer:
    return {
        "id": event.id,
        "at": event.at,
        "namespace": event.namespace,
        "subject": event.subject,
        "actor": event.actor,
        "action": event.action,
        "reason": event.reason,
        "before": event.before,
        "after": event.after,
    }


def worker_answer(worker: WorkerInfo, *, handlers: Collection[str] | None = None) -> WorkerAnswer:
    """Write a worker; of its handlers only some, where not all are to be told."""
    return {
        "id": worker.id,
        "name": worker.name,
        "started_at": worker.started_at,
        "lease_until": worker.lease_until,
        "alive": worker.alive,
        "running": worker.running,
        "slots": worker.slots,
        "handlers": [name for name in worker.handlers if handlers is None or name in handlers],
    }
