"""Lists of namespaces, audit entries and workers."""

from typing_extensions import TypedDict

from tasker.api.views import documented
from tasker.model import WorkerAttempt, WorkerInfo
from tasker.teams.model import ApiKey, NamespaceInfo, TeamAuditEntry


class NamespaceList(TypedDict):
    """Namespaces that have a policy or a template, and `default`."""

    namespaces: list[NamespaceInfo]


@documented
class AuditEntryList(TypedDict):
    """Audit entries, newest first."""

    events: list[TeamAuditEntry]
    next_cursor: int | None
    """The `cursor` of the next page of older entries; null on the last page."""


class ApiKeyList(TypedDict):
    """API keys without their secrets, in the order of their creation."""

    keys: list[ApiKey]


class WorkerAttemptList(TypedDict):
    """Attempts of a worker that ended, newest first."""

    attempts: list[WorkerAttempt]


class WorkerList(TypedDict):
    """Workers whose lease is valid or expired less than a day ago, newest first."""

    workers: list[WorkerInfo]
