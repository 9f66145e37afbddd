"""Figures, the state of the store and causes of failures in the `Client` protocol and locally."""

import re
from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Protocol

from tasker import versions
from tasker.analytics.failures import (
    FailureCause,
    FailureMute,
    FailureTriage,
    FailureTriageChange,
    attach_triage_to_causes,
    group_failures,
)
from tasker.analytics.figures import (
    Chart,
    Metric,
    SeriesGrouping,
    make_chart,
    resolve_point_interval,
)
from tasker.analytics.model import AnalysisWindow, Bottlenecks, Performance, SystemStatus
from tasker.client.fields import check_storable_strings
from tasker.client.templates import DEFAULT_NAMESPACE
from tasker.errors import InvalidInput
from tasker.model import NAMESPACE, NAMESPACE_RULE
from tasker.store.protocol import AuditNote, Store

if TYPE_CHECKING:
    from tasker.client.local import LocalClient

LONGEST_ASSIGNEE = 200  #: characters
LONGEST_NOTE = 4096  #: characters
_FINGERPRINT = re.compile("[0-9a-f]{16}")


class FailureClient(Protocol):
    """Methods for the causes of failures, available as `client.failures`."""

    async def list(self, window: AnalysisWindow | None = None) -> list[FailureCause]:
        """List causes of failures by the number of tasks that they stopped; muted
        ones come last.

        At most the newest 1,000 failed and the newest 1,000 open tasks are read.

        Args:
            window: The tasks to read; None: those of the last 24 hours.
        """
        ...

    async def assign(
        self,
        fingerprint: str,
        assignee: str,
        *,
        namespace: str = DEFAULT_NAMESPACE,
        reason: str = "",
    ) -> FailureTriage:
        """Assign a cause to a person or team; "" for none.

        Args:
            fingerprint: `FailureCause.fingerprint`.
            assignee: The person or team.
            namespace: The namespace of the cause.
            reason: For the audit log.

        Raises:
            InvalidInput: The fingerprint does not have 16 hexadecimal digits.
        """
        ...

    async def set_note(
        self, fingerprint: str, note: str, *, namespace: str = DEFAULT_NAMESPACE, reason: str = ""
    ) -> FailureTriage:
        """Replace the note about a cause: see `assign`."""
        ...

    async def mute(
        self,
        fingerprint: str,
        *,
        until: datetime | None = None,
        below: str | None = None,
        namespace: str = DEFAULT_NAMESPACE,
        reason: str = "",
    ) -> FailureTriage:
        """Mute a cause, so it no longer needs attention. Its tasks do not change.

        Args:
            fingerprint: `FailureCause.fingerprint`.
            until: Muted until this time.
            below: Muted while the failures only occur in lower versions of the workflow than this
                one.
            namespace: The namespace of the cause.
            reason: For the audit log.

        Raises:
            InvalidInput: Neither `until` nor `below` is given, or a value is invalid.
        """
        ...

    async def unmute(
        self, fingerprint: str, *, namespace: str = DEFAULT_NAMESPACE, reason: str = ""
    ) -> FailureTriage:
        """Unmute a cause: see `assign`."""
        ...


