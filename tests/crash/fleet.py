"""Worker processes that die and are replaced, the tasks they do, and what must be true after."""

import asyncio
import random
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from tests.waiting import eventually

from tasker import LocalClient, Retry, TaskRequest, TaskStatus, Template
from tasker.events import EventFilter
from tasker.model import Attempt, AttemptOutcome, EventSpec, Map, StepSpec, StepStatus, Task
from tasker.store.postgres.store import PostgresStore
from tasker.store.protocol import Store
from tasker.testing.store_suite.contradictions import find_contradictions

PROGRAM = Path(__file__).with_name("worker.py")
WORKERS = 3

#: more than there are kills, so that no step runs out of attempts by being killed
PATIENT = Retry(max_attempts=1000)


def step(name: str, handler: str, *after: str, events: tuple[EventSpec, ...] = ()) -> StepSpec:
    return StepSpec(name=name, callable=handler, dependencies=after, retry=PATIENT, events=events)


#: published by the steps of the diamond for each attempt that ended
ENDED = (EventSpec("attempt.ended", "always", {"ok": "error == null"}),)


DIAMOND = Template(
    namespace="crash",
    name="diamond",
    version="1.0.0",
    steps=(
        step("top", "quick", events=ENDED),
        step("left", "blocking", "top", events=ENDED),
        step("right", "failing_first", "top", events=ENDED),
        step("bottom", "quick", "left", "right", events=ENDED),
    ),
)
FAN = Template(
    namespace="crash",
    name="fan",
    version="1.0.0",
    steps=(
        step("first", "blocking"),
        *(step(f"leaf_{no}", "quick", "first") for no in range(20)),
        step("last", "quick", *(f"leaf_{no}" for no in range(20))),
    ),
)
CHAIN = Template(
    namespace="crash",
    name="chain",
    version="1.0.0",
    steps=(
        step("one", "saving"),
        step("two", "failing_first", "one"),
        step("three", "saving", "two"),
    ),
)

MAPPED = Template(
    namespace="crash",
    name="mapped",
    version="1.0.0",
    steps=(
        StepSpec(
            name="each",
            spawning=Map(over="input.items"),
            steps=(step("fetch", "quick"), step("note", "failing_first", "fetch")),
        ),
        step("end", "blocking", "each"),
    ),
)
ITEMS = {"items": [1, 2, 3]}  #: the context of its tasks
PARENT = Template(
    namespace="crash",
    name="parent",
    version="1.0.0",
    steps=(step("ask", "asking"),),
)


class Fleet:
    """Worker processes, each replaced when it is killed."""

    def __init__(self, url: str, effects: Path) -> None:
        self._command = [sys.executable, str(PROGRAM), url, str(effects)]
        self.processes: list[asyncio.subprocess.Process] = []
        self.kills = 0

    async def start(self) -> None:
        process = await asyncio.create_subprocess_exec(
            *self._command, stdout=asyncio.subprocess.PIPE
        )
        self.processes.append(process)
        assert process.stdout is not None
        assert b"ready\n" == await asyncio.wait_for(process.stdout.readline(), 60)

    async def kill_one(self, rng: random.Random) -> None:
        victim = self.processes.pop(rng.randrange(len(self.processes)))
        victim.send_signal(signal.SIGKILL)
        assert -signal.SIGKILL == await victim.wait()
        self.kills += 1
        await self.start()

    async def stop(self) -> list[int]:
        for process in self.processes:
            process.terminate()
        return [await asyncio.wait_for(process.wait(), 60) for process in self.processes]


@asynccontextmanager
async def fleet(url: str, effects: Path) -> AsyncIterator[Fleet]:
    workers = Fleet(url, effects)
    try:
        for _ in range(WORKERS):
            await workers.start()
        yield workers
    finally:
        for process in workers.processes:
            if process.returncode is None:
                process.kill()
                await process.wait()


