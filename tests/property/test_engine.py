"""Whatever workers, crashes and operators do to tasks in whatever order, stores do as the model.

The machine plays workers by hand: they claim, settle (in groups, twice, too late), park,
forget what they hold, lose their leases; operators cancel, retry and resolve; time passes.
In the end everything that can run is run, and every task must have ended.
"""

import asyncio
import os
import uuid
from collections.abc import Callable, Coroutine, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from tests.property.model import OPEN, Forbidden, Full, Key, Model, ModelTask, Taken, Undoing
from tests.property.shapes import (
    HANDLERS,
    LIMITS,
    LoadedTemplate,
    Node,
    limited,
    publishes_ends,
    shapes,
    template_of,
)

from tasker import codec, open_store
from tasker.clock import ManualClock
from tasker.durable import DurableCallKind
from tasker.engine.compensating import plan_compensating_steps
from tasker.errors import (
    CompensationStarted,
    IdempotencyConflict,
    LeaseLost,
    TaskExists,
    TooManyOpenTasks,
    WrongStatus,
)
from tasker.events import EventFilter
from tasker.graph import Graph
from tasker.model import (
    ENGINE,
    AtCapacityAction,
    AttemptOutcome,
    Claim,
    ExistingTaskAction,
    IdempotencyKeyLifetime,
    LimitKey,
    LimitValues,
    NewEvent,
    NewInstances,
    NewTask,
    OpenTaskBound,
    Outcome,
    PauseTarget,
    QueueId,
    Settlement,
    StepCounts,
    StepStatus,
    TaskId,
    TaskStatus,
    TemplateId,
    TriggerRule,
    WaitKind,
    WorkerId,
    completed_outcome,
    failed_outcome,
    lost_outcome,
    released_outcome,
    requeued_for_handler_outcome,
    retry_outcome,
    skipped_outcome,
)
from tasker.store.postgres import claim_cursor
from tasker.store.postgres.driver import Driver
from tasker.store.protocol import AuditNote, StepResolution, Store
from tasker.testing.postgres import SharedSchemaConnection
from tasker.testing.store_suite.contradictions import find_contradictions
from tasker.waits import AwaitedArrival, NewSignal, NewWait

T = TypeVar("T")

LEASE = timedelta(days=365)  #: leases end when a test says so
ERROR = codec.dumps({"message": "it broke"})
ACT = AuditNote(actor="ann", reason="because")
KINDS = tuple(AttemptOutcome)
SETTLED = (0, 0, 0, 1, 2, 2, 4, 8, 100, 101)
NO_CHOICE, HAND_BACK = 100, 101  #: further kinds: a success that chooses no child, a hand-back
_NEVER_UNDOING = (8, NO_CHOICE)  #: what a step that undoes another one never does

OF_ENDS = {
    AttemptOutcome.COMPLETE: TaskStatus.COMPLETE,
    AttemptOutcome.ERROR: TaskStatus.ERROR,
    AttemptOutcome.CANCELLED: TaskStatus.CANCELLED,
    AttemptOutcome.RESOLVED_MANUALLY: TaskStatus.RESOLVED_MANUALLY,
}
"""The outcome that the event of an end has, and the end."""

MAPPED = (
    Node((), ENGINE, spawns=True),
    Node((1,), ENGINE, joins=True),
    Node((2,), HANDLERS[0], TriggerRule.ALL_DONE),
)

some = st.integers(0, 10**6)
names_of_signals = st.sampled_from(["a", "b"])
"""Picks one of however many there are."""

delays = st.sampled_from([0.0, 0.0, 60.0, 3600.0])


@dataclass
class ManualWorker:
    """A worker that does what the machine says."""

    id: WorkerId
    store: Store
    handlers: tuple[str, ...]

    @property
    def limited(self) -> tuple[str, ...]:
        """The queues of limited steps that it serves."""
        return tuple(map(limited, self.handlers))


