"""Settings of the pieces that run in a process."""

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from tasker.codec import DEFAULT_LIMIT
from tasker.errors import InvalidSettings


class SchemaMode(StrEnum):
    """What a schema that does not fit leads to."""

    ENFORCE = "enforce"  #: an error
    WARN = "warn"  #: a warning in the log
    OFF = "off"


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerSettings:
    """How one worker behaves."""

    slots: int = 100
    """Attempts run at once, >= 1. Each sync handler that runs takes a thread."""

    lease: timedelta = timedelta(seconds=30)
    """How long what the worker holds stays its own without a renewal, >= 1 s. It is
    renewed every third of it; others take over when it has expired."""

    grace: timedelta = timedelta(seconds=20)
    """Time that running attempts get to finish at shutdown; then they are handed back."""

    poll: timedelta = timedelta(seconds=1)
    """Longest wait before an idle worker looks for work without having been woken."""

    attempt_timeout: timedelta | None = None
    """Most time of an attempt whose step names no timeout; None: for ever."""

    environment: str | None = None
    """Which of the templates' `environments` applies; None: none."""

    results: SchemaMode = SchemaMode.WARN
    """What a result that does not fit its step's `result_schema` leads to."""

    result_limit: int = DEFAULT_LIMIT
    """Most bytes of a result."""

    memory: int = 16 << 20
    """Most bytes of inputs and results kept to save reading them again."""

    processes: int = 0
    """Processes for handlers marked `process=True`; 0: one for each core, when needed."""

    blocked_after: timedelta = timedelta(seconds=1)
    """How long a handler may block the event loop before it is named in the log, >= 10 ms."""

    def __post_init__(self) -> None:
        for ok, rule in (
            (self.slots >= 1, f"slots must be at least 1, not {self.slots}"),
            (self.lease >= timedelta(seconds=1), f"lease must be at least 1 s, not {self.lease}"),
            (self.grace >= timedelta(0), f"grace must not be negative, but is {self.grace}"),
            (self.poll > timedelta(0), f"poll must be above 0, not {self.poll}"),
            (self.result_limit >= 1, f"result_limit must be at least 1, not {self.result_limit}"),
            (self.memory >= 0, f"memory must not be negative, but is {self.memory}"),
            (self.processes >= 0, f"processes must not be negative, but is {self.processes}"),
            (
                self.attempt_timeout is None or self.attempt_timeout > timedelta(0),
                f"attempt_timeout must be above 0, not {self.attempt_timeout}",
            ),
            (
                self.blocked_after >= timedelta(milliseconds=10),
                f"blocked_after must be at least 10 ms, not {self.blocked_after}",
            ),
        ):
            if not ok:
                raise InvalidSettings(rule)
