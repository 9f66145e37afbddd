"""Namespaces, reviews, pauses, limits and workers in the `Client` protocol and locally."""

from typing import Protocol

from tasker.analytics.model import HandlerBacklog
from tasker.client.templates import DEFAULT_NAMESPACE, TemplateCache, split_template_reference
from tasker.errors import InvalidInput
from tasker.model import (
    MOST_WORKER_ATTEMPTS,
    LimitInfo,
    LimitSetting,
    Pause,
    PauseTarget,
    Rate,
    TemplateName,
    TemplateVersion,
    WorkerAttempt,
    WorkerId,
)
from tasker.store.protocol import AuditNote, Store
from tasker.teams.model import NamespaceInfo, NamespacePolicy, TeamAuditEntry
from tasker.template.step_limits import make_limit_key, make_limit_values


class TeamClient(Protocol):
    """Methods for namespaces, policies, reviews, pauses, limits, queues and workers."""

    async def namespaces(self) -> list[NamespaceInfo]:
        """List namespaces that have a policy or a template, and `default`, by name."""
        ...

    async def policy(self, namespace: str) -> NamespacePolicy | None:
        """Return the policy of a namespace, or None if it has no policy."""
        ...

    async def put_policy(self, policy: NamespacePolicy, *, reason: str = "") -> NamespacePolicy:
        """Replace the policy of a namespace. Raises InvalidInput."""
        ...

    async def pause(
        self, target: str | PauseTarget, *, reason: str = "", if_match: str | None = None
    ) -> Pause:
        """Pause a task, a template, a handler's queue or a namespace.

        No further steps of the target start; running attempts continue. Nothing changes if it is
        already paused.

        Args:
            target: The id of a task, or a `PauseTarget`.
            reason: The reason, recorded in the audit log and shown with the pause.
            if_match: The ETag that a task must have.

        Returns:
            The pause; an existing pause keeps its reason.

        Raises: NotFound, WrongStatus (the task has ended), TaskChanged.
        """
        ...

    async def resume(
        self, target: str | PauseTarget, *, reason: str = "", if_match: str | None = None
    ) -> bool:
        """End a pause; return False if the target was not paused. Raises NotFound, TaskChanged."""
        ...

    async def pauses(self, namespace: str | None = None) -> list[Pause]:
        """List the current pauses of a namespace, newest first; None: of all namespaces."""
        ...

    async def drain_worker(self, worker: int, *, reason: str = "") -> None:
        """Stop a worker from claiming more steps; it finishes the running ones. Raises NotFound."""
        ...

    async def ended_worker_attempts(
        self, worker: int, *, limit: int = MOST_WORKER_ATTEMPTS
    ) -> list[WorkerAttempt]:
        """List a worker's ended attempts among those of the newest 1,000 tasks, newest first.

        Args:
            worker: The worker's id.
            limit: Maximum number of attempts, 1 to 200.

        Raises:
            InvalidInput: The limit is invalid.
        """
        ...

    async def set_queue_weight(
        self, namespace: str, handler: str, weight: float, *, reason: str = ""
    ) -> None:
        """Set the weight of a handler's queue, which determines its share of claims: 0.01 to 100,
        initially 1. Raises NotFound, InvalidInput.
        """
        ...

    async def set_limit(
        self,
        key: str,
        *,
        namespace: str = DEFAULT_NAMESPACE,
        concurrency: int | None = None,
        rate: Rate | str | None = None,
        burst: int | None = None,
        reason: str = "",
    ) -> None:
        """Set the limit of the steps that share a key, or of all keys that match a pattern.

        The setting overrides the bounds declared by templates, except for bounds that are None. The
        limit set for a key takes precedence over those for patterns; of several patterns, the
        longest applies.

        Args:
            key: The key; `*` stands for any text. A key that begins with `shared:` belongs to all
                namespaces.
            namespace: The namespace of all other keys.
            concurrency: Maximum number of steps in progress, up to 1,000,000; with 0, no step
                starts.
            rate: Maximum number of steps that start per unit of time, on average: "100/s".
            burst: Maximum number of steps that start at once after a pause.
            reason: For the audit log.

        Raises:
            InvalidInput: A value is invalid, or no bound is given.
        """
        ...

    async def unset_limit(
        self, key: str, *, namespace: str = DEFAULT_NAMESPACE, reason: str = ""
    ) -> None:
        """Remove the limit set for a key or a pattern; the limits in templates apply again.

        Raises NotFound.
        """
        ...

    async def limits(
        self, namespace: str = DEFAULT_NAMESPACE, *, after: str = "", limit: int = 100
    ) -> list[LimitInfo]:
        """List the limits of a namespace's keys and the steps under them, by key, starting after
        `after`.

        Keys that were never used are not listed. The namespace "" has the keys that all namespaces
        share.
        """
        ...

    async def limit_settings(self, namespace: str = DEFAULT_NAMESPACE) -> list[LimitSetting]:
        """List the limits set for keys and patterns of a namespace, by pattern."""
        ...

    async def queues(self, namespace: str | None = None) -> list[HandlerBacklog]:
        """List the queues of handlers with their numbers of steps, by namespace and handler."""
        ...

    async def template_versions(
        self, namespace: str | None = None, name: str | None = None
    ) -> list[TemplateVersion]:
        """List template versions of every status by (namespace, name, registration)."""
        ...

    async def review(self, template: str, *, approve: bool, reason: str = "") -> TemplateVersion:
        """Approve or reject a version that is pending review.

        Args:
            template: `namespace.name@version`, with an exact version.
            approve: Whether to approve the version; False rejects it and requires a reason.
            reason: For the audit log.

        Raises: NotFound, WrongStatus (it is not pending), NotAnApprover, InvalidInput.
        """
        ...

    async def retire(self, template: str, *, reason: str = "") -> TemplateVersion:
        """Retire an approved version: it accepts no new tasks, and existing tasks continue. Raises
        NotFound, WrongStatus.
        """
        ...

    async def restore(self, template: str, *, reason: str = "") -> TemplateVersion:
        """Restore a retired version, which accepts tasks again. Raises NotFound, WrongStatus."""
        ...

    async def namespace_audit(
        self, namespace: str | None = None, *, after: int | None = None, limit: int = 100
    ) -> list[TeamAuditEntry]:
        """List changes of policies, template versions and API keys that are older than the entry
        `after`, newest first.
        """
        ...


