"""A task and its steps in columns: the data needed to draw the task, without the data of steps."""

import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Generic, TypeVar

from typing_extensions import TypedDict

from tasker.api.views import documented
from tasker.api.views.tasks import TaskSummaryView, task_summary_view
from tasker.model import Attempt, AttemptOutcome, Step, StepStatus, Task

T = TypeVar("T")

LEAST_GROUP = 9  #: number of steps with the same structure that are shown as a group
_SHOWN = frozenset({StepStatus.ERROR, StepStatus.WAITING_FOR_RETRY})
"""Statuses of steps that a group never hides."""

_LONGEST_MESSAGE = 300  #: characters of an error's message
_INSTANCE = re.compile(r"\[\d+\]")


@documented
class SnapshotError(TypedDict):
    """A kind of error that occurred in the task."""

    type: str | None
    code: str | None
    message: str
    """At most 300 characters."""


@documented
class SnapshotGroup(TypedDict):
    """Steps with equal dependencies, dependents and handler, or the same step of many instances;
    all but the failed ones are left out of the columns unless the request opens the group."""

    id: str
    """The group's id, to be passed in the parameter `open`."""
    label: str
    handler: str
    count: int
    by_status: dict[str, int]
    parents: list[int]
    """Dependencies of the group's first step, as step numbers. Another group is represented by the
    number of its first step."""
    children: list[int]
    first: int
    """Number of the group's first step."""
    claimed: int | None
    """Time at which the first step of the group was claimed."""
    settled: int | None
    """Time at which the last step of the group was settled."""


@documented
class SnapshotAttempt(TypedDict):
    """An attempt that ended."""

    no: int
    attempt: int
    outcome: AttemptOutcome
    enqueued: int | None
    claimed: int | None
    settled: int
    worker: int | None
    error: int | None


@documented
class SnapshotChild(TypedDict):
    """A task that a step of the task created."""

    id: str
    full_name: str
    status: str


@documented
class SnapshotView(TypedDict):
    """A task and its steps in columns of equal length. Times are milliseconds since the task was
    created; `handler`, `worker` and `error` are positions in the lists of these names."""

    mark: str | None
    """The task's ETag."""
    now: int
    task: TaskSummaryView
    no: list[int]
    name: list[str]
    status: list[StepStatus]
    handler: list[int]
    attempts: list[int]
    counted_attempts: list[int]
    """For each step, the number of attempts that count towards `max_attempts`."""
    max_attempts: list[int]
    enqueued: list[int | None]
    run_at: list[int | None]
    claimed: list[int | None]
    settled: list[int | None]
    worker: list[int | None]
    error: list[int | None]
    parents: list[list[int]]
    """For each step, the numbers of those of its dependencies that the snapshot includes as steps.
    The first steps of an instance depend on the spawner, and the join depends on the last steps of
    each instance."""
    group: list[str | None]
    """The group that the step belongs to."""
    paused: list[bool]
    no_worker: list[bool]
    waits_for: list[str | None]
    """The task that a parked step waits for."""
    undoes: list[int | None]
    """For each compensating step, the number of the step that it undoes; 0 for the step that plans
    the compensation."""
    handlers: list[str]
    workers: list[str]
    errors: list[SnapshotError]
    groups: list[SnapshotGroup]
    history: list[SnapshotAttempt]
    """The attempts of the steps that the snapshot includes, oldest first."""
    child_tasks: list[SnapshotChild]


class _DistinctValues(Generic[T]):
    """Distinct values in the order of their first use."""

    def __init__(self) -> None:
        self.by_key: dict[Any, int] = {}
        self.values: list[T] = []

    def find_or_add_index(self, key: Any, value: T) -> int:
        position = self.by_key.setdefault(key, len(self.values))
        if position == len(self.values):
            self.values.append(value)
        return position


def snapshot_view(
    task: Task,
    steps: Sequence[Step],
    history: Iterable[Attempt],
    children: Iterable[Task],
    now: datetime,
    *,
    grouped: bool = True,
    opened: Collection[str] = (),
) -> SnapshotView:
    """Return a task's snapshot.

    Args:
        task: The task.
        steps: Its steps, described by their template.
        history: Its ended attempts, oldest first.
        children: Tasks that its steps created.
        now: The current time.
        grouped: Whether steps with the same structure are omitted and counted as a group.
        opened: Groups whose steps are all listed.
    """
    since = _make_elapsed_ms_function(task.created_at)
    parents = _drawn_parents(steps)
    groups = _group_steps(steps, parents, since) if grouped else {}
    listed = [
        step
        for step in steps
        if (group := groups.get(step.no)) is None or group["id"] in opened or step.status in _SHOWN
    ]
    handlers, workers = _DistinctValues[str](), _DistinctValues[str]()
    errors = _DistinctValues[SnapshotError]()

    def error_index(error: Mapping[str, Any] | None) -> int | None:
        if error is None:
            return None
        kind = SnapshotError(
            type=error.get("type"),
            code=error.get("code"),
            message=str(error.get("message", ""))[:_LONGEST_MESSAGE],
        )
        return errors.find_or_add_index(tuple(kind.values()), kind)

    def worker_index(name: str | None) -> int | None:
        return None if name is None else workers.find_or_add_index(name, name)

    numbers = {step.no for step in listed}
    return {
        "mark": task.etag,
        "now": round((now - task.created_at).total_seconds() * 1000),
        "task": task_summary_view(task),
        "no": [step.no for step in listed],
        "name": [step.name for step in listed],
        "status": [step.status for step in listed],
        "handler": [handlers.find_or_add_index(step.handler, step.handler) for step in listed],
        "attempts": [step.attempts for step in listed],
        "counted_attempts": [step.counted_attempts for step in listed],
        "max_attempts": [step.max_attempts for step in listed],
        "enqueued": [since(step.enqueued_at) for step in listed],
        "run_at": [since(step.run_at) for step in listed],
        "claimed": [since(step.claimed_at) for step in listed],
        "settled": [since(step.settled_at) for step in listed],
        "worker": [worker_index(step.worker) for step in listed],
        "error": [error_index(step.error) for step in listed],
        "parents": [[no for no in parents[step.no] if no in numbers] for step in listed],
        "group": [groups[step.no]["id"] if step.no in groups else None for step in listed],
        "paused": [step.pause is not None for step in listed],
        "no_worker": [step.no_worker for step in listed],
        "waits_for": [step.waits_for for step in listed],
        "undoes": [step.undoes for step in listed],
        "history": [
            {
                "no": one.no,
                "attempt": one.attempt,
                "outcome": one.outcome,
                "enqueued": since(one.enqueued_at),
                "claimed": since(one.claimed_at),
                "settled": since(one.settled_at) or 0,
                "worker": worker_index(one.worker),
                "error": error_index(one.error),
            }
            for one in history
            if one.no in numbers
        ],
        "handlers": handlers.values,
        "workers": workers.values,
        "errors": errors.values,
        "groups": list({group["id"]: group for group in groups.values()}.values()),
        "child_tasks": [
            {"id": child.id, "full_name": child.full_name, "status": child.status.value}
            for child in children
        ],
    }


