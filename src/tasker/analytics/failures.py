"""Groups failed steps by cause.

Two failures have the same cause if they occurred in the same step of a workflow, their errors have
the same type and code, and their messages differ only in numbers, ids and quoted parts.
"""

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from tasker.model import JsonObject, TaskId
from tasker.versions import sort_key

BINS = 16  #: parts of the window in a cause's trend
_LONGEST = 300  #: characters of a message
_VARYING = re.compile(
    r"'[^']*'|\"[^\"]*\"|\b[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\b"
    r"|\b\w*\d[\w.-]*\b"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class FailedStep:
    """A permanently failed step."""

    task_id: TaskId
    namespace: str
    name: str
    version: str
    no: int
    step: str
    attempts: int
    error: JsonObject
    settled_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class FailureTriage:
    """The assignee of a cause of failures, the note about it, and its mute."""

    fingerprint: str
    namespace: str
    assignee: str = ""
    """The person or team to whom the cause is assigned; "" if it is unassigned."""

    note: str = ""
    muted_until: datetime | None = None
    """Muted until this time."""

    muted_below: str | None = None
    """The cause is muted as long as it occurs only in versions of the workflow below this one."""

    updated_by: str = ""
    updated_at: datetime | None = None

    def mutes(self, versions: Iterable[str], now: datetime) -> bool:
        """Return whether failures in these versions are muted."""
        if self.muted_until is not None and now < self.muted_until:
            return True
        below = self.muted_below
        return below is not None and all(sort_key(one) < sort_key(below) for one in versions)


@dataclass(frozen=True, slots=True, kw_only=True)
class FailureMute:
    """When a muted cause needs attention again; without either value, the cause is not muted."""

    until: datetime | None = None
    below: str | None = None
    """The cause is muted as long as it occurs only in versions of the workflow below this one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FailureTriageChange:
    """A change of a cause's assignee, note or mute; None keeps the current value."""

    assignee: str | None = None
    note: str | None = None
    mute: FailureMute | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FailureCause:
    """Failed steps with one cause."""

    fingerprint: str
    """Identifier of the cause; it is the same in all responses."""

    namespace: str
    name: str
    """The workflow's name."""

    step: str
    type: str
    """Name of the exception's class."""

    code: str | None
    """The error code that the handler set, if any."""

    message: str
    """The newest error message, truncated to 300 characters."""

    tasks: int
    """Number of tasks that were stopped by this cause and have not been retried, resolved or
    cancelled since then."""

    attempts: int
    """Total number of attempts of the failed steps."""

    first_at: datetime
    last_at: datetime
    trend: Sequence[int]
    """Number of failures in each of 16 equal parts of the window, oldest first."""

    sample: TaskId
    """The newest task that this cause stopped."""

    versions: Sequence[str]
    """Versions of the workflow in which the failures occurred, lowest first."""

    triage: FailureTriage | None = None
    """The assignee, the note and the mute, or null if none of them is set."""

    muted: bool = False
    """Whether the cause is muted."""


def group_failures(
    failed: Iterable[FailedStep], since: datetime, now: datetime
) -> list[FailureCause]:
    """Return the causes of failures, starting with the one that stopped the most tasks.

    Args:
        failed: Failed steps, the newest first.
        since: Start of the window.
        now: End of the window.
    """
    causes: dict[str, list[FailedStep]] = {}
    for step in failed:
        causes.setdefault(failure_fingerprint(step), []).append(step)
    grouped = [_make_cause(key, steps, since, now) for key, steps in causes.items()]
    return sorted(grouped, key=lambda cause: (-cause.tasks, -cause.last_at.timestamp()))


def attach_triage_to_causes(
    causes: Iterable[FailureCause], triages: Iterable[FailureTriage], now: datetime
) -> list[FailureCause]:
    """Return causes with their assignees, notes and mutes; muted ones come last."""
    of = {(triage.namespace, triage.fingerprint): triage for triage in triages}
    known = [
        cause
        if (triage := of.get((cause.namespace, cause.fingerprint))) is None
        else replace(cause, triage=triage, muted=triage.mutes(cause.versions, now))
        for cause in causes
    ]
    return sorted(known, key=lambda cause: cause.muted)


def failure_fingerprint(step: FailedStep) -> str:
    """Return the fingerprint of the cause of a failure."""
    message = _VARYING.sub("…", str(step.error.get("message") or ""))
    parts = (
        step.namespace,
        step.name,
        step.step,
        str(step.error.get("type")),
        str(step.error.get("code")),
        message[:_LONGEST],
    )
    return hashlib.sha256("\0".join(parts).encode("utf-8", "replace")).hexdigest()[:16]


def _make_cause(
    fingerprint: str, steps: Sequence[FailedStep], since: datetime, now: datetime
) -> FailureCause:
    newest = steps[0]
    code = newest.error.get("code")
    part = max((now - since) / BINS, timedelta(microseconds=1))
    trend = [0] * BINS
    for step in steps:
        trend[min(max(int((step.settled_at - since) / part), 0), BINS - 1)] += 1
    return FailureCause(
        fingerprint=fingerprint,
        namespace=newest.namespace,
        name=newest.name,
        step=newest.step,
        type=str(newest.error.get("type") or "unknown"),
        code=None if code is None else str(code),
        message=str(newest.error.get("message") or "")[:_LONGEST],
        tasks=len({step.task_id for step in steps}),
        attempts=sum(step.attempts for step in steps),
        first_at=min(step.settled_at for step in steps),
        last_at=newest.settled_at,
        trend=trend,
        sample=newest.task_id,
        versions=sorted({step.version for step in steps}, key=sort_key),
    )