class LocalTeams(TeamClient):
    """Implements `TeamClient` with a store."""

    store: Store
    _templates: TemplateCache

    def _audit_note(self, reason: str) -> AuditNote:
        raise NotImplementedError

    async def namespaces(self) -> list[NamespaceInfo]:
        return await self.store.list_namespaces()

    async def policy(self, namespace: str) -> NamespacePolicy | None:
        return await self.store.get_policy(namespace)

    async def put_policy(self, policy: NamespacePolicy, *, reason: str = "") -> NamespacePolicy:
        return await self.store.put_policy(policy, self._audit_note(reason))

    async def pause(
        self, target: str | PauseTarget, *, reason: str = "", if_match: str | None = None
    ) -> Pause:
        return await self.store.pause(
            to_pause_target(target), self._audit_note(reason), if_match=if_match
        )

    async def resume(
        self, target: str | PauseTarget, *, reason: str = "", if_match: str | None = None
    ) -> bool:
        return await self.store.resume(
            to_pause_target(target), self._audit_note(reason), if_match=if_match
        )

    async def pauses(self, namespace: str | None = None) -> list[Pause]:
        return await self.store.list_pauses(namespace=namespace)

    async def drain_worker(self, worker: int, *, reason: str = "") -> None:
        await self.store.drain_worker(WorkerId(worker), self._audit_note(reason))

    async def ended_worker_attempts(
        self, worker: int, *, limit: int = MOST_WORKER_ATTEMPTS
    ) -> list[WorkerAttempt]:
        if not 1 <= limit <= MOST_WORKER_ATTEMPTS:
            raise InvalidInput(f"limit must be from 1 to {MOST_WORKER_ATTEMPTS}, not {limit}")
        return await self.store.worker_attempts(WorkerId(worker), limit=limit)

    async def set_queue_weight(
        self, namespace: str, handler: str, weight: float, *, reason: str = ""
    ) -> None:
        act = self._audit_note(reason)
        await self.store.set_queue_weight(namespace, handler, weight, act)

    async def set_limit(
        self,
        key: str,
        *,
        namespace: str = DEFAULT_NAMESPACE,
        concurrency: int | None = None,
        rate: Rate | str | None = None,
        burst: int | None = None,
        reason: str = "",
    ) -> None:
        values = make_limit_values(concurrency, rate, burst)
        await self.store.set_limit(make_limit_key(key, namespace), values, self._audit_note(reason))

    async def unset_limit(
        self, key: str, *, namespace: str = DEFAULT_NAMESPACE, reason: str = ""
    ) -> None:
        await self.store.unset_limit(make_limit_key(key, namespace), self._audit_note(reason))

    async def limits(
        self, namespace: str = DEFAULT_NAMESPACE, *, after: str = "", limit: int = 100
    ) -> list[LimitInfo]:
        return await self.store.list_limits(namespace, after=after, limit=limit)

    async def limit_settings(self, namespace: str = DEFAULT_NAMESPACE) -> list[LimitSetting]:
        return await self.store.list_limit_settings(namespace)

    async def queues(self, namespace: str | None = None) -> list[HandlerBacklog]:
        return [
            one
            for one in await self.store.count_backlog_by_queue()
            if namespace in (None, one.namespace)
        ]

    async def template_versions(
        self, namespace: str | None = None, name: str | None = None
    ) -> list[TemplateVersion]:
        return await self.store.list_template_versions(namespace=namespace, name=name)

    async def review(self, template: str, *, approve: bool, reason: str = "") -> TemplateVersion:
        name, act = parse_exact_version_name(template), self._audit_note(reason)
        decided = await self.store.review_template(name, approve=approve, act=act)
        self._templates.clear_names()
        return decided

    async def retire(self, template: str, *, reason: str = "") -> TemplateVersion:
        retired = await self.store.retire_template(
            parse_exact_version_name(template), self._audit_note(reason)
        )
        self._templates.clear_names()
        return retired

    async def restore(self, template: str, *, reason: str = "") -> TemplateVersion:
        restored = await self.store.restore_template(
            parse_exact_version_name(template), self._audit_note(reason)
        )
        self._templates.clear_names()
        return restored

    async def namespace_audit(
        self, namespace: str | None = None, *, after: int | None = None, limit: int = 100
    ) -> list[TeamAuditEntry]:
        return await self.store.list_team_audit(namespace=namespace, after=after, limit=limit)


def to_pause_target(target: str | PauseTarget) -> PauseTarget:
    """Return the target of a pause; a string is the id of a task."""
    return target if isinstance(target, PauseTarget) else PauseTarget.of_task(target)


def parse_exact_version_name(template: str) -> TemplateName:
    """Parse `namespace.name@version`; the namespace defaults to `default`.

    Raises:
        InvalidInput: The version is missing.
    """
    namespace, name, version = split_template_reference(template, None, None)
    if not version:
        raise InvalidInput(
            f"{template!r} needs a version: write {template}@1.0.0", path="$.version"
        )
    return TemplateName(namespace, name, version)