class Engine(RuleBasedStateMachine):
    """One store, or several objects on one database, against the model."""

    url = "sqlite::memory:"
    objects = 1
    has_cursor = False  #: claims say when they return to the beginning
    clock: ManualClock | None = None

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.stack = AsyncExitStack()
        self.model = Model()
        self.namespace = f"n{uuid.uuid4().hex}"
        self.templates: dict[LoadedTemplate, TemplateId] = {}
        self.workers: list[ManualWorker] = []
        self.claims: list[Claim] = []  #: all that were ever made, latest last
        self.touched: set[TaskId] = set()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.runner.get_loop().run_until_complete(work)

    @initialize()
    def begin(self) -> None:
        self.run(self._begin())

    async def _begin(self) -> None:
        self.clock = self.make_clock()
        self.model.holds = self.clock is not None
        self.stores = [
            await self.stack.enter_async_context(
                open_store(self.url, upgrade=True, clock=self.clock)
            )
            for _ in range(self.objects)
        ]
        await self._put(tuple(Node((), handler) for handler in HANDLERS))  # so that queues exist
        await self._put((Node((), HANDLERS[0], allow_failure=True), Node((1,), HANDLERS[0])))
        await self._put(tuple(Node((), handler, key="one") for handler in HANDLERS))
        self.queues: dict[str, QueueId] = {
            limited(queue.handler) if queue.gated else queue.handler: queue.base
            for queue in await self.stores[0].list_queues()
            if queue.namespace == self.namespace
        }
        for handlers in (HANDLERS, HANDLERS, HANDLERS[:1]):
            await self._register_worker(handlers)

    def make_clock(self) -> ManualClock | None:
        return ManualClock()

    async def find_contradictions(self) -> Sequence[Any]:
        return ()

    async def _put(self, shape: LoadedTemplate) -> TemplateId:
        if shape not in self.templates:
            name = f"t{len(self.templates)}"
            template = template_of(shape, self.namespace, name, holds=self.model.holds)
            registered = await self.stores[0].register_template(template, registered_by="ann")
            self.templates[shape] = registered.stored.id
        return self.templates[shape]

    async def _register_worker(self, handlers: tuple[str, ...]) -> ManualWorker:
        handlers = tuple(dict.fromkeys((*handlers, ENGINE)))
        store = self.stores[len(self.workers) % len(self.stores)]
        worker_id = await store.register_worker("worker", lease=LEASE, slots=9, handlers=handlers)
        served = (*handlers, *(limited(each) for each in handlers if each in HANDLERS))
        await store.add_served_queues(worker_id, [self.queues[queue] for queue in served])
        worker = ManualWorker(worker_id, store, handlers)
        self.workers.append(worker)
        self.model.alive.add(worker_id)
        return worker

    def teardown(self) -> None:
        try:
            if self.workers:
                self.run(self._finish())
        finally:
            self.run(self.stack.aclose())
            self.runner.close()

    # -------------------------------------------------------------------- choosing

    def worker(self, which: int) -> ManualWorker:
        return self.workers[which % len(self.workers)]

    def task(self, which: int) -> ModelTask:
        """Return a task: mostly one to which something happened."""
        tasks = list(self.model.tasks.values())
        eventful = [task for task in tasks if task.eventful]
        chosen = eventful if eventful and which % 4 else tasks
        return chosen[which // 4 % len(chosen)]

    def step_in(self, task: ModelTask, which: int, *states: StepStatus) -> int:
        """Return a step: mostly one in these states."""
        fitting = [no for no, step in task.steps.items() if step.state in states]
        chosen = fitting if fitting and which % 4 else list(task.steps)
        return chosen[which // 4 % len(chosen)]

    def claim_of(self, which: int) -> Claim:
        """Return a claim: one that holds, one whose step is another attempt's by now, or any."""
        recent = self.claims[-30:]
        held = [claim for claim in recent if self.model.holder(claim[:3])]
        late = [claim for claim in recent if self.model.superseded(claim[:3])]
        chosen = (recent[-12:], late, held, held)[which % 4] or recent
        return chosen[which // 4 % len(chosen)]

    def take_claims(
        self, worker: ManualWorker, claims: Any, allowed: Any, *, passed: bool = False
    ) -> None:
        """Take claims that the store made, all of which must be allowed, into the model."""
        keys = [(claim.task_id, claim.no) for claim in claims]
        assert len(keys) == len(set(keys))
        assert set(keys) <= set(allowed)
        for claim in claims:
            step = self.model.claim(worker.id, claim.task_id, claim.no, passed=passed)
            assert step.queue in (worker.limited if passed else worker.handlers)
            assert step.attempt == claim.attempt
            assert step.attempt - step.uncounted_attempts == claim.counted_attempts
            kept = None if claim.checkpoint is None else codec.loads(claim.checkpoint)
            assert step.checkpoint == kept
            self.touched.add(claim.task_id)
        self.claims += claims

    # ----------------------------------------------------------------------- rules

    @rule(
        shape=shapes(),
        which=some,
        room=st.integers(0, 5),
        deadline=st.sampled_from([None, None, 30.0]),
    )
    def create(self, shape: LoadedTemplate, which: int, room: int, deadline: float | None) -> None:
        if self.clock is None:
            deadline = None
        self.run(self._create(shape, self.worker(which), room, None, deadline))

    @rule(
        shape=shapes(2) | shapes(),
        which=some,
        room=st.integers(0, 5),
        key=st.sampled_from(["k1", "k2"]),
        unique_while=st.sampled_from(IdempotencyKeyLifetime),
        if_exists=st.sampled_from(ExistingTaskAction),
    )
    def create_with_key(
        self,
        shape: LoadedTemplate,
        which: int,
        room: int,
        key: str,
        unique_while: IdempotencyKeyLifetime,
        if_exists: ExistingTaskAction,
    ) -> None:
        self.run(self._create(shape, self.worker(which), room, key, None, unique_while, if_exists))

    @rule(
        shape=shapes(2) | shapes(),
        which=some,
        room=st.integers(0, 5),
        deadline=st.sampled_from([None, None, 30.0]),
        tasks=st.integers(1, 2),
        when_full=st.sampled_from(AtCapacityAction),
    )
    def create_under_bound(
        self,
        shape: LoadedTemplate,
        which: int,
        room: int,
        deadline: float | None,
        tasks: int,
        when_full: AtCapacityAction,
    ) -> None:
        """Create a task under a bound of open tasks."""
        if self.clock is None:
            deadline = None
        place = OpenTaskBound(LimitKey(self.namespace, "bound"), tasks, when_full)
        self.run(self._create(shape, self.worker(which), room, None, deadline, place=place))

    @precondition(lambda self: any(task.waits_for_place for task in self.model.tasks.values()))
    @rule()
    def admit(self) -> None:
        """Let the tasks start for which there are places by now."""
        waiting = {task.id for task in self.model.tasks.values() if task.waits_for_place}
        assert self.model.admit() == self.run(self.stores[-1].admit_waiting_tasks(1000))
        self.touched |= waiting

    async def _create(
        self,
        shape: LoadedTemplate,
        worker: ManualWorker,
        room: int,
        key: str | None,
        deadline: float | None,
        unique_while: IdempotencyKeyLifetime = IdempotencyKeyLifetime.ALWAYS,
        if_exists: ExistingTaskAction = ExistingTaskAction.RETURN,
        place: OpenTaskBound | None = None,
    ) -> None:
        task_id = codec.new_task_id()
        new = NewTask(
            id=task_id,
            template_id=await self._put(shape),
            context=codec.dumps({}),
            correlation_id=task_id,
            idempotency_key=key,
            unique_while=unique_while,
            if_exists=if_exists,
            deadline=None if deadline is None else timedelta(seconds=deadline),
            limits={
                no: (
                    (LimitKey(self.namespace, node.key), LimitValues(concurrency=LIMITS[node.key])),
                )
                for no, node in enumerate(shape, start=1)
                if node.key
            },
            place=place,
        )
        making = worker.store.create_tasks([new], worker=worker.id, claim_up_to=room)
        holder = self.model.holder_of(key)
        if holder is not None and if_exists is ExistingTaskAction.REJECT:
            with pytest.raises(TaskExists):
                await making
            return
        if holder is not None and if_exists is ExistingTaskAction.RETURN and holder.shape != shape:
            with pytest.raises(IdempotencyConflict):
                await making
            return
        if holder is not None and if_exists is ExistingTaskAction.RETURN:
            created = await making
            assert ([(holder.id, False)], []) == (list(created.tasks), list(created.claims))
            return
        while_open = unique_while is IdempotencyKeyLifetime.OPEN
        opened = {task.id for task in self.model.tasks.values() if task.state is OPEN}
        try:
            self.model.create(task_id, shape, key, deadline, while_open=while_open, place=place)
        except Full:
            with pytest.raises(TooManyOpenTasks):
                await making
            return
        created = await making
        assert [(task_id, True)] == list(created.tasks)
        replaced = {each for each in opened if self.model.tasks[each].state is not OPEN}
        self.touched |= {task_id} | replaced
        roots = [step for step in self.model.due(worker.handlers) if step[0] == task_id]
        assert (0 if place else min(room, len(roots))) == len(created.claims)
        self.take_claims(worker, created.claims, roots)

    @rule(which=some, limit=st.integers(1, 8))
    def claim(self, which: int, limit: int) -> None:
        worker = self.worker(which)
        due = self.model.due(worker.handlers)
        claimed = self.run(worker.store.claim(worker.id, limit))
        assert min(limit, len(due)) == len(claimed.claims)
        self.take_claims(worker, claimed.claims, due)
        if len(claimed.claims) < limit:
            next_due = self.model.next_due(worker.handlers)
            assert next_due == claimed.next_due or (self.has_cursor and next_due is None)

    @rule(which=some, limit=st.integers(1, 8))
    def claim_limited(self, which: int, limit: int) -> None:
        self.run(self._claim_limited(self.worker(which), limit))

    async def _claim_limited(self, worker: ManualWorker, limit: int) -> int:
        """Claim steps under limits: no more than have room, and no fewer."""
        due = self.model.due(worker.limited)
        claimed = await worker.store.claim_limited_steps(worker.id, limit)
        self.take_claims(worker, claimed.claims, due, passed=True)
        left = {*due} - {claim.attempt_key[:2] for claim in claimed.claims}
        for key in LIMITS:
            room = self.model.room(key)
            waits = any(self.model.tasks[task].steps[no].node.key == key for task, no in left)
            assert room >= 0
            assert len(claimed.claims) == limit or not (room and waits)
        return len(claimed.claims)

    @rule(which=some, total=st.integers(0, 4), many=st.integers(0, 4))
    def create_map(self, which: int, total: int, many: int) -> None:
        """Create a task that begins with a spawner, and make some of its instances."""
        self.run(self._create_map(self.worker(which), total, many))

    async def _create_map(self, worker: ManualWorker, total: int, many: int) -> None:
        await self._create(MAPPED, worker, 1, None, None)
        for claim in self.claims[-1:]:
            if self.node_of(claim).spawns:
                await self._spawn(claim, total, 0, many)

    @precondition(lambda self: self.claims)
    @rule(number=some, total=st.integers(0, 4), begin=st.integers(0, 2), many=st.integers(0, 4))
    def spawn(self, number: int, total: int, begin: int, many: int) -> None:
        """Make some instances; a retry of the spawner makes the same."""
        claims = [claim for claim in self.claims[-30:] if self.node_of(claim).spawns]
        if claims:
            self.run(self._spawn(claims[number % len(claims)], total, begin, many))

    def node_of(self, claim: Claim) -> Node:
        return self.model.tasks[claim.task_id].steps[claim.no].node

    async def _spawn(self, claim: Claim, total: int, begin: int, many: int) -> None:
        task = self.model.tasks[claim.task_id]
        total = task.spawned.get(claim.no, (0, total))[1]
        begin = min(begin, total)
        end = min(begin + many, total)
        items = [codec.dumps(number) for number in range(begin, end)]
        new = NewInstances("", claim.no + 1, claim.no, claim.no, total, begin, items)
        spawned = await self.stores[-1].spawn_instances(claim, new)
        expected = self.model.spawn(claim[:3], total, begin, end)
        assert expected == (None if spawned is None else (spawned.first_no, spawned.instances))
        self.touched.add(task.id)

    @precondition(lambda self: self.claims)
    @rule(
        which=some,
        batch=st.lists(
            st.tuples(
                some, st.sampled_from([0, 0, 0, 1, 2, 2, 4, 8, NO_CHOICE, HAND_BACK]), delays
            ),
            min_size=1,
            max_size=8,
        ),
        again=st.booleans(),
        room=st.integers(0, 5),
        how=st.sampled_from([{}, {"publish": True}, {"relaxed": True}, {"grouped": True}]),
    )
    def settle(
        self,
        which: int,
        batch: list[tuple[int, int, float]],
        again: bool,
        room: int,
        how: dict[str, bool],
    ) -> None:
        """Settle claims, each once in a batch; `again`: and once more afterwards."""
        chosen: dict[Key, Outcome] = {}
        for number, kind, delay in batch:
            claim = self.claim_of(number)
            chosen.setdefault(claim[:3], self.outcome(claim, kind, delay))
        outcomes = list(chosen.values())
        for _ in range(2 if again else 1):
            self.run(self._settle(self.worker(which), outcomes, room, **how))

    def outcome(self, claim: Claim, kind: int, delay: float) -> Outcome:
        later = timedelta(seconds=delay if self.clock else 0)
        step = self.model.tasks[claim.task_id].steps.get(claim.no)
        if step is not None and step.undoes is not None and kind in _NEVER_UNDOING:
            kind = 0
        if kind == NO_CHOICE:
            return completed_outcome(claim, codec.dumps({}))._replace(choice=())
        if kind == HAND_BACK:
            return requeued_for_handler_outcome(claim)
        match KINDS[kind]:
            case AttemptOutcome.SKIPPED:
                return skipped_outcome(claim, ERROR)
            case AttemptOutcome.COMPLETE:
                return completed_outcome(claim, codec.dumps({"of": claim.attempt}))
            case AttemptOutcome.RETRY:
                return retry_outcome(claim, ERROR, later)
            case AttemptOutcome.ERROR:
                return failed_outcome(claim, ERROR)
            case _:
                return released_outcome(claim)

    @precondition(lambda self: self.claims)
    @rule(which=some, number=some, kind=st.sampled_from([0, 1, 2]))
    def settle_twice_at_once(self, which: int, number: int, kind: int) -> None:
        outcome = self.outcome(self.claim_of(number), kind, 0)
        self.run(self._settle(self.worker(which), [outcome, outcome], 0))

    def _event(self, index: int, outcome: Outcome) -> NewEvent:
        template = self.templates[self.model.tasks[outcome.task_id].shape]
        payload = codec.dumps({"attempt": outcome.attempt})
        return NewEvent(index, template, f"s{outcome.no}", "c", "it.happened", payload, 0.0)

    async def _settle(
        self,
        worker: ManualWorker,
        outcomes: list[Outcome],
        room: int,
        *,
        publish: bool = False,
        relaxed: bool = False,
        grouped: bool = False,
    ) -> None:
        """Settle outcomes as one worker, or as a group of all workers that share them."""
        for outcome in outcomes:
            if KINDS[outcome.outcome] is AttemptOutcome.COMPLETE:
                await self._plan(worker, Claim(*outcome[:3], 0))
        open_before = {task.id for task in self.model.tasks.values() if task.state is OPEN}
        accepted, freed = self.model.settle(outcomes)
        events = [self._event(index, outcome) for index, outcome in enumerate(outcomes) if publish]
        shares = [(worker, outcomes)]
        if grouped:
            workers = self.workers
            parts = [outcomes[place :: len(workers)] for place in range(len(workers))]
            shares = [each for each in zip(workers, parts, strict=True) if each[1]]
            group = [Settlement(each.id, part, room) for each, part in shares]
            settled = await worker.store.settle_for_workers(group)
        else:
            settled = [
                await worker.store.settle(
                    worker.id, outcomes, claim_up_to=room, relaxed=relaxed, events=events
                )
            ]
        for task_id, no, attempt in accepted if publish else ():
            self.model.tasks[task_id].published.append((no, attempt))
        refused = [
            part[place][:3]
            for (_, part), each in zip(shares, settled, strict=True)
            for place in each.rejected
        ]
        assert len(outcomes) - len(accepted) == len(refused)
        assert {outcome[:3] for outcome in outcomes} - accepted <= {*refused}
        ended = {task_id for task_id in open_before if self.model.tasks[task_id].state is not OPEN}
        assert {(task_id, self.model.tasks[task_id].state) for task_id in ended} == {
            (end.task_id, end.status) for each in settled for end in each.ended
        }
        self.touched.update(outcome.task_id for outcome in outcomes)
        for (owner, _), each in zip(shares, settled, strict=True):
            assert len(each.claims) <= room
            self.take_claims(owner, each.claims, {*freed} & {*self.model.due(owner.handlers)})

    @rule(
        shape=shapes(6, Node((), HANDLERS[0], undone=True)),
        which=some,
        kinds=st.lists(st.tuples(some, st.sampled_from([0, 0, 0, 1, 2])), max_size=6),
        begin=st.sampled_from(["fail", "cancel", "cancel late"]),
        plans=st.booleans(),
    )
    def create_to_undo(
        self,
        shape: LoadedTemplate,
        which: int,
        kinds: list[tuple[int, int]],
        begin: str,
        plans: bool,
    ) -> None:
        """Create a task, settle steps of it, and cancel it or let it fail; plan to undo it."""
        worker = self.worker(which)
        self.pause_queue(HANDLERS[0], False)
        self.run(self._create(shape, worker, 5, None, None))
        task = list(self.model.tasks.values())[-1]
        if begin == "cancel late":
            self._cancel(task)
        self._settle_in(task, worker, 0, 0)
        for number, kind in kinds:
            self._settle_in(task, worker, number, kind)
        if begin == "cancel":
            self._cancel(task)
        while begin == "fail" and self._settle_in(task, worker, 0, 1):
            pass
        if plans:
            self._begin_to_undo(task, worker)

    def _settle_in(self, task: ModelTask, worker: ManualWorker, number: int, kind: int) -> bool:
        """Settle a step in progress of a task, and claim what follows; return whether any was."""
        held = [claim for claim in self.claims if claim.task_id == task.id]
        held = [claim for claim in held if self.model.holder(claim[:3])]
        if held:
            outcome = self.outcome(held[number % len(held)], kind, 0)
            self.run(self._settle(worker, [outcome], 5))
        return bool(held)

    def _begin_to_undo(self, task: ModelTask, worker: ManualWorker) -> None:
        """Run the step of a task that plans how others are undone."""
        if (task.id, task.planner) not in self.model.due([ENGINE]) and self.clock is not None:
            self.time_passes(60)
        if (task.id, task.planner) in self.model.due([ENGINE]):
            self.claim(self.workers.index(worker), 1000)
            self.touched.add(task.id)
            held = [
                claim for claim in self.claims if claim.attempt_key[:2] == (task.id, task.planner)
            ]
            self.run(self._settle(worker, [completed_outcome(held[-1], codec.dumps(1))], 5))

    @precondition(lambda self: self.claims)
    @rule(which=some, number=some)
    def plan(self, which: int, number: int) -> None:
        """Insert the steps that undo others; another attempt inserts the same."""
        self.run(self._plan(self.worker(which), self.claim_of(number)))

    async def _plan(self, worker: ManualWorker, claim: Claim) -> None:
        task = self.model.tasks[claim.task_id]
        step = task.steps.get(claim.no)
        if step is None or step.undoes != 0:
            return
        template = template_of(task.shape, self.namespace, "t")
        graph = Graph(template)
        nodes = [*graph.layout.undone_node_by_compensating_node.values()]
        steps = plan_compensating_steps(
            graph, await worker.store.list_completed_steps_of_nodes(task.id, nodes)
        )
        keep_going = template.compensation.keep_going
        added = await worker.store.add_compensating_steps(
            claim, steps, len(steps), keep_going=keep_going
        )
        assert self.model.plan(claim[:3], steps) == added
        self.touched.add(task.id)

    @precondition(lambda self: self.claims)
    @rule(which=some, number=some, counted_attempts=st.sampled_from([0, 2]))
    def fail_and_retry(self, which: int, number: int, counted_attempts: int) -> None:
        claim = self.claim_of(number)
        self.run(self._settle(self.worker(which), [failed_outcome(claim, ERROR)], 0))
        self._retry(self.model.tasks[claim.task_id], [claim.no], counted_attempts)

    @precondition(lambda self: self.claims)
    @rule(number=some, value=st.integers(0, 3))
    def checkpoint(self, number: int, value: int) -> None:
        claim = self.claim_of(number)
        held = self.model.holder(claim[:3]) is not None
        assert held == self.run(self.stores[-1].store_checkpoint(claim, codec.dumps(value)))
        if held:
            self.model.tasks[claim.task_id].steps[claim.no].checkpoint = value

    @precondition(lambda self: self.claims)
    @rule(number=some, which=some)
    def park(self, number: int, which: int) -> None:
        """Wait for a task made before, so that nobody waits for each other."""
        claim = self.claim_of(number)
        tasks = list(self.model.tasks)
        earlier = tasks[: tasks.index(claim.task_id)]
        if earlier:
            awaited = earlier[which % len(earlier)]
            parked = self.run(self.stores[-1].park_until_task_ends(claim, awaited))
            assert self.model.park(claim[:3], awaited) == parked
            self.touched.add(claim.task_id)

    @precondition(lambda self: self.claims)
    @rule(number=some, name=names_of_signals, timeout=st.none() | st.floats(1, 100))
    def wait(self, number: int, name: str, timeout: float | None) -> None:
        """Wait for a signal, which may have come before."""
        claim = self.claim_of(number)
        if self.clock is None:
            timeout = None
        call = f"wait-{claim.attempt}"
        awaited = [AwaitedArrival(WaitKind.SIGNAL, name)]
        new = NewWait(call, DurableCallKind.WAIT_SIGNAL, awaited, timeout)
        parked = self.run(self.stores[-1].park_for_arrival(claim, new))
        assert self.model.wait(claim[:3], name, timeout) == parked
        self.touched.add(claim.task_id)

    @precondition(lambda self: self.model.tasks)
    @rule(which=some, name=names_of_signals)
    def signal(self, which: int, name: str) -> None:
        self._signal(self.task(which), name)

    def _signal(self, task: ModelTask, name: str) -> None:
        work = self.stores[0].send_signal(NewSignal(task.id, name, codec.dumps(1)), ACT)
        try:
            no = self.model.signal(task.id, name)
        except Forbidden:
            with pytest.raises(WrongStatus):
                self.run(work)
            return
        steps = self.run(self.stores[0].list_steps(task.id))
        by_no = {step.no: step.name for step in steps}
        assert (None if no is None else by_no[no]) == self.run(work).step
        self.touched.add(task.id)

    @rule()
    def waits_end(self) -> None:
        self.run(self.stores[0].end_timed_out_waits(1000))
        self.touched |= self.model.end_late_waits()

    @rule(which=some)
    def crash(self, which: int) -> None:
        """A worker is gone with what it held; another comes in its place."""
        worker = self.worker(which)
        self.run(worker.store.retire_worker(worker.id))
        self.model.alive.discard(worker.id)
        self.workers.remove(worker)
        self.run(self._register_worker(worker.handlers))
        with pytest.raises(LeaseLost):
            self.run(worker.store.renew_lease(worker.id, [], lease=LEASE))

    @precondition(lambda self: self.model.expired())
    @rule(which=some, limit=st.sampled_from([1, 2, 1000]), final=st.booleans(), delay=delays)
    def expire(self, which: int, limit: int, final: bool, delay: float) -> None:
        self.run(self._expire(self.worker(which), limit, final, delay))

    async def _expire(self, worker: ManualWorker, limit: int, final: bool, delay: float) -> None:
        """Settle what expired, as a janitor does."""
        listed = await worker.store.list_expired_attempts(1000)
        mine = [expired.claim for expired in listed if expired.claim.task_id in self.model.tasks]
        assert self.model.expired() == {claim[:3] for claim in mine}
        later = timedelta(seconds=delay if self.clock else 0)
        outcomes = [
            failed_outcome(claim, ERROR) if final else lost_outcome(claim, ERROR, later)
            for claim in mine[:limit]
        ]
        if outcomes:
            await self._settle(worker, outcomes, 0)

    @rule(which=some)
    def renew(self, which: int) -> None:
        worker = self.worker(which)
        recent = self.claims[-12:]
        gone = self.run(worker.store.renew_lease(worker.id, recent, lease=LEASE))
        assert [claim for claim in recent if self.model.holder(claim[:3]) != worker.id] == gone
        held = self.run(worker.store.list_held_claims(worker.id))
        assert self.model.held(worker.id) == {claim[:3] for claim in held}

    @precondition(lambda self: self.model.overdue())
    @rule()
    def sweep(self) -> None:
        self.run(self._sweep())

    async def _sweep(self) -> None:
        self.touched |= {task.id for task in self.model.tasks.values() if task.waits_for_place}
        ended = self.model.sweep()
        ends = {end.task_id for end in await self.stores[-1].end_overdue_and_failed_tasks()}
        assert ended == ends & self.model.tasks.keys()
        self.touched |= ended

    @precondition(lambda self: any(task.deadline for task in self.model.tasks.values()))
    @rule(again=st.booleans())
    def deadlines_pass(self, again: bool) -> None:
        """What is overdue ends; `again`: an operator brings one task back to life."""
        self.time_passes(60)
        overdue = self.model.overdue()
        self.sweep()
        if again and overdue:
            self._retry(overdue[0], None, 0)

    @precondition(lambda self: self.clock is not None)
    @rule(seconds=st.sampled_from([1, 20, 60, 3600]))
    def time_passes(self, seconds: int) -> None:
        assert self.clock is not None
        self.clock.advance(timedelta(seconds=seconds))
        self.model.now += seconds

    # ------------------------------------------------------------------- operators

    @precondition(lambda self: len(self.model.tasks) > 1)
    @rule(which=some)
    def cancel(self, which: int) -> None:
        self._cancel(self.task(which))

    def _cancel(self, task: ModelTask) -> None:
        self.act(task, lambda: self.model.cancel(task.id), self.stores[0].cancel_task(task.id, ACT))

    @precondition(lambda self: self.model.tasks)
    @rule(which=some, number=st.none() | some, counted_attempts=st.sampled_from([0, 2]))
    def retry(self, which: int, number: int | None, counted_attempts: int) -> None:
        task = self.task(which)
        nos = None if number is None else [self.step_in(task, number, StepStatus.ERROR)]
        self._retry(task, nos, counted_attempts)

    def _retry(self, task: ModelTask, nos: list[int] | None, counted_attempts: int) -> None:
        nodes = range(1, 2 * len(task.shape) + 10)  # at least those of the template
        used = dict.fromkeys(nodes, counted_attempts) if counted_attempts else None
        self.act(
            task,
            lambda: self.model.retry(task.id, nos, counted_attempts),
            self.stores[0].retry_steps(task.id, ACT, steps=nos, counted_attempts=used),
        )

    @precondition(lambda self: self.model.tasks)
    @rule(which=some, number=some, action=st.sampled_from(StepResolution))
    def resolve(self, which: int, number: int, action: StepResolution) -> None:
        task = self.task(which)
        no = self.step_in(
            task, number, StepStatus.ERROR, StepStatus.IN_PROGRESS, StepStatus.WAITING
        )
        self.act(
            task,
            lambda: self.model.resolve_step(task.id, no, action=action),
            self.stores[0].resolve_step(task.id, no, codec.dumps(1), ACT, action=action),
        )

    @precondition(lambda self: self.model.tasks)
    @rule(which=some, pauses=st.booleans())
    def pause_task(self, which: int, pauses: bool) -> None:
        task, target = self.task(which), PauseTarget.of_task(self.task(which).id)
        if not pauses:
            resumed = self.run(self.stores[0].resume(target, ACT))
            assert self.model.resume(task.id) == resumed
        elif task.state is OPEN:
            self.model.pause(task.id)
            self.run(self.stores[0].pause(target, ACT))
        else:
            with pytest.raises(WrongStatus):
                self.run(self.stores[0].pause(target, ACT))
        self.touched.add(task.id)

    @rule(handler=st.sampled_from(HANDLERS), pauses=st.booleans())
    def pause_queue(self, handler: str, pauses: bool) -> None:
        target = PauseTarget.of_queue(self.namespace, handler)
        if pauses:
            self.run(self.stores[0].pause(target, ACT))
            self.model.paused.add(handler)
        else:
            resumed = self.run(self.stores[0].resume(target, ACT))
            assert resumed == (handler in self.model.paused)
            self.model.paused.discard(handler)

    @precondition(lambda self: any(task.failed for task in self.model.tasks.values()))
    @rule(which=some)
    def resolve_task(self, which: int) -> None:
        task = self.task(which)
        self.act(
            task,
            lambda: self.model.resolve_task(task.id),
            self.stores[0].resolve_task(task.id, ACT),
        )

    def act(
        self, task: ModelTask, play: Callable[[], None], work: Coroutine[Any, Any, Any]
    ) -> None:
        """Act on a task in model and store; what one forbids, so does the other."""
        waiting = {task.id for task in self.model.tasks.values() if task.waits_for_place}
        try:
            play()
        except Forbidden:
            with pytest.raises(WrongStatus):
                self.run(work)
        except Undoing:
            with pytest.raises(CompensationStarted):
                self.run(work)
        except Taken:
            with pytest.raises(TaskExists):
                self.run(work)
        else:
            assert task.shown == self.run(work).status
        self.touched |= {task.id, *waiting}

    # -------------------------------------------------------------------- checking

    @invariant()
    def the_store_is_as_the_model(self) -> None:
        if self.touched:
            self.run(self._compare(self.touched))
            self.touched = set()

    async def _compare(self, ids: set[TaskId]) -> None:
        for task_id in ids:
            task = self.model.tasks[task_id]
            steps = {step.no: step for step in await self.stores[0].list_steps(task_id)}
            assert {
                no: (step.state, step.attempt, max(step.pending_parents, 0))
                for no, step in task.steps.items()
            } == {
                no: (step.status, step.attempts, step.pending_parents) for no, step in steps.items()
            }
            stored = await self.stores[0].get_task(task_id)
            assert task.shown == stored.status
            assert task.compensated == stored.compensation
            assert self._counts(task) == stored.counts

    def _counts(self, task: ModelTask) -> StepCounts:
        counts: dict[str, int] = {}
        for step in task.steps.values():
            again = step.state is StepStatus.ENQUEUED and step.attempt and step.due > self.model.now
            name = "waiting_for_retry" if again else step.state.value
            counts[name] = counts.get(name, 0) + 1
        return StepCounts(**counts)

    async def _finish(self) -> None:
        """Let everything end that can, and see that everything has."""
        assert [] == list(await self.find_contradictions())
        await self._settle_all()
        assert [] == list(await self.find_contradictions())
        await self._compare(set(self.model.tasks))
        for task in self.model.tasks.values():
            assert task.state is not OPEN, "it can neither run nor end"
            await self._check_history(task)

    async def _settle_all(self) -> None:
        for worker in self.workers:
            await worker.store.retire_worker(worker.id)
            self.model.alive.discard(worker.id)
        for task in self.model.tasks.values():
            for step in task.steps.values():
                if step.state is StepStatus.WAITING and step.awaits is not None:
                    new = NewSignal(task.id, step.awaits, codec.dumps(1))
                    self.model.signal(task.id, step.awaits)
                    await self.stores[0].send_signal(new, ACT)
        await self._resume_all()
        await self._sweep()
        worker = await self._register_worker(HANDLERS)
        for _ in range(200):
            await self._expire(worker, 1000, False, 0)
            claimed = await worker.store.claim(worker.id, 1000)
            due = self.model.due(worker.handlers)
            assert len(due) == len(claimed.claims)
            self.take_claims(worker, claimed.claims, due)
            await self._claim_limited(worker, 1000)
            held = [Claim(*key, 0) for key in self.model.held(worker.id)]
            if held:
                outcomes = [completed_outcome(claim, codec.dumps(1)) for claim in held]
                await self._settle(worker, outcomes, 1000)
            elif self.clock is None or self._next_due(worker) is None:
                return
            else:
                self.clock.advance(timedelta(hours=1))
                self.model.now += 3600
        raise AssertionError("there is always more to do")

    def _next_due(self, worker: ManualWorker) -> float | None:
        return self.model.next_due((*worker.handlers, *worker.limited))

    async def _resume_all(self) -> None:
        for task in self.model.tasks.values():
            if self.model.resume(task.id):
                assert await self.stores[0].resume(PauseTarget.of_task(task.id), ACT)
        for handler in self.model.paused:
            await self.stores[0].resume(PauseTarget.of_queue(self.namespace, handler), ACT)
        self.model.paused.clear()

    async def _check_history(self, task: ModelTask) -> None:
        history = await self.stores[0].list_attempts(task.id)
        rows = [(row.no, row.attempt, row.outcome) for row in history]
        assert sorted(task.history) == sorted(rows)
        for no, step in task.steps.items():
            ends = [
                outcome
                for of, _, outcome in rows
                if of == no
                and outcome in (AttemptOutcome.COMPLETE, AttemptOutcome.RESOLVED_MANUALLY)
            ]
            finished = step.state in (StepStatus.COMPLETE, StepStatus.RESOLVED_MANUALLY)
            assert finished == bool(ends)
            assert len(ends) <= 1
        assert task.acts == len(await self.stores[0].list_audit_entries(task.id))
        events = await self.stores[0].list_events(EventFilter(task_id=task.id), limit=1000)
        of_steps = [(event.step_no, event.attempt) for event in events if event.step_no]
        assert sorted(task.published) == sorted(of_steps)
        ended = [OF_ENDS[event.outcome] for event in reversed(events) if not event.step_no]
        assert (task.ends if publishes_ends(task.shape) else []) == ended


PHASES = (
    tuple(Phase)
    if "TASKER_TEST_SHRINK" in os.environ
    else (Phase.explicit, Phase.reuse, Phase.generate)
)
"""Making a failing example smaller takes longer than a test may: ask for it by hand."""

QUIET = [HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large]


def test_sqlite_behaves_like_the_model() -> None:
    run_state_machine_as_test(
        Engine,
        settings=settings(
            max_examples=100,
            stateful_step_count=50,
            deadline=None,
            derandomize=True,
            phases=PHASES,
            report_multiple_bugs=False,
            suppress_health_check=QUIET,
        ),
    )


@pytest.mark.parametrize("alone", [False, True], ids=["shared", "alone"])
def test_postgresql_behaves_like_the_model(
    postgres_schema_url: str, monkeypatch: pytest.MonkeyPatch, alone: bool
) -> None:
    """
    Three processes whose claims begin at the beginning; and one whose claims never return
    to it, and that settles everything in batches.
    """
    monkeypatch.setattr(Driver, "SCALAR", not alone)
    monkeypatch.setattr(claim_cursor, "RESTART_AT_MOST", 1e9 if alone else 0.0)
    monkeypatch.setattr(claim_cursor, "RESTART_AFTER", 1e9)

    class OnPostgres(Engine):
        """Store objects on one PostgreSQL, whose clock is its own."""

        url = postgres_schema_url
        objects = 1 if alone else 3
        has_cursor = alone

        def make_clock(self) -> ManualClock | None:
            return None

        async def find_contradictions(self) -> Sequence[Any]:
            return await shared.run_with_connection(find_contradictions)

    with SharedSchemaConnection(postgres_schema_url) as shared:
        run_state_machine_as_test(
            OnPostgres,
            settings=settings(
                max_examples=20,
                stateful_step_count=40,
                deadline=None,
                derandomize=True,
                phases=PHASES,
                report_multiple_bugs=False,
                suppress_health_check=QUIET,
            ),
        )