async def create(store: Store) -> list[Task]:
    client = LocalClient(store)
    await client.register(DIAMOND)
    await client.register(FAN)
    await client.register(CHAIN)
    await client.register(MAPPED)
    return await client.create_tasks(
        [TaskRequest(template="crash.diamond") for _ in range(120)]
        + [TaskRequest(template="crash.fan") for _ in range(12)]
        + [TaskRequest(template="crash.chain") for _ in range(20)]
        + [TaskRequest(template="crash.mapped", context=ITEMS) for _ in range(20)]
    )


async def open_tasks(store: Store, tasks: Sequence[Task]) -> list[Task]:
    ended = [await store.get_task(task.id) for task in tasks]
    return [task for task in ended if not task.has_ended]


def count(effects: Path) -> Counter[tuple[str, str, int]]:
    """Count the effects of each attempt: (task, step, attempt)."""
    lines = (line.split() for line in effects.read_text().splitlines())
    return Counter((task, step, int(attempt)) for task, step, attempt in lines)


async def prove_events(store: Store, task: Task, history: Sequence[Attempt]) -> None:
    """Compare the outbox with the history: one event for each outcome that declares it."""
    declaring = task.name == DIAMOND.name
    outcomes = [
        (row.step, row.attempt, row.outcome)
        for row in history
        if declaring and row.outcome is not AttemptOutcome.RELEASED
    ]
    events = await store.list_events(EventFilter(task_id=task.id), limit=1000)
    of_steps = [event for event in events if event.step_no]
    published = [(event.step, event.attempt, event.outcome) for event in of_steps]
    assert sorted(outcomes) == sorted(published)
    for event in of_steps:
        assert {"ok": event.outcome is AttemptOutcome.COMPLETE} == event.payload


async def prove(
    store: Store,
    tasks: Sequence[Task],
    effects: Path,
    *,
    ends: Mapping[str, TaskStatus] = {},
    statuses: Mapping[tuple[str, str], StepStatus] = {},
    unhandled: Collection[tuple[str, str]] = (),
) -> None:
    """Check the store against itself and against the effects of the handlers.

    Args:
        ends: How tasks end that do not complete, by template.
        statuses: How steps end that do not complete, by template and step.
        unhandled: Steps whose last attempt has no effect.
    """
    done = count(effects)
    assert {1} == set(done.values()), "an attempt ran twice"
    for task in tasks:
        expected = ends.get(task.name, TaskStatus.COMPLETE)
        assert expected is (await store.get_task(task.id)).status
        steps = await store.list_steps(task.id)
        for step in steps:
            assert statuses.get((task.name, step.name), StepStatus.COMPLETE) is step.status
        history = await store.list_attempts(task.id)
        completed = [row for row in history if row.outcome is AttemptOutcome.COMPLETE]
        done_once = [step.name for step in steps if step.status is StepStatus.COMPLETE]
        assert sorted(done_once) == sorted(row.step for row in completed)
        numbers = Counter((row.step, row.attempt) for row in history)
        assert set(numbers.values()) <= {1}, "an attempt was used twice"
        await prove_events(store, task, history)
        for step in steps:
            by_engine = step.name in ("each.map", "each")
            by_engine = by_engine or step.status in (StepStatus.SKIPPED, StepStatus.CANCELLED)
            by_engine = by_engine or (task.name, step.name) in unhandled
            assert by_engine or (task.id, step.name, step.attempts) in done
            ended = [row.attempt for row in history if row.step == step.name]
            assert list(range(1, step.attempts + 1)) == sorted(ended)
    assert [] == await store.list_expired_attempts(10)
    if isinstance(store, PostgresStore):
        connection = await store.address.connect()
        assert [] == list(await find_contradictions(connection))
        await connection.close()
    assert not any(info.running for info in await store.list_workers())

    async def all_gone() -> bool:  # the leases of the killed lapse
        return not any(info.alive for info in await store.list_workers())

    await eventually(all_gone)
