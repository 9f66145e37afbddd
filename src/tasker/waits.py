"""What a waiting step waits for: signals to its task, broadcasts and other arrivals."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

import orjson

from tasker.approvals import NewApproval
from tasker.codec import UNSTORABLE, dumps, loads
from tasker.durable import DurableCallKind
from tasker.errors import InvalidInput, Rejected, StepParked, TooLarge
from tasker.limits import ARRIVAL_BYTES, ARRIVAL_NAME, BROADCASTS, UNTAKEN_SIGNALS
from tasker.model import JsonText, StepWait, TaskId, WaitKind


class AwaitedArrival(NamedTuple):
    """One of the arrivals that end a wait."""

    kind: WaitKind
    name: str
    key: str = ""
    """Key of the broadcast; "" for all other arrivals."""

    namespace: str = ""
    """Namespace of the broadcast or of the task that waits for an approval; "" for signals to the
    task and external completions."""

    after: int = 0
    """Number of the last broadcast with this name and key that the step has received."""


class NewWait(NamedTuple):
    """A wait of an attempt; its durable call stores the first arrival."""

    call: str
    """Name of the durable call."""

    kind: DurableCallKind
    awaited: Sequence[AwaitedArrival]
    timeout: float | None = None
    """Seconds until the wait times out."""

    until: datetime | None = None
    """The time at which the wait times out, as an alternative to `timeout`."""

    approval: NewApproval | None = None
    """The approval that the wait opens, if the step waits for one."""


class NewSignal(NamedTuple):
    """A signal to send to a task."""

    task_id: TaskId
    name: str
    payload: JsonText
    id: str | None = None
    """A signal is not stored if the task already has one with this name and id."""


class NewBroadcast(NamedTuple):
    """A broadcast to send."""

    namespace: str
    name: str
    key: str
    payload: JsonText
    id: str | None = None
    """A broadcast is not stored if its namespace has one with this name, key and id."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SignalSent:
    """A signal that was stored."""

    task_id: TaskId
    name: str
    id: str | None
    created: bool
    """Whether the signal is new; False if a signal with this id had already been sent."""

    step: str | None
    """The waiting step that received the signal; None if the signal is kept until a step waits for
    it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BroadcastSent:
    """A broadcast that was stored."""

    namespace: str
    name: str
    key: str
    id: str | None
    created: bool
    """Whether the broadcast is new; False if a broadcast with this id had already been sent."""

    steps: int
    """Number of waiting steps that received the broadcast. For a week, steps of tasks that were
    created before the broadcast also receive it when they begin to wait."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """What ended a wait: a signal, a broadcast, or its timeout."""

    name: str | None
    """Name of the signal or broadcast; None if the wait timed out."""

    key: str | None = None
    """Key of a broadcast; None for a signal to the task."""

    payload: Any = None
    sent_by: str | None = None
    sent_at: datetime | None = None
    number: int = 0
    """Number of the broadcast among all with its name and key; 0 for a signal to the task."""

    @property
    def timed_out(self) -> bool:
        """Whether nothing arrived in time."""
        return self.name is None


class ParkedForArrival(StepParked):
    """The step waits for a signal, a broadcast or another arrival."""

    def __init__(self, wait: NewWait) -> None:
        names = " or ".join(awaited.name for awaited in wait.awaited)
        super().__init__(f"waits for {names}")
        self.wait = wait


def make_step_waits(parked: StepParked | None) -> tuple[StepWait, ...]:
    """Return what a parked step waits for, as clients show it; empty for a time or a task."""
    if not isinstance(parked, ParkedForArrival):
        return ()
    approval = parked.wait.approval
    return tuple(
        StepWait(
            kind=awaited.kind,
            name=awaited.name,
            key=awaited.key or None,
            approval=approval and approval.id,
            assignees=tuple(approval.assignees) if approval else (),
        )
        for awaited in parked.wait.awaited
    )


class TooManySignals(Rejected):
    """The task has the maximum number of signals that no step has received."""

    code = "too_many_signals"

    def __init__(self, task_id: str) -> None:
        super().__init__(
            f"task {task_id} has {UNTAKEN_SIGNALS:,} signals that no step has received, which is"
            " the maximum for a task"
        )


class TooManyBroadcasts(Rejected):
    """The maximum number of broadcasts with this name and key was sent within a week."""

    code = "too_many_broadcasts"

    def __init__(self, name: str, key: str) -> None:
        super().__init__(
            f"{BROADCASTS:,} broadcasts {name!r} with the key {key!r} were sent in the last week,"
            " which is the maximum for a name and key"
        )


TIMED_OUT = JsonText('{"timed_out":true}')
"""The recorded result of a wait that timed out."""


def encode_arrival(
    name: str,
    payload: JsonText,
    *,
    sent_by: str,
    sent_at: datetime,
    key: str | None = None,
    number: int = 0,
) -> JsonText:
    """Return the value of the durable call of a wait that an arrival ended."""
    fields: Mapping[str, Any] = {
        "name": name,
        "key": key,
        "payload": orjson.Fragment(payload),
        "sent_by": sent_by,
        "sent_at": sent_at,
        "number": number,
    }
    return JsonText(orjson.dumps(fields).decode())


def decode_arrival(text: JsonText) -> Arrival:
    """Read the value of a wait's durable call."""
    fields = loads(text)
    if "timed_out" in fields:
        return Arrival(name=None)
    return Arrival(**{**fields, "sent_at": datetime.fromisoformat(fields["sent_at"])})


def encode_payload(payload: Any) -> JsonText:
    """Return a payload as JSON text. Raises InvalidInput, TooLarge."""
    return dumps(payload, what="the payload", limit=ARRIVAL_BYTES)


def check_arrival_names(**names: str | None) -> None:
    """Check names, keys and ids of signals and broadcasts. Raises InvalidInput, TooLarge."""
    for field, text in names.items():
        if text is None:
            continue
        if not text or UNSTORABLE.search(text):
            raise InvalidInput(
                f"{field} must be a non-empty string without NUL characters or unpaired "
                f"surrogates, not {text[:50]!r}",
                path=f"$.{field}",
            )
        if len(text) > ARRIVAL_NAME:
            raise TooLarge(f"the {field}", len(text.encode()), ARRIVAL_NAME)