class AnalyticsClient(Protocol):
    """Methods for figures about tasks, for the state of the store, and for causes of failures."""

    @property
    def failures(self) -> FailureClient:
        """The methods for causes of failures: `client.failures.list()`."""
        ...

    async def performance(self, window: AnalysisWindow) -> Performance:
        """Return durations, rates and outcomes of the tasks of a window. Raises StoreUnavailable if
        the time limit is exceeded.
        """
        ...

    async def bottlenecks(
        self, window: AnalysisWindow, *, limit: int = 10, min_executions: int = 1
    ) -> Bottlenecks:
        """Return slow and failing steps, errors, and steps that block others.

        Args:
            window: The tasks to analyse.
            limit: Maximum number of entries per list.
            min_executions: Steps and templates with fewer executions are omitted.

        Raises:
            StoreUnavailable: The time limit was exceeded.
        """
        ...

    async def series(
        self,
        metric: Metric | str = Metric.ENDED,
        window: AnalysisWindow | None = None,
        *,
        by: SeriesGrouping | str = SeriesGrouping.NONE,
        step_seconds: int | None = None,
    ) -> Chart:
        """Return figures per minute, or per `step_seconds`.

        Workers append these figures every few seconds, and they are kept for 14 days.

        Args:
            metric: What is counted, or "duration" for the average duration of ended tasks in
                seconds.
            window: The time and the tasks; None: the last 24 hours.
            by: The meaning of the series; "status" applies to the metric "ended".
            step_seconds: Seconds between two points, a multiple of 60; None: about 100 points.

        Raises:
            InvalidInput: The window begins more than 14 days ago, or a value is invalid.
        """
        ...

    async def system(self) -> SystemStatus:
        """Return the state of the store, its workers and its steps."""
        ...


class LocalFailures(FailureClient):
    """Implements `FailureClient` with a store."""

    def __init__(self, client: "LocalClient") -> None:
        self._client = client

    async def list(self, window: AnalysisWindow | None = None) -> list[FailureCause]:
        return await list_failure_causes(self._client.store, window or AnalysisWindow())

    async def assign(
        self,
        fingerprint: str,
        assignee: str,
        *,
        namespace: str = DEFAULT_NAMESPACE,
        reason: str = "",
    ) -> FailureTriage:
        change = FailureTriageChange(assignee=assignee)
        return await self._change_triage(namespace, fingerprint, change, reason)

    async def set_note(
        self, fingerprint: str, note: str, *, namespace: str = DEFAULT_NAMESPACE, reason: str = ""
    ) -> FailureTriage:
        return await self._change_triage(
            namespace, fingerprint, FailureTriageChange(note=note), reason
        )

    async def mute(
        self,
        fingerprint: str,
        *,
        until: datetime | None = None,
        below: str | None = None,
        namespace: str = DEFAULT_NAMESPACE,
        reason: str = "",
    ) -> FailureTriage:
        mute = make_mute(until, below)
        return await self._change_triage(
            namespace, fingerprint, FailureTriageChange(mute=mute), reason
        )

    async def unmute(
        self, fingerprint: str, *, namespace: str = DEFAULT_NAMESPACE, reason: str = ""
    ) -> FailureTriage:
        change = FailureTriageChange(mute=FailureMute())
        return await self._change_triage(namespace, fingerprint, change, reason)

    async def _change_triage(
        self, namespace: str, fingerprint: str, change: FailureTriageChange, reason: str
    ) -> FailureTriage:
        check_fingerprint(fingerprint)
        _check_triage_change(namespace, change)
        note = AuditNote(actor=self._client.actor, reason=reason, via=self._client.via)
        return await self._client.store.change_failure_triage(namespace, fingerprint, change, note)


class LocalAnalytics(AnalyticsClient):
    """Implements the methods of `AnalyticsClient` that return figures, with a store."""

    store: Store

    async def performance(self, window: AnalysisWindow) -> Performance:
        return await self.store.performance(window)

    async def bottlenecks(
        self, window: AnalysisWindow, *, limit: int = 10, min_executions: int = 1
    ) -> Bottlenecks:
        return await self.store.bottlenecks(window, limit=limit, min_executions=min_executions)

    async def series(
        self,
        metric: Metric | str = Metric.ENDED,
        window: AnalysisWindow | None = None,
        *,
        by: SeriesGrouping | str = SeriesGrouping.NONE,
        step_seconds: int | None = None,
    ) -> Chart:
        counted, grouping = parse_metric(metric), parse_grouping(by)
        return await read_series(
            self.store, counted, window or AnalysisWindow(), by=grouping, step_seconds=step_seconds
        )

    async def system(self) -> SystemStatus:
        return await read_system_status(self.store, sees_all=True)


