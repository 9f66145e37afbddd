"""A running attempt and its outcome."""

import asyncio
import time
from collections.abc import Sequence
from enum import StrEnum
from typing import Any, NamedTuple

from tasker.engine.engine_steps import BuiltInCallPlan
from tasker.engine.task_cache import CachedTask
from tasker.handlers import CallPlan, LiveAttempt
from tasker.model import AttemptKey, Claim, Outcome, StepSpec
from tasker.template.published_events import PublishedEvent


class StopReason(StrEnum):
    """Reason for stopping an attempt, as shown to its handler."""

    TIMEOUT = "it took too long"
    SILENT = "it sent no heartbeat for too long"
    REVOKED = "it no longer holds its step"
    SHUTDOWN = "the worker is shutting down"


class RunningAttempt:
    """A running attempt as the executor and the settler see it, with its handler's `attempt`."""

    __slots__ = (
        "attempt",
        "began",
        "claim",
        "key",
        "node",
        "over",
        "plan",
        "spec",
        "task",
        "timer",
        "watch",
    )

    def __init__(
        self, claim: Claim, node: int, task: CachedTask, spec: StepSpec, attempt: LiveAttempt
    ) -> None:
        self.claim = claim
        self.node = node  #: the template's node that its step is
        self.key: AttemptKey = claim.attempt_key
        self.task = task
        self.spec = spec
        self.attempt = attempt
        self.began = time.monotonic()
        self.plan: CallPlan | BuiltInCallPlan | None = None  #: None: its handler cannot be called
        self.timer: asyncio.TimerHandle | None = None  #: timer of the step's `timeout_seconds`
        self.watch: asyncio.TimerHandle | None = None  #: timer of the step's `heartbeat_timeout`
        self.over = False  #: the outcome is decided; the attempt only occupies its slot

    @property
    def step_name(self) -> str:
        """The name of the step. The name of an instance includes its number."""
        instance = self.task.instance
        return self.spec.name if instance is None else instance.name

    @property
    def can_be_completed_externally(self) -> bool:
        """Whether another system may complete the step although the attempt failed."""
        return self.spec.external is not None and not self.attempt.completed

    def log_fields(self) -> dict[str, Any]:
        """Return the fields that identify the attempt in events and log records."""
        return {
            "task_id": self.claim.task_id,
            "template": self.task.compiled.key,
            "step": self.step_name,
            "attempt": self.claim.attempt,
            "correlation_id": self.task.input.correlation_id,
        }


class FinishedAttempt(NamedTuple):
    """An ended attempt and its outcome."""

    running: RunningAttempt
    outcome: Outcome
    ran_for: float  #: seconds
    events: Sequence[PublishedEvent] = ()
