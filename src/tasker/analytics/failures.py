"""Groups failed steps by cause. Pure.

Two failures have one cause if they happened in the same step of a workflow, with the same type and
code of the error, and with messages that differ only in numbers, ids and quoted parts.
"""

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from tasker.model import JsonObject, TaskId

BINS = 16  #: parts of the window in a cause's trend
_LONGEST = 300  #: characters of a message
_VARYING = re.compile(
    r"'[^']*'|\"[^\"]*\"|\b[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\b"
    r"|\b\w*\d[\w.-]*\b"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class FailedStep:
    """A step that failed for good."""

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
class FailureCause:
    """Failed steps with one cause."""

    fingerprint: str
    """Identifies the cause, also in later answers."""

    namespace: str
    name: str
    """The workflow's name."""

    step: str
    type: str
    """Name of the exception's class."""

    code: str | None
    """Set by the handler."""

    message: str
    """The newest one, at most 300 characters."""

    tasks: int
    """Tasks that it stopped and that nobody has retried, resolved or cancelled since."""

    attempts: int
    """Attempts that these steps made."""

    first_at: datetime
    last_at: datetime
    trend: Sequence[int]
    """Failures in each of 16 equal parts of the window, oldest first."""

    sample: TaskId
    """The newest of these tasks."""


def group_failures(
    failed: Iterable[FailedStep], since: datetime, now: datetime
) -> list[FailureCause]:
    """Return the causes of failures, the one that stopped the most tasks first.

    Args:
        failed: Failed steps, the newest first.
        since: Start of the window.
        now: End of the window.
    """
    causes: dict[str, list[FailedStep]] = {}
    for step in failed:
        causes.setdefault(fingerprint_of(step), []).append(step)
    grouped = [_cause(key, steps, since, now) for key, steps in causes.items()]
    return sorted(grouped, key=lambda cause: (-cause.tasks, -cause.last_at.timestamp()))


def fingerprint_of(step: FailedStep) -> str:
    """Return what identifies the cause of a failure."""
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


def _cause(
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
    )
