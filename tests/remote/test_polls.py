"""Claims of several remote workers in one transaction."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

import pytest
from tests.waiting import eventually

from tasker.errors import StoreUnavailable
from tasker.model import (
    Claim,
    ClaimResult,
    GroupClaimResult,
    Outcome,
    OutcomeCode,
    TaskId,
    WorkerId,
)
from tasker.remote.polls import LongPolls
from tasker.remote.registered import QueueList, RegisteredWorker, RegisteredWorkers
from tasker.remote.registration import RemoteRegistration
from tasker.store.protocol import Store

pytestmark = pytest.mark.anyio


class Recorder:
    """Records claims; the first one waits until it is released, and only `due` steps are there."""

    def __init__(self) -> None:
        self.claims: list[list[int]] = []
        self.due = 0
        self.began = asyncio.Event()
        self.release = asyncio.Event()
        self.work = asyncio.Event()
        self.released: asyncio.Queue[tuple[WorkerId, OutcomeCode]] = asyncio.Queue()
        self.is_available = True

    async def list_queues(self, **_: Any) -> list[Any]:
        return []

    async def wait_for_work(self, timeout: float) -> None:
        await self.work.wait()
        self.work.clear()

    async def claim(self, worker: WorkerId, limit: int) -> ClaimResult:
        claims = (await self.claim_for_workers({worker: limit})).claims
        return ClaimResult(claims.get(worker, ()), None)

    async def claim_for_workers(self, rooms: Mapping[WorkerId, int]) -> GroupClaimResult:
        self.claims.append([int(worker) for worker in rooms])
        self.began.set()
        await self.release.wait()
        if not self.is_available:
            raise StoreUnavailable("gone")
        claims = {}
        for worker, room in rooms.items():
            if number := min(room, self.due):
                self.due -= number
                claims[worker] = [Claim(TaskId(str(worker)), no, 1, 1) for no in range(number)]
        return GroupClaimResult(claims, None)

    async def settle(self, worker: WorkerId, outcomes: Sequence[Outcome]) -> None:
        for each in outcomes:
            self.released.put_nowait((worker, each.outcome))


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture
async def polls(recorder: Recorder) -> AsyncIterator[LongPolls]:
    """Return polls over the recorder, which end with the test."""
    store: Any = recorder
    closing = asyncio.Event()
    as_store: Store = store
    yield LongPolls(as_store, QueueList(as_store), closing)
    closing.set()


def worker(number: int, **labels: str) -> RegisteredWorker:
    registration = RemoteRegistration("w", 10, "", "", labels, None, {})
    return RegisteredWorker(WorkerId(number), registration, "ann")


async def begin(
    polls: LongPolls, recorder: Recorder, *workers: RegisteredWorker, wait: float = 60.0
) -> list[asyncio.Task[Sequence[Claim]]]:
    """Let workers poll for two steps each; all but the first arrive during the first claim."""
    claiming = [asyncio.create_task(polls.claim(each, 2, wait)) for each in workers[:1]]
    await recorder.began.wait()
    claiming += [asyncio.create_task(polls.claim(each, 2, wait)) for each in workers[1:]]
    await asyncio.sleep(0)  # they have arrived then
    return claiming


async def test_polls_that_arrive_during_a_claim_go_together_into_the_next(
    polls: LongPolls, recorder: Recorder
) -> None:
    recorder.due = 100
    claiming = await begin(polls, recorder, *map(worker, range(4)))

    recorder.release.set()

    assert [2, 2, 2, 2] == [len(claims) for claims in await asyncio.gather(*claiming)]
    assert [[0], [1, 2, 3]] == recorder.claims


async def test_equal_parts_of_workers_are_kept_in_memory_once(recorder: Recorder) -> None:
    store: Any = recorder
    known, alike = RegisteredWorkers(store), [worker(1, gpu="true"), worker(2, gpu="true")]
    other = worker(3, gpu="false")

    for each in (*alike, other):
        known.add(each)

    assert [1, 2] == [each.id for each in alike]
    assert alike[0].registration.labels is alike[1].registration.labels
    assert alike[0].kind is alike[1].kind
    assert {"gpu": "false"} == other.registration.labels


async def test_polls_for_other_steps_claim_apart(polls: LongPolls, recorder: Recorder) -> None:
    recorder.due = 100
    others = [worker(1, gpu="true"), worker(2), worker(3, gpu="true")]
    claiming = await begin(polls, recorder, worker(0), *others)

    recorder.release.set()
    await asyncio.gather(*claiming)

    assert [[0], [1, 3], [2]] == sorted(recorder.claims)


async def test_a_short_claim_shows_that_there_is_nothing_for_the_others(
    polls: LongPolls, recorder: Recorder
) -> None:
    """Those that wait are claimed for when there may be work again, all together."""
    recorder.due = 2
    claiming = await begin(polls, recorder, *map(worker, range(4)))
    recorder.release.set()
    assert 2 == len(await claiming[0])
    await eventually(lambda: len(recorder.claims) == 2)

    recorder.due = 100
    recorder.work.set()

    assert [2, 2, 2] == [len(claims) for claims in await asyncio.gather(*claiming[1:])]
    assert [1, 2, 3] == sorted(recorder.claims[-1])


async def test_a_poll_that_arrives_while_others_wait_in_vain_waits_with_them(
    polls: LongPolls, recorder: Recorder
) -> None:
    recorder.release.set()
    claiming = await begin(polls, recorder, worker(0))
    await eventually(lambda: polls.work.has_waiters)

    claiming += await begin(polls, recorder, worker(1))
    assert [[0]] == recorder.claims
    recorder.due = 100
    recorder.work.set()

    assert [2, 2] == [len(claims) for claims in await asyncio.gather(*claiming)]
    assert [0, 1] == sorted(recorder.claims[-1])


async def test_polls_that_do_not_wait_are_answered_after_one_claim(
    polls: LongPolls, recorder: Recorder
) -> None:
    claiming = await begin(polls, recorder, *map(worker, range(3)), wait=0.0)

    recorder.release.set()

    assert [0, 0, 0] == [len(claims) for claims in await asyncio.gather(*claiming)]
    assert [[0], [1, 2]] == recorder.claims


async def test_a_store_that_is_away_is_reported_to_all_of_a_claim(
    polls: LongPolls, recorder: Recorder
) -> None:
    claiming = await begin(polls, recorder, *map(worker, range(3)))
    recorder.is_available = False

    recorder.release.set()

    answers = await asyncio.gather(*claiming, return_exceptions=True)
    assert [StoreUnavailable] * 3 == [type(answer) for answer in answers]


@pytest.mark.parametrize("cancelled", [0, 1])
async def test_steps_for_a_cancelled_poll_are_handed_back(
    polls: LongPolls, recorder: Recorder, cancelled: int
) -> None:
    """Those that it was claimed for; the others get theirs."""
    recorder.due = 100
    claiming = await begin(polls, recorder, *map(worker, range(3)))

    claiming[cancelled].cancel()
    await asyncio.sleep(0)
    recorder.release.set()

    answers = await asyncio.gather(*claiming, return_exceptions=True)
    lengths = [len(each) if isinstance(each, list) else None for each in answers]
    assert [None if number == cancelled else 2 for number in range(3)] == lengths
    if cancelled == 0:
        assert (0, OutcomeCode.RELEASED) == await recorder.released.get()
    else:
        assert [0, 2] == [number for claim in recorder.claims for number in claim]


async def test_the_poll_of_a_lost_connection_ends_before_claims_are_listed(
    polls: LongPolls, recorder: Recorder
) -> None:
    """
    What it still claims is handed back first; else the worker would run it, and lose it.
    """
    recorder.due = 100
    one = worker(0)
    [claiming] = await begin(polls, recorder, one)
    claiming.cancel()
    await asyncio.sleep(0)

    withdrawing = asyncio.create_task(polls.end_poll_and_await_claims(one))
    await asyncio.sleep(0)
    assert not withdrawing.done()
    recorder.release.set()
    await withdrawing

    assert [(0, OutcomeCode.RELEASED)] * 2 == [recorder.released.get_nowait() for _ in range(2)]


async def test_a_poll_that_waits_for_steps_ends_when_its_worker_resumes(
    polls: LongPolls, recorder: Recorder
) -> None:
    """Its connection is lost, though the server has not seen that yet."""
    one = worker(0)
    [claiming] = await begin(polls, recorder, one)
    recorder.release.set()
    await eventually(lambda: not one.claims_in_progress)

    await polls.end_poll_and_await_claims(one)

    assert [] == list(await claiming)


async def test_a_drained_worker_is_answered_and_claims_nothing(
    polls: LongPolls, recorder: Recorder
) -> None:
    recorder.due = 100
    drained = worker(1)
    claiming = await begin(polls, recorder, worker(0), drained, worker(2))

    drained.quiet = True
    recorder.release.set()

    assert [2, 0, 2] == [len(claims) for claims in await asyncio.gather(*claiming)]
    assert [[0], [2]] == recorder.claims
