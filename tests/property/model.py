"""What a store should do, in plain Python and in memory: the model that stores are held to.

It knows nothing of SQL, transactions or time but the number of seconds it is given.
Where the store has a choice (which due steps it claims), the model takes over what the store
chose, and says whether it might.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field

from tests.property.shapes import HANDLERS, LIMITS, LoadedTemplate, Node, compensation_of

from tasker.model import (
    ENGINE,
    AtCapacityAction,
    AttemptOutcome,
    CompensatingStep,
    Compensation,
    CompensationStatus,
    LimitKey,
    OpenTaskBound,
    Outcome,
    StepStatus,
    TaskId,
    TaskStatus,
    TriggerRule,
    UnsuccessfulEnd,
    WorkerId,
)
from tasker.store.protocol import StepResolution

OPEN = TaskStatus.PENDING  #: of a task: not ended; shown as pending or in progress
RUNNABLE = frozenset({StepStatus.ENQUEUED, StepStatus.IN_PROGRESS, StepStatus.WAITING})
_EVENTS = frozenset({StepStatus.ERROR, StepStatus.WAITING})
UNENDED = RUNNABLE | {StepStatus.PENDING}
_WAITS = frozenset({StepStatus.PENDING, StepStatus.CANCELLED})
"""States of steps at which the ends of others arrive; a cancelled step may run after all."""

_HEEDS_FAILURE = frozenset(
    {TriggerRule.ALL_DONE, TriggerRule.ONE_SUCCESS, TriggerRule.ONE_FAILED, TriggerRule.ONE_DONE}
)

_EAGER = frozenset({TriggerRule.ONE_SUCCESS, TriggerRule.ONE_FAILED, TriggerRule.ONE_DONE})

Key = tuple[TaskId, int, int]


class Forbidden(Exception):
    """The state forbids it: what a store refuses with WrongStatus."""


class Undoing(Exception):
    """Its compensation forbids it: what a store refuses with Compensating."""


class Taken(Exception):
    """Another open task has the key: what a store refuses with TaskExists."""


class Full(Exception):
    """As many tasks of a key are open as may be: what a store refuses with TooManyOpenTasks."""


@dataclass
class ModelKey:
    """An idempotency key, and the task that has it."""

    holder: TaskId
    while_open: bool


@dataclass
class ModelStep:
    """One step."""

    node: Node
    children: list[int]
    pending_parents: int  #: below 0 where an eager rule holds before all parents have arrived
    state: StepStatus
    queue: str  #: the handler, or the engine
    attempt: int = 0
    uncounted_attempts: int = 0
    due: float = 0.0
    worker: WorkerId | None = None
    waits_for: TaskId | None = None
    awaits: str | None = None  #: name of the signal that it waits for
    wait_ends: float | None = None
    checkpoint: object = None
    passed: bool = False  #: whether its attempt was claimed through the gate of its limit
    undoes: int | None = None  #: the number of the step that it undoes; 0: it plans the others

    @property
    def done(self) -> bool:
        return self.state in (StepStatus.COMPLETE, StepStatus.RESOLVED_MANUALLY, StepStatus.SKIPPED)

    def is_freed_at_once(self, *, failure: bool, allowed: bool) -> bool:
        """Whether one arrival is as good as those of all parents."""
        rule = self.node.trigger
        if rule is TriggerRule.ONE_DONE:
            return True
        return (
            rule is TriggerRule.ONE_FAILED
            if failure and not allowed
            else (rule is TriggerRule.ONE_SUCCESS or (failure and rule is TriggerRule.ONE_FAILED))
        )


@dataclass
class ModelTask:
    """One task, its steps by number."""

    id: TaskId
    shape: LoadedTemplate
    steps: dict[int, ModelStep]
    key: str | None = None
    deadline: float | None = None
    state: TaskStatus = OPEN
    failing: bool = False
    history: list[tuple[int, int, AttemptOutcome]] = field(default_factory=list)
    acts: int = 0
    signals: list[str] = field(default_factory=list)  #: names of those that no step has taken
    paused: bool = False
    published: list[tuple[int, int]] = field(default_factory=list)  #: attempts with an event
    ends: list[TaskStatus] = field(default_factory=list)  #: how it ended, each time
    place: OpenTaskBound | None = None  #: the bound on open tasks that it is under
    waits_for_place: bool = False
    spawned: dict[int, tuple[int, int]] = field(default_factory=dict)
    """The first instance of each spawner, and the number of its instances."""

    last_no: int = 0  #: the greatest number of a step that was given away
    ending: TaskStatus | None = None  #: how it ends once it is compensated
    first_undoing: int | None = None  #: the number of the first step that undoes another

    def __post_init__(self) -> None:
        bodies = sum(node.spawns for node in self.shape)
        undone = sum(node.undone for node in self.shape)
        self.last_no = len(self.shape) + bodies + (2 + undone if undone else 0)

    @property
    def compensation(self) -> Compensation | None:
        return compensation_of(self.shape)

    @property
    def planner(self) -> int:
        """The number of the step that plans its compensation."""
        return len(self.shape) + sum(node.spawns for node in self.shape) + 1

    @property
    def undoing(self) -> bool:
        """Whether its compensation has begun."""
        planner = self.steps.get(self.planner)
        return planner is not None and planner.undoes == 0 and planner.attempt > 0

    @property
    def undone(self) -> set[int]:
        """The completed steps that say how they are undone."""
        return {
            no
            for no, step in self.steps.items()
            if step.state is StepStatus.COMPLETE and step.node.undone and not step.node.spawns
        }

    @property
    def compensated(self) -> CompensationStatus | None:
        """How far its compensation is."""
        if self.ending is None:
            return None
        if self.state is OPEN:
            return CompensationStatus.RUNNING
        ended = (StepStatus.COMPLETE, StepStatus.RESOLVED_MANUALLY)
        undoing = [step for step in self.steps.values() if step.undoes is not None]
        complete = all(step.state in ended for step in undoing)
        return CompensationStatus.COMPLETE if complete else CompensationStatus.INCOMPLETE

    def descendants(self, no: int) -> set[int]:
        """Return the steps that wait for a step, directly or not."""
        children = self.steps[no].children
        return {*children}.union(*(self.descendants(child) for child in children))

    def unhandled(self, no: int) -> bool:
        """Return whether a step failed, and its failure does not reach all of its children."""
        step = self.steps[no]
        if step.undoes is not None:
            return (
                step.state is StepStatus.ERROR
                and bool(step.children)
                and not self.heeds(no, step.children[0])
            )
        return (
            step.state is StepStatus.ERROR
            and not step.node.allow_failure
            and not (step.children and all(self.heeds(no, child) for child in step.children))
        )

    def heeds(self, no: int, child: int) -> bool:
        """Return whether the failure of step `no` reaches a child."""
        if self.steps[no].undoes is not None:
            return self.compensation is not None and self.compensation.keep_going
        allowed = self.steps[no].node.allow_failure
        return allowed or self.steps[child].node.trigger in _HEEDS_FAILURE

    @property
    def complete(self) -> bool:
        """Whether every step is done, or failed without consequence."""
        return all(
            step.done or (step.state is StepStatus.ERROR and not self.unhandled(no))
            for no, step in self.steps.items()
        )

    @property
    def stuck(self) -> bool:
        """Whether a step failed permanently and nothing can run any more."""
        return self.failing and not any(step.state in RUNNABLE for step in self.steps.values())

    @property
    def eventful(self) -> bool:
        """Whether it failed, is compensated, or a step of it failed or waits for a task."""
        return (
            self.failed
            or self.ending is not None
            or any(step.state in _EVENTS for step in self.steps.values())
        )

    @property
    def failed(self) -> bool:
        return self.state is TaskStatus.ERROR

    @property
    def shown(self) -> TaskStatus:
        started = any(step.attempt for step in self.steps.values())
        return TaskStatus.IN_PROGRESS if self.state is OPEN and started else self.state


class Model:
    """All tasks of one store."""

    def __init__(self) -> None:
        self.now = 0.0
        self.tasks: dict[TaskId, ModelTask] = {}
        self.keys: dict[str, ModelKey] = {}
        self.alive: set[WorkerId] = set()
        self.paused: set[str] = set()  #: handlers whose queue is paused
        self.holds = True  #: whether compensations may begin later than they could

    # ------------------------------------------------------------------- creating

    def holder_of(self, key: str | None) -> ModelTask | None:
        """Return the task that has a key; a key of open tasks is free when its task has ended."""
        kept = self.keys.get(key or "")
        if kept is None:
            return None
        task = self.tasks[kept.holder]
        return None if kept.while_open and task.state is not OPEN else task

    def create(
        self,
        task_id: TaskId,
        shape: LoadedTemplate,
        key: str | None,
        deadline: float | None,
        *,
        while_open: bool = False,
        place: OpenTaskBound | None = None,
    ) -> ModelTask:
        """Create a task, in place of the one that has its key, or of the oldest under its bound.

        Raises:
            Full: As many tasks are open as may be, and no other is to be created.
        """
        places = [task.place for task in self.tasks.values() if task.place and self._counts(task)]
        counted = len(places)
        holder = self.holder_of(key)
        if holder is not None and holder.state is OPEN and holder.ending is None:
            self._cancel(holder.id)
        waits = place is not None and self._make_room(place)
        steps = {}
        for no, node in enumerate(shape, start=1):
            children = [child for child, other in enumerate(shape, start=1) if no in other.parents]
            state = StepStatus.PENDING if node.parents else StepStatus.ENQUEUED
            queue = ENGINE if node.trigger is TriggerRule.ONE_FAILED else node.queue
            steps[no] = ModelStep(node, children, len(node.parents), state, queue, due=self.now)
        task = self.tasks[task_id] = ModelTask(task_id, shape, steps)
        task.deadline = None if deadline is None else self.now + deadline
        task.place, task.waits_for_place, task.paused = place, waits, waits
        if key is not None:
            task.key, self.keys[key] = key, ModelKey(task_id, while_open)
        if sum(
            bool(each.place) and self._counts(each) for each in self.tasks.values()
        ) < counted + bool(place):
            for bound in {each.key for each in places}:  # some ended for this one
                self._admit_for(bound)
        return task

    def _counts(self, task: ModelTask) -> bool:
        return task.state is OPEN and task.ending is None

    def _make_room(self, place: OpenTaskBound) -> bool:
        """Let a new task have a place; return whether it waits for one."""
        opened = self._under(place.key)
        running = [task for task in opened if not task.waits_for_place]
        too_many = len(running) - place.tasks + 1
        if place.when_full is AtCapacityAction.WAIT:
            return len(opened) >= place.tasks
        if too_many > 0 and place.when_full is AtCapacityAction.REJECT:
            raise Full
        for task in running[: max(too_many, 0)]:
            self._cancel(task.id)
        return False

    def _under(self, key: LimitKey) -> list[ModelTask]:
        """Return the open tasks of a key that are not compensated, oldest first."""
        return [
            task
            for task in self.tasks.values()
            if task.place is not None
            and task.place.key == key
            and task.state is OPEN
            and task.ending is None
        ]

    def admit(self) -> int:
        """Let tasks start that wait for places, as far as there are any; return how many."""
        keys = {task.place.key for task in self.tasks.values() if task.place is not None}
        return sum(map(self._admit_for, keys))

    def _admit_for(self, key: LimitKey) -> int:
        """Let those tasks start, the oldest first, for which a key has places."""
        admitted = 0
        opened = self._under(key)
        running = sum(not task.waits_for_place for task in opened)
        for task in opened:
            if not task.waits_for_place or task.place is None:
                continue
            if running >= task.place.tasks:
                break
            task.waits_for_place = task.paused = False
            running += 1
            admitted += 1
        return admitted

    # ------------------------------------------------------------------- claiming

    def due(self, handlers: Collection[str]) -> list[tuple[TaskId, int]]:
        """Return the steps that may be claimed by a worker with these handlers."""
        return [
            (task.id, no)
            for task in self.tasks.values()
            for no, step in task.steps.items()
            if self._waits_in(task, step, handlers) and step.due <= self.now
        ]

    def _waits_in(self, task: ModelTask, step: ModelStep, handlers: Collection[str]) -> bool:
        """Return whether workers with these handlers may claim a step, once it is due."""
        return (
            step.state is StepStatus.ENQUEUED
            and step.queue in handlers
            and not task.paused
            and step.queue.partition(",")[0] not in self.paused
        )

    def room(self, key: str) -> int:
        """Return how many steps under a limit may be claimed."""
        running = sum(
            step.state is StepStatus.IN_PROGRESS and step.passed and step.node.key == key
            for task in self.tasks.values()
            for step in task.steps.values()
        )
        return LIMITS[key] - running

    def next_due(self, handlers: Collection[str]) -> float | None:
        """Return after how many seconds the next step is due that is not yet."""
        later = [
            step.due - self.now
            for task in self.tasks.values()
            for step in task.steps.values()
            if self._waits_in(task, step, handlers) and step.due > self.now
        ]
        return min(later, default=None)

    def claim(
        self, worker: WorkerId, task_id: TaskId, no: int, *, passed: bool = False
    ) -> ModelStep:
        step = self.tasks[task_id].steps[no]
        step.passed = passed
        step.state, step.worker, step.attempt = StepStatus.IN_PROGRESS, worker, step.attempt + 1
        return step

    def holder(self, key: Key) -> WorkerId | None:
        """Return who holds an attempt; None: it is over, or there was no such."""
        task_id, no, attempt = key
        step = self.tasks[task_id].steps[no]
        held = step.state is StepStatus.IN_PROGRESS and step.attempt == attempt
        return step.worker if held else None

    def superseded(self, key: Key) -> bool:
        """Return whether another attempt of the step runs by now."""
        task_id, no, attempt = key
        step = self.tasks[task_id].steps[no]
        return step.state is StepStatus.IN_PROGRESS and step.attempt != attempt

    def held(self, worker: WorkerId) -> set[Key]:
        return {
            (task.id, no, step.attempt)
            for task in self.tasks.values()
            for no, step in task.steps.items()
            if step.state is StepStatus.IN_PROGRESS and step.worker == worker
        }

    def expired(self) -> set[Key]:
        """Return the attempts whose worker's lease is over."""
        workers = {step.worker for task in self.tasks.values() for step in task.steps.values()}
        return {
            key
            for worker in workers
            if worker is not None and worker not in self.alive
            for key in self.held(worker)
        }

    # ------------------------------------------------------------------- settling

    def settle(self, outcomes: Sequence[Outcome]) -> tuple[set[Key], set[tuple[TaskId, int]]]:
        """Settle: return which attempts were accepted, and which steps are free by it."""
        accepted = {
            outcome[:3]: outcome for outcome in outcomes if self.holder(outcome[:3]) is not None
        }
        for outcome in accepted.values():
            self._record(outcome)
        for (task_id, no, _), outcome in accepted.items():
            self._miss(task_id, no, outcome.choice)
        freed = {
            (task_id, child)
            for (task_id, no, _), outcome in accepted.items()
            for child in self._free(task_id, no, outcome.choice)
        }
        self._close({task_id for task_id, _, _ in accepted})
        return set(accepted), freed

    def _record(self, outcome: Outcome) -> None:
        task = self.tasks[outcome.task_id]
        step = task.steps[outcome.no]
        kind = list(AttemptOutcome)[outcome.outcome]
        task.history.append((outcome.no, outcome.attempt, kind))
        match kind:
            case AttemptOutcome.COMPLETE:
                step.state = StepStatus.COMPLETE
            case AttemptOutcome.SKIPPED:
                step.state = StepStatus.SKIPPED
            case AttemptOutcome.ERROR:
                step.state = StepStatus.ERROR
                task.failing = task.failing or task.unhandled(outcome.no)
            case _:
                if outcome.to_handler:
                    step.queue = step.node.queue
                step.state, step.due = StepStatus.ENQUEUED, self.now + outcome.delay
                step.uncounted_attempts += kind in (AttemptOutcome.RELEASED, AttemptOutcome.LOST)

    def _reached(self, task: ModelTask, no: int) -> list[int]:
        """Return the children at which the end of step `no` arrives."""
        parent = task.steps[no]
        failure = parent.state is StepStatus.ERROR
        if not (parent.done or failure):
            return []
        return [
            child
            for child in parent.children
            if task.steps[child].state in _WAITS and not (failure and not task.heeds(no, child))
        ]

    def _miss(self, task_id: TaskId, no: int, choice: Collection[int] | None) -> None:
        """Let the engine decide on the children that step `no` reaches without success.

        What is settled at once arrives at once: whether a success frees the child makes no
        difference to it.
        """
        task = self.tasks[task_id]
        for child in self._reached(task, no):
            failure = task.steps[no].state is StepStatus.ERROR
            missed = failure or self._skips(task, no, child, choice)
            if missed and task.steps[child].undoes is None:
                task.steps[child].queue = ENGINE

    def _skips(self, task: ModelTask, no: int, child: int, choice: Collection[int] | None) -> bool:
        """Return whether step `no` was skipped, or succeeded without choosing a child."""
        state = task.steps[no].state
        return state is StepStatus.SKIPPED or (
            state is not StepStatus.ERROR and choice is not None and child not in choice
        )

    def _free(self, task_id: TaskId, no: int, choice: Collection[int] | None = None) -> list[int]:
        """Return the children that wait for nothing more, now that step `no` has ended."""
        task = self.tasks[task_id]
        freed = []
        for child in self._reached(task, no):
            step = task.steps[child]
            skips = self._skips(task, no, child, choice)
            step.pending_parents -= 1 if skips else self._weight(task, no, child)
            if step.pending_parents <= 0 and step.state is StepStatus.PENDING:
                step.state, step.due = StepStatus.ENQUEUED, self.now
                freed.append(child)
        return freed

    def _weight(self, task: ModelTask, no: int, child: int) -> int:
        """Return how many parents the arrival of step `no` at a child stands for."""
        parent, step = task.steps[no], task.steps[child]
        failure = parent.state is StepStatus.ERROR
        at_once = step.is_freed_at_once(failure=failure, allowed=parent.node.allow_failure)
        return len(step.node.parents) if at_once else 1

    def _forgetful(self, task: ModelTask, no: int) -> list[int]:
        """Return the children that have not run, and that the failure of step `no` has reached."""
        step = task.steps[no]
        if step.state is not StepStatus.ERROR:
            return []
        return [
            child
            for child in step.children
            if task.heeds(no, child) and task.steps[child].state in _WAITS
        ]

    def _take_back(self, task: ModelTask, no: int) -> None:
        """Let the children that still wait forget the failure of step `no`."""
        for child in self._forgetful(task, no):
            task.steps[child].pending_parents += self._weight(task, no, child)

    def _is_over(self, task: ModelTask, no: int) -> bool:
        """Return whether nothing would wait for a retry of step `no`."""
        if task.unhandled(no) or self._forgetful(task, no):
            return False
        children = [task.steps[child].node.trigger for child in task.steps[no].children]
        return bool(children) and _EAGER.isdisjoint(children)

    def _close(self, touched: Iterable[TaskId]) -> set[TaskId]:
        """End those of the tasks that have come to an end; return them."""
        ended = set()
        for task_id in touched:
            task = self.tasks[task_id]
            if task.state is not OPEN:
                continue
            if task.ending is None and task.complete:
                self._end(task, TaskStatus.COMPLETE)
                ended.add(task_id)
            elif (task.ending is not None or task.stuck) and self._end_failed(task):
                ended.add(task_id)
        return ended

    def _end_failed(self, task: ModelTask) -> bool:
        """End a failed or cancelled task, or begin to undo what it has done."""
        compensation, planned = task.compensation, task.planner in task.steps
        if task.ending is not None and not planned:
            self._stop_steps(task, {StepStatus.ENQUEUED, StepStatus.WAITING})
        if any(step.state in RUNNABLE for step in task.steps.values()):
            return False
        fits = task.ending is not None or (
            compensation and UnsuccessfulEnd.ERROR in compensation.on
        )
        if compensation and fits and not planned and task.undone:
            task.ending = task.ending or TaskStatus.ERROR
            node = Node((), ENGINE)
            hold = compensation.hold.total_seconds() if self.holds else 0.0
            task.steps[task.planner] = ModelStep(
                node, [], 0, StepStatus.ENQUEUED, ENGINE, due=self.now + hold, undoes=0
            )
            return False
        incomplete = any(
            step.undoes is not None
            and step.state not in (StepStatus.COMPLETE, StepStatus.RESOLVED_MANUALLY)
            for step in task.steps.values()
        )
        self._end(task, TaskStatus.ERROR if incomplete else task.ending or TaskStatus.ERROR)
        return True

    def plan(self, key: Key, steps: Sequence[CompensatingStep]) -> bool:
        """Let a task be undone by these steps, in reverse order of its graph."""
        if self.holder(key) is None:
            return False
        task = self.tasks[key[0]]
        compensation = task.compensation
        assert compensation is not None
        undone = task.undone
        places = {step.undoes: step for step in steps if step.undoes in undone}
        assert undone == places.keys()
        assert [step.place for step in steps] == [*range(len(steps))]
        for no, step in places.items():
            waits, waiting = {step.place}, {*step.children}
            while waiting - waits:
                waits |= waiting
                waiting = {child for place in waits for child in steps[place].children}
            before = {other for other in undone if no in task.descendants(other)}
            assert before == {other for other in undone if places[other].place in waits} - {no}
        if task.first_undoing is None:
            task.first_undoing = task.last_no + 1
            task.last_no += len(steps)
        first = task.first_undoing
        for step in steps:
            handler = task.steps[step.undoes].node.handler if step.undoes in undone else ENGINE
            free = not step.pending_parents
            task.steps.setdefault(
                first + step.place,
                ModelStep(
                    Node((), handler),
                    [first + child for child in step.children],
                    step.pending_parents,
                    StepStatus.ENQUEUED if free else StepStatus.PENDING,
                    handler,
                    due=self.now,
                    undoes=step.undoes,
                ),
            )
        return True

    def _end(self, task: ModelTask, state: TaskStatus) -> None:
        task.state = state
        task.ends.append(state)
        for other in self.tasks.values():
            for step in other.steps.values():
                if step.state is StepStatus.WAITING and step.waits_for == task.id:
                    step.state, step.due = StepStatus.ENQUEUED, self.now

    def spawn(self, key: Key, total: int, begin: int, end: int) -> tuple[int, int] | None:
        """Make some of a spawner's instances; return the first number and how many are to be made.

        The first call decides how many.
        """
        if self.holder(key) is None:
            return None
        task_id, no, _ = key
        task = self.tasks[task_id]
        if no not in task.spawned:
            task.spawned[no] = task.last_no + 1, total
            task.last_no += total
        first, total = task.spawned[no]
        join = no + 1
        for number in range(first + begin, first + min(end, total)):
            if number not in task.steps:
                node = Node((), HANDLERS[0], undone=task.steps[no].node.undone)
                task.steps[number] = ModelStep(
                    node, [join], 0, StepStatus.ENQUEUED, node.queue, due=self.now
                )
                task.steps[join].pending_parents += 1
        return first, total

    def pause(self, task_id: TaskId) -> None:
        task = self._open_to(task_id, OPEN)
        task.acts += not task.paused
        task.paused = True

    def resume(self, task_id: TaskId) -> bool:
        task = self.tasks[task_id]
        paused, task.paused = task.paused, False
        task.waits_for_place = False
        task.acts += paused
        return paused

    def park(self, key: Key, waits_for: TaskId) -> bool:
        if self.holder(key) is None:
            return False
        task_id, no, attempt = key
        step = self.tasks[task_id].steps[no]
        self.tasks[task_id].history.append((no, attempt, AttemptOutcome.PARKED))
        over = self.tasks[waits_for].state is not OPEN
        step.state = StepStatus.ENQUEUED if over else StepStatus.WAITING
        step.waits_for, step.due, step.uncounted_attempts = (
            waits_for,
            self.now,
            step.uncounted_attempts + 1,
        )
        return True

    def wait(self, key: Key, name: str, timeout: float | None) -> bool:
        """Let a step wait for a signal, which may be there already."""
        if self.holder(key) is None:
            return False
        task_id, no, attempt = key
        task = self.tasks[task_id]
        step = task.steps[no]
        task.history.append((no, attempt, AttemptOutcome.PARKED))
        step.uncounted_attempts += 1
        step.waits_for, step.due = None, self.now
        if name in task.signals:
            task.signals.remove(name)
            step.state = StepStatus.ENQUEUED
        else:
            step.state, step.awaits = StepStatus.WAITING, name
            step.wait_ends = None if timeout is None else self.now + timeout
        return True

    def signal(self, task_id: TaskId, name: str) -> int | None:
        """Send a signal; return the step that receives it."""
        task = self._open_to(task_id, OPEN)
        task.acts += 1
        for no, step in sorted(task.steps.items()):
            if step.state is StepStatus.WAITING and step.awaits == name:
                self._wake(step)
                return no
        task.signals.append(name)
        return None

    def end_late_waits(self) -> set[TaskId]:
        """End the waits that have timed out; return the tasks of their steps."""
        late = [
            (task.id, step)
            for task in self.tasks.values()
            for step in task.steps.values()
            if step.state is StepStatus.WAITING
            and step.wait_ends is not None
            and step.wait_ends <= self.now
        ]
        for _, step in late:
            self._wake(step)
        return {task_id for task_id, _ in late}

    def _wake(self, step: ModelStep) -> None:
        step.state, step.due = StepStatus.ENQUEUED, self.now
        step.awaits = step.wait_ends = None

    def overdue(self) -> list[ModelTask]:
        return [
            task
            for task in self.tasks.values()
            if task.state is OPEN
            and task.ending is None
            and task.deadline is not None
            and task.deadline <= self.now
        ]

    def sweep(self) -> set[TaskId]:
        """End what is past its deadline, and has failed; return which tasks ended."""
        ended = self._close([task.id for task in self.tasks.values() if not task.complete])
        for task in self.overdue():
            if self._end_early(task, TaskStatus.ERROR):
                ended.add(task.id)
        places = {place for task_id in ended if (place := self.tasks[task_id].place)}
        for place in places:
            self._admit_for(place.key)
        return ended

    def _end_early(self, task: ModelTask, state: TaskStatus) -> bool:
        """End a task, or begin to undo what it has done; return whether it has ended."""
        compensation = task.compensation
        on = () if compensation is None else compensation.on
        running = any(
            step.state is StepStatus.IN_PROGRESS and step.node.undone and not step.node.spawns
            for step in task.steps.values()
        )
        if state.value in on and (task.undone or running):
            task.ending, task.failing = state, True
            self._stop_steps(task, UNENDED - {StepStatus.IN_PROGRESS})
            return task.id in self._close([task.id])
        self._stop(task, StepStatus.CANCELLED)
        self._end(task, state)
        return True

    def _stop_steps(self, task: ModelTask, states: Collection[StepStatus]) -> None:
        for step in task.steps.values():
            if step.state in states:
                step.state, step.awaits, step.wait_ends = StepStatus.CANCELLED, None, None

    def _stop(self, task: ModelTask, state: StepStatus) -> None:
        for no, step in task.steps.items():
            if step.state is StepStatus.IN_PROGRESS:
                task.history.append((no, step.attempt, AttemptOutcome.CANCELLED))
            if step.state in UNENDED:
                step.state = state
                step.awaits = step.wait_ends = None
        task.failing = False

    # ------------------------------------------------------------------ operators

    def cancel(self, task_id: TaskId) -> None:
        """Cancel a task, and let those start that waited for its place."""
        self._cancel(task_id)
        place = self.tasks[task_id].place
        if place is not None:
            self._admit_for(place.key)

    def _cancel(self, task_id: TaskId) -> None:
        task = self._open_to(task_id, OPEN)
        if task.ending is not None:
            raise Undoing
        self._end_early(task, TaskStatus.CANCELLED)
        task.acts += 1

    def retry(self, task_id: TaskId, nos: Collection[int] | None, counted_attempts: int) -> None:
        task = self._open_to(task_id, OPEN, TaskStatus.ERROR)
        self._require_key(task)
        undoing = task.undoing
        errors = [no for no, step in task.steps.items() if step.state is StepStatus.ERROR]
        failed = [
            no
            for no in errors
            if (task.steps[no].undoes is not None if undoing else task.unhandled(no))
        ]
        chosen = failed if nos is None else list(nos)
        if undoing:
            self._require_undoing(task, chosen)
        given_up = any(step.state is StepStatus.CANCELLED for step in task.steps.values())
        if not set(chosen) <= set(errors) or not (chosen or given_up):
            raise Forbidden
        if not undoing and any(self._is_over(task, no) for no in chosen):
            raise Forbidden
        if not undoing:
            self._call_off(task)
        for no in chosen:
            self._take_back(task, no)
            step = task.steps[no]
            step.state, step.due = StepStatus.ENQUEUED, self.now
            step.uncounted_attempts = step.attempt - counted_attempts
        self._reopen(task, revive=not undoing)
        task.acts += len(chosen) or 1

    def _require_undoing(self, task: ModelTask, nos: Collection[int]) -> None:
        if not nos or any(task.steps[no].undoes is None for no in nos):
            raise Undoing

    def _call_off(self, task: ModelTask) -> None:
        """Let a task go on whose compensation has not begun."""
        task.ending = None
        planner = task.steps.get(task.planner)
        if planner is not None and planner.undoes == 0:
            del task.steps[task.planner]

    def resolve_step(self, task_id: TaskId, no: int, *, action: StepResolution) -> None:
        task = self._open_to(task_id, OPEN, TaskStatus.ERROR)
        self._require_key(task)
        step = task.steps[no]
        undoing = task.undoing or step.undoes is not None
        if undoing:
            self._require_undoing(task, [no])
        if step.state not in RUNNABLE | {StepStatus.ERROR}:
            raise Forbidden
        if not undoing:
            self._call_off(task)
        if step.state is StepStatus.IN_PROGRESS:
            task.history.append((no, step.attempt, AttemptOutcome.CANCELLED))
        self._take_back(task, no)
        complete = action is StepResolution.COMPLETE
        step.awaits = step.wait_ends = None
        step.attempt += 1
        step.state = StepStatus.COMPLETE if complete else StepStatus.RESOLVED_MANUALLY
        outcome = AttemptOutcome.COMPLETE if complete else AttemptOutcome.RESOLVED_MANUALLY
        task.history.append((no, step.attempt, outcome))
        self._reopen(task, revive=not undoing)
        self._free(task_id, no)
        self._close({task_id})
        if task.place is not None and (task.state is not OPEN or task.ending is not None):
            self._admit_for(task.place.key)
        task.acts += 1

    def resolve_task(self, task_id: TaskId) -> None:
        task = self._open_to(task_id, TaskStatus.ERROR)
        self._stop(task, StepStatus.SKIPPED)
        self._end(task, TaskStatus.RESOLVED_MANUALLY)
        task.acts += 1

    def _open_to(self, task_id: TaskId, *allowed: TaskStatus) -> ModelTask:
        task = self.tasks[task_id]
        if task.state not in allowed:
            raise Forbidden
        return task

    def _require_key(self, task: ModelTask) -> None:
        holder = self.holder_of(task.key)
        if holder is not None and holder is not task and holder.state is OPEN:
            raise Taken

    def _reopen(self, task: ModelTask, *, revive: bool) -> None:
        """Bring a task back to life, with its key; with `revive`, with the steps given up."""
        if task.key is not None and self.keys[task.key].while_open:
            self.keys[task.key].holder = task.id
        task.state = OPEN
        task.failing = task.ending is not None or any(map(task.unhandled, task.steps))
        if task.deadline is not None and task.deadline <= self.now:
            task.deadline = None
        for step in task.steps.values():
            if revive and step.state is StepStatus.CANCELLED:
                waits = step.pending_parents > 0
                step.state = StepStatus.PENDING if waits else StepStatus.ENQUEUED
                step.due = self.now