def _make_elapsed_ms_function(start: datetime) -> Callable[[datetime | None], int | None]:
    def elapsed_ms(at: datetime | None) -> int | None:
        return None if at is None else round((at - start).total_seconds() * 1000)

    return elapsed_ms


def _drawn_parents(steps: Iterable[Step]) -> dict[int, list[int]]:
    """Return the numbers of the steps that are drawn before each step: its dependencies, and
    around instances the step that created them and the one that waits for them."""
    steps = list(steps)
    numbers = {step.name: step.no for step in steps}
    parents = {
        step.no: [numbers[name] for name in _dependency_names(step) if name in numbers]
        for step in steps
    }
    made: dict[int, dict[int, list[int]]] = {}  # steps of each instance, by what created it
    for step in steps:
        if step.spawned_by in parents and step.instance is not None and step.undoes is None:
            made.setdefault(step.spawned_by, {}).setdefault(step.instance, []).append(step.no)
    loops = {step.no for step in steps if step.name.endswith(".repeat")}
    for spawner, instances in made.items():
        sinks: list[int] = []
        for _, members in sorted(instances.items()):
            awaited = {up for no in members for up in parents[no]}
            before = sinks if spawner in loops and sinks else [spawner]
            for no in members:
                parents[no] = parents[no] or [*before]
            last = [no for no in members if no not in awaited]
            sinks = last if spawner in loops else sinks + last
        join = spawner + 1  # see `Body`
        if join in parents:
            parents[join] = [no for no in parents[join] if no != spawner] + sinks
    return parents


def _dependency_names(step: Step) -> Iterable[str]:
    """Return the names of a step's dependencies; those in an instance are of the same instance."""
    if step.spawned_by is None:
        return step.dependencies
    instance = step.name[: step.name.rfind("]") + 1]
    return [instance if name.endswith("[]") else f"{instance}.{name}" for name in step.dependencies]


def _group_steps(
    steps: Sequence[Step],
    parents: Mapping[int, Sequence[int]],
    since: Callable[[datetime | None], int | None],
) -> dict[int, SnapshotGroup]:
    """Return the group of each step whose structure is shared by many others."""
    children: dict[int, list[int]] = {step.no: [] for step in steps}
    for no, ups in parents.items():
        for up in ups:
            children[up].append(no)
    shapes: dict[object, list[Step]] = {}
    for step in steps:
        shape: object = step.template_node  # of all instances
        if step.spawned_by is None:
            shape = (tuple(parents[step.no]), tuple(children[step.no]), step.handler)
        shapes.setdefault(shape, []).append(step)
    return {
        step.no: group
        for members in shapes.values()
        if len(members) >= LEAST_GROUP
        for group in [_make_snapshot_group(members, parents, children, since)]
        for step in members
    }


def _make_snapshot_group(
    members: Sequence[Step],
    parents: Mapping[int, Sequence[int]],
    children: Mapping[int, Sequence[int]],
    since: Callable[[datetime | None], int | None],
) -> SnapshotGroup:
    first, last = members[0], members[-1]
    if first.spawned_by is None:
        label = _common_prefix_of_names([step.name for step in members])
    else:
        label = _INSTANCE.sub("[]", first.name).removesuffix("[]")
    return {
        "id": f"g{first.no}",
        "label": label,
        "handler": first.handler,
        "count": len(members),
        "by_status": dict(Counter(step.status.value for step in members)),
        "parents": [*parents[first.no]],
        "children": sorted({*children[first.no], *children[last.no]}),
        "first": first.no,
        "claimed": since(min((s.claimed_at for s in members if s.claimed_at), default=None)),
        "settled": since(max((s.settled_at for s in members if s.settled_at), default=None)),
    }


def _common_prefix_of_names(names: Sequence[str]) -> str:
    """Return the common prefix of a group's step names, or the first name with an ellipsis."""
    least, most = min(names), max(names)
    same = next((no for no, (a, b) in enumerate(zip(least, most, strict=False)) if a != b), None)
    stem = least[:same].rstrip("_-.[0123456789")
    return stem or f"{names[0]} …"