async def list_failure_causes(store: Store, window: AnalysisWindow) -> list[FailureCause]:
    """Return the causes of failures in the tasks of a window, with their assignees."""
    failed = await store.list_failed_steps(window)
    now = datetime.now(UTC)
    causes = group_failures(failed, now - timedelta(hours=window.hours), now)
    triages = await store.list_failure_triage([cause.fingerprint for cause in causes])
    return attach_triage_to_causes(causes, triages, now)


async def read_series(
    store: Store,
    metric: Metric,
    window: AnalysisWindow,
    *,
    by: SeriesGrouping,
    step_seconds: int | None,
) -> Chart:
    """Return the series of a window: see `AnalyticsClient.series`."""
    seconds = resolve_point_interval(window.hours, step_seconds)
    rows = await store.list_minute_figures(window, step_seconds=seconds)
    now = datetime.now(UTC)
    return make_chart(rows, metric, by, now=now, hours=window.hours, step_seconds=seconds)


async def read_system_status(store: Store, *, sees_all: bool) -> SystemStatus:
    """Return the state of a store.

    Args:
        store: The store.
        sees_all: Whether the caller sees all namespaces.
    """
    schema = await store.schema_status()
    alive = [one for one in await store.list_workers() if one.alive]
    return SystemStatus(
        store=store.url.split(":", 1)[0],
        schema_version=schema.current,
        oldest_snapshot=await store.find_oldest_database_snapshot() if sees_all else None,
        workers=len(alive),
        slots=sum(one.slots for one in alive),
        running=sum(one.running for one in alive) if sees_all else None,
        utilization=await store.count_backlog() if sees_all else None,
    )


def check_fingerprint(fingerprint: str) -> None:
    """Raise InvalidInput unless the text identifies a cause of failures."""
    if not _FINGERPRINT.fullmatch(fingerprint):
        raise InvalidInput(
            f"a fingerprint must be 16 hexadecimal digits, not {fingerprint!r}",
            path="$.fingerprint",
        )


def _check_triage_change(namespace: str, change: FailureTriageChange) -> None:
    """Raise InvalidInput unless a server would accept the change as well."""
    if not NAMESPACE.fullmatch(namespace):
        raise InvalidInput(f"not a valid namespace name: {NAMESPACE_RULE}", path="$.namespace")
    check_storable_strings(assignee=change.assignee, note=change.note)
    for field, text, most in (
        ("assignee", change.assignee, LONGEST_ASSIGNEE),
        ("note", change.note, LONGEST_NOTE),
    ):
        if text is not None and len(text) > most:
            raise InvalidInput(f"must have at most {most:,} characters", path=f"$.{field}")


def make_mute(until: datetime | None, below: str | None) -> FailureMute:
    """Return a mute. Raises InvalidInput if it has no end, or if its time or version is invalid."""
    if until is None and below is None:
        raise InvalidInput("give the time at which the mute ends, or the version in which it ends")
    if until is not None and until.tzinfo is None:
        raise InvalidInput("must be a datetime with a time zone", path="$.muted_until")
    if below is not None:
        versions.parse(below)
    return FailureMute(until=until, below=below)


def parse_metric(metric: Metric | str) -> Metric:
    """Return a metric by its name. Raises InvalidInput."""
    return Metric(_require_allowed(metric, "metric", [one.value for one in Metric]))


def parse_grouping(by: SeriesGrouping | str) -> SeriesGrouping:
    """Return a grouping by its name. Raises InvalidInput."""
    return SeriesGrouping(_require_allowed(by, "by", [one.value for one in SeriesGrouping]))


def _require_allowed(value: str, field: str, allowed: Collection[str]) -> str:
    if value not in allowed:
        names = ", ".join(allowed)
        raise InvalidInput(f"must be one of {names}, not {str(value)!r}", path=f"$.{field}")
    return value
