"""Signals and broadcasts: none is missed, and each is received once."""

import asyncio
from datetime import timedelta

import pytest

from tasker import codec
from tasker.durable import DurableCallKind
from tasker.errors import NotFound, WrongStatus
from tasker.model import (
    AttemptOutcome,
    Claim,
    Json,
    StepCounts,
    StepStatus,
    TaskId,
    TaskStatus,
    WaitKind,
    released_outcome,
)
from tasker.store.protocol import Store
from tasker.testing.store_suite.factories import (
    ACT,
    UNKNOWN_TASK,
    ManualWorker,
    StoreTests,
    create_task,
    make_template,
    one_step_template,
    only_step_status,
    register_and_create_task,
    register_template,
)
from tasker.testing.store_suite.spawning import (
    create_task_and_claim_spawner,
    make_instances,
    map_template,
)
from tasker.testing.store_suite.subject import StoreUnderTest
from tasker.waits import (
    Arrival,
    AwaitedArrival,
    NewBroadcast,
    NewSignal,
    NewWait,
    TooManyBroadcasts,
    TooManySignals,
    decode_arrival,
)

DAY = timedelta(days=1)


def make_arrival_wait(
    *awaited: AwaitedArrival | str, call: str = "wait", timeout: float | None = None
) -> NewWait:
    """Make a wait for signals, given by name, or for other arrivals."""
    all_awaited = [
        AwaitedArrival(WaitKind.SIGNAL, each) if isinstance(each, str) else each for each in awaited
    ]
    return NewWait(call, DurableCallKind.WAIT_ANY, all_awaited, timeout)


def make_awaited_broadcast(name: str, key: str, *, after: int = 0) -> AwaitedArrival:
    """Make an awaited arrival of a broadcast."""
    return AwaitedArrival(WaitKind.BROADCAST, name, key, "suite", after)


def make_signal(
    task_id: TaskId, name: str, payload: Json = None, id: str | None = None
) -> NewSignal:
    """Make a signal."""
    return NewSignal(task_id, name, codec.dumps(payload), id)


def make_broadcast(
    name: str, key: str, payload: Json = None, id: str | None = None
) -> NewBroadcast:
    """Make a broadcast in the namespace of the suite."""
    return NewBroadcast("suite", name, key, codec.dumps(payload), id)


async def read_arrivals(store: Store, claim: Claim) -> dict[str, Arrival]:
    """Read the arrivals that a step has received, by the name of the durable call."""
    calls = await store.load_durable_calls(claim)
    return {call.name: decode_arrival(call.value) for call in calls if call.value is not None}


async def create_waiting_task(
    store: Store, *awaited: AwaitedArrival | str, **options: object
) -> TaskId:
    """Create a task whose step waits, and return its id."""
    task_id = await register_and_create_task(store, one_step_template())
    worker = await ManualWorker.register(store)
    claim = next(claim for claim in await worker.claim() if claim.task_id == task_id)
    assert await store.park_for_arrival(claim, make_arrival_wait(*awaited, **options))  # type: ignore[arg-type]
    return task_id


class TestSignals(StoreTests):
    async def test_a_signal_wakes_the_step_that_waits_for_it(self, store: Store) -> None:
        """Its payload is the value of the durable call."""
        task_id = await create_waiting_task(store, "paid")
        worker = await ManualWorker.register(store)
        assert [] == await worker.claim()
        assert StepStatus.WAITING is await only_step_status(store, task_id)

        sent = await store.send_signal(make_signal(task_id, "paid", {"cents": 5}), ACT)

        assert (True, "only") == (sent.created, sent.step)
        again = await worker.claim_one()
        assert (2, 1) == again[2:4]
        (arrival,) = (await read_arrivals(store, again)).values()
        assert ("paid", {"cents": 5}, "alice") == (arrival.name, arrival.payload, arrival.sent_by)
        assert arrival.sent_at is not None

    async def test_a_signal_names_the_instance_that_receives_it(self, store: Store) -> None:
        worker, spawner = await create_task_and_claim_spawner(store, map_template())
        await store.spawn_instances(spawner, make_instances(["1", "2"]))
        _, second = sorted(await worker.claim(), key=lambda claim: claim.no)
        assert await store.park_for_arrival(second, make_arrival_wait("paid"))

        sent = await store.send_signal(make_signal(second.task_id, "paid"), ACT)

        assert "work[1]" == sent.step

    async def test_a_signal_may_arrive_before_its_wait(self, store: Store) -> None:
        """The wait receives it without parking, or parks and is due immediately."""
        task_id = await register_and_create_task(store, make_template("two", a="", b=""))
        worker = await ManualWorker.register(store)
        first, second = sorted(await worker.claim(), key=lambda claim: claim.no)
        assert await store.receive_arrival(first, make_arrival_wait("paid")) is None
        for number in (1, 2):
            sent = await store.send_signal(make_signal(task_id, "paid", number), ACT)
            assert sent.step is None

        received = await store.receive_arrival(first, make_arrival_wait("paid"))
        parked = await store.park_for_arrival(second, make_arrival_wait("paid"))

        assert received is not None
        assert (1, True) == (decode_arrival(received.value).payload, parked)  # type: ignore[arg-type]
        again = await worker.claim_one()
        assert second.no == again.no
        assert 2 == (await read_arrivals(store, again))["wait"].payload

    async def test_a_signal_is_received_once_and_in_order(self, store: Store) -> None:
        """The waits of one step receive the signals one after the other."""
        task_id = await register_and_create_task(store, one_step_template())
        claim = await (await ManualWorker.register(store)).claim_one()
        for number in range(3):
            await store.send_signal(make_signal(task_id, "n", number), ACT)

        for number in range(4):
            await store.receive_arrival(claim, make_arrival_wait("n", call=f"wait-{number}"))

        received = await read_arrivals(store, claim)
        assert {f"wait-{number}": number for number in range(3)} == {
            name: arrival.payload for name, arrival in received.items()
        }

    async def test_a_signal_goes_to_the_first_of_several_waiting_steps(self, store: Store) -> None:
        task_id = await register_and_create_task(store, make_template("two", a="", b=""))
        worker = await ManualWorker.register(store)
        for claim in await worker.claim():
            await store.park_for_arrival(claim, make_arrival_wait("paid"))

        steps = [
            (await store.send_signal(make_signal(task_id, "paid"), ACT)).step for _ in range(3)
        ]

        assert ["a", "b", None] == steps

    async def test_the_first_of_several_signals_ends_the_wait(self, store: Store) -> None:
        """The others stay for later waits."""
        task_id = await create_waiting_task(store, "paid", "cancelled")
        await store.send_signal(make_signal(task_id, "cancelled"), ACT)

        sent = await store.send_signal(make_signal(task_id, "paid"), ACT)

        assert sent.step is None
        claim = await (await ManualWorker.register(store)).claim_one()
        assert "cancelled" == (await read_arrivals(store, claim))["wait"].name
        received = await store.receive_arrival(
            claim, make_arrival_wait("cancelled", "paid", call="next")
        )
        assert received is not None
        assert "paid" == decode_arrival(received.value).name  # type: ignore[arg-type]

    async def test_a_wait_receives_the_oldest_signal_that_it_matches(
        self, store: Store, subject: StoreUnderTest
    ) -> None:
        task_id = await register_and_create_task(store, one_step_template())
        claim = await (await ManualWorker.register(store)).claim_one()
        await store.send_signal(make_signal(task_id, "b"), ACT)
        await subject.advance(timedelta(seconds=1))
        await store.send_signal(make_signal(task_id, "a"), ACT)

        await store.receive_arrival(claim, make_arrival_wait("a", "b"))

        assert "b" == (await read_arrivals(store, claim))["wait"].name

    async def test_two_signals_with_the_same_id_are_one_signal(self, store: Store) -> None:
        """This also holds after the task has ended; ids are separate for each name and task."""
        task_id, other = (
            await register_and_create_task(store, one_step_template()),
            await register_and_create_task(store, one_step_template()),
        )
        sent = [
            await store.send_signal(make_signal(task_id, "paid", 1, "e-1"), ACT),
            await store.send_signal(make_signal(task_id, "paid", 2, "e-1"), ACT),
            await store.send_signal(make_signal(task_id, "sent", 1, "e-1"), ACT),
            await store.send_signal(make_signal(other, "paid", 1, "e-1"), ACT),
        ]
        await store.cancel_task(task_id, ACT)
        sent.append(await store.send_signal(make_signal(task_id, "paid", 3, "e-1"), ACT))

        assert [True, False, True, True, False] == [each.created for each in sent]

    async def test_an_attempt_that_lost_its_claim_receives_nothing(self, store: Store) -> None:
        """Nor can it park the step; the signal is kept for the next attempt."""
        task_id = await register_and_create_task(store, one_step_template())
        worker = await ManualWorker.register(store)
        lost = await worker.claim_one()
        await worker.settle(released_outcome(lost))
        held = await worker.claim_one()
        await store.send_signal(make_signal(task_id, "paid"), ACT)

        assert await store.receive_arrival(lost, make_arrival_wait("paid")) is None
        assert not await store.park_for_arrival(lost, make_arrival_wait("other"))

        assert await store.receive_arrival(held, make_arrival_wait("paid")) is not None

    async def test_a_signal_that_an_attempt_received_is_kept_for_the_next(
        self, store: Store
    ) -> None:
        """This holds although the first attempt was released."""
        task_id = await register_and_create_task(store, one_step_template())
        worker = await ManualWorker.register(store)
        claim = await worker.claim_one()
        await store.send_signal(make_signal(task_id, "paid", 7), ACT)
        await store.receive_arrival(claim, make_arrival_wait("paid"))

        await worker.settle(released_outcome(claim))

        again = await worker.claim_one()
        assert 7 == (await read_arrivals(store, again))["wait"].payload

    async def test_a_fresh_retry_receives_the_signals_again(self, store: Store) -> None:
        task_id = await register_and_create_task(store, one_step_template())
        worker = await ManualWorker.register(store)
        claim = await worker.claim_one()
        await store.send_signal(make_signal(task_id, "paid", 7), ACT)
        await store.receive_arrival(claim, make_arrival_wait("paid"))
        await worker.fail(claim)

        await store.retry_steps(task_id, ACT, fresh=True)

        again = await worker.claim_one()
        assert {} == await read_arrivals(store, again)
        await store.receive_arrival(again, make_arrival_wait("paid"))
        assert 7 == (await read_arrivals(store, again))["wait"].payload

    async def test_a_signal_to_a_task_that_ended_is_rejected(self, store: Store) -> None:
        task_id = await create_waiting_task(store, "paid")
        await store.cancel_task(task_id, ACT)

        with pytest.raises(WrongStatus, match=r"cannot signal task .*: it is cancelled"):
            await store.send_signal(make_signal(task_id, "paid"), ACT)
        with pytest.raises(NotFound):
            await store.send_signal(make_signal(UNKNOWN_TASK, "paid"), ACT)

    async def test_signals_beyond_the_limit_are_rejected(
        self, store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Signals that a step has received do not count."""
        monkeypatch.setattr("tasker.store.operations.waits.UNTAKEN_SIGNALS", 3)
        task_id = await register_and_create_task(store, one_step_template())
        claim = await (await ManualWorker.register(store)).claim_one()
        for _ in range(3):
            await store.send_signal(make_signal(task_id, "n"), ACT)

        with pytest.raises(TooManySignals, match="1,000 signals"):
            await store.send_signal(make_signal(task_id, "n"), ACT)

        await store.receive_arrival(claim, make_arrival_wait("n"))
        await store.send_signal(make_signal(task_id, "n"), ACT)

    async def test_a_signal_is_audited(self, store: Store) -> None:
        task_id = await create_waiting_task(store, "paid")

        await store.send_signal(make_signal(task_id, "paid"), ACT)

        (entry,) = await store.list_audit_entries(task_id)
        assert ("only", "signal", "alice", "because") == (
            entry.step,
            entry.action,
            entry.actor,
            entry.reason,
        )

    async def test_a_wait_never_misses_a_concurrent_signal(self, stores: list[Store]) -> None:
        """Each signal is received by exactly one wait, whatever the order."""
        template = await register_template(stores[0], make_template("two", a="", b=""))
        worker = await ManualWorker.register(stores[0])
        for _ in range(10):
            task_id = await create_task(stores[0], template)
            claims = await worker.claim()

            await asyncio.gather(
                *(
                    stores[number % 3].park_for_arrival(claim, make_arrival_wait("n"))
                    for number, claim in enumerate(claims)
                ),
                *(
                    stores[number % 3].send_signal(make_signal(task_id, "n", number), ACT)
                    for number in range(2)
                ),
            )

            again = await worker.claim()
            received = [(await read_arrivals(stores[0], claim))["wait"].payload for claim in again]
            assert [0, 1] == sorted(received)
            await worker.complete(*again)


class TestWaiting(StoreTests):
    async def test_a_waiting_step_holds_no_worker(self, store: Store) -> None:
        task_id = await create_waiting_task(store, "paid")

        task = await store.get_task(task_id)
        assert (TaskStatus.IN_PROGRESS, StepCounts(waiting=1)) == (task.status, task.counts)
        (attempt,) = await store.list_attempts(task_id)
        assert AttemptOutcome.PARKED is attempt.outcome

    async def test_a_wait_ends_at_its_timeout(self, store: Store, subject: StoreUnderTest) -> None:
        """It ends once; a later signal is kept for later waits."""
        task_id = await create_waiting_task(
            store, "paid", make_awaited_broadcast("paid", "k"), timeout=100.0
        )
        assert 0 == await store.end_timed_out_waits(10)
        await subject.advance(timedelta(seconds=101))

        await store.end_timed_out_waits(10)

        assert 0 == await store.end_timed_out_waits(10)
        sent = await store.send_signal(make_signal(task_id, "paid"), ACT)
        assert sent.step is None
        claim = await (await ManualWorker.register(store)).claim_one()
        assert (await read_arrivals(store, claim))["wait"].timed_out

    async def test_a_signal_before_the_timeout_wins(
        self, store: Store, subject: StoreUnderTest
    ) -> None:
        task_id = await create_waiting_task(store, "paid", timeout=100.0)
        await store.send_signal(make_signal(task_id, "paid"), ACT)
        await subject.advance(timedelta(seconds=101))

        assert 0 == await store.end_timed_out_waits(10)

        claim = await (await ManualWorker.register(store)).claim_one()
        assert "paid" == (await read_arrivals(store, claim))["wait"].name

    async def test_a_concurrent_timeout_and_signal_end_a_wait_once(
        self, stores: list[Store], subject: StoreUnderTest
    ) -> None:
        for _ in range(5):
            task_id = await create_waiting_task(stores[0], "paid", timeout=1.0)
            await subject.advance(timedelta(seconds=2))

            _, sent, _ = await asyncio.gather(
                stores[0].end_timed_out_waits(10),
                stores[1].send_signal(make_signal(task_id, "paid"), ACT),
                stores[2].end_timed_out_waits(10),
            )

            worker = await ManualWorker.register(stores[0])
            claim = await worker.claim_one()
            arrival = (await read_arrivals(stores[0], claim))["wait"]
            assert (sent.step is None) == arrival.timed_out
            await worker.complete(claim)

    async def test_an_operator_can_end_a_wait(self, store: Store, subject: StoreUnderTest) -> None:
        """Cancelling the task or resolving the step ends the wait."""
        cancelled, resolved = [
            await create_waiting_task(store, "paid", timeout=100.0) for _ in range(2)
        ]

        await store.cancel_task(cancelled, ACT)
        await store.resolve_step(resolved, 1, None, ACT)

        await subject.advance(timedelta(seconds=101))
        assert 0 == await store.end_timed_out_waits(10)
        assert TaskStatus.COMPLETE is (await store.get_task(resolved)).status

    async def test_the_deadline_of_a_task_ends_its_waits(
        self, store: Store, subject: StoreUnderTest
    ) -> None:
        await register_and_create_task(store, one_step_template(), deadline=timedelta(seconds=10))
        claim = await (await ManualWorker.register(store)).claim_one()
        await store.park_for_arrival(claim, make_arrival_wait("paid", timeout=100.0))
        await subject.advance(timedelta(seconds=11))

        ended = await store.end_overdue_and_failed_tasks()

        assert [claim.task_id] == [end.task_id for end in ended]
        await subject.advance(timedelta(seconds=100))
        assert 0 == await store.end_timed_out_waits(10)

    async def test_a_waiting_step_of_a_paused_task_continues_when_the_task_is_resumed(
        self, store: Store
    ) -> None:
        from tasker.model import PauseTarget

        task_id = await create_waiting_task(store, "paid")
        await store.pause(PauseTarget.of_task(task_id), ACT)

        await store.send_signal(make_signal(task_id, "paid"), ACT)

        worker = await ManualWorker.register(store)
        assert [] == await worker.claim()
        await store.resume(PauseTarget.of_task(task_id), ACT)
        assert task_id == (await worker.claim_one()).task_id


class TestBroadcasts(StoreTests):
    async def test_a_broadcast_wakes_all_steps_that_wait_for_it(
        self, store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Name, key and namespace must match."""
        monkeypatch.setattr("tasker.store.operations.waits.PAGE", 4)
        same = [
            await create_waiting_task(store, make_awaited_broadcast("rate", "eur"))
            for _ in range(10)
        ]
        other = [
            await create_waiting_task(store, make_awaited_broadcast("rate", "usd")),
            await create_waiting_task(
                store, AwaitedArrival(WaitKind.BROADCAST, "rate", "eur", "elsewhere")
            ),
        ]

        sent = await store.send_broadcast(make_broadcast("rate", "eur", 1.1), "bank")

        assert (True, 10) == (sent.created, sent.steps)
        worker = await ManualWorker.register(store)
        claims = await worker.claim()
        assert set(same) == {claim.task_id for claim in claims}
        arrival = (await read_arrivals(store, claims[0]))["wait"]
        assert ("rate", "eur", 1.1, "bank") == (
            arrival.name,
            arrival.key,
            arrival.payload,
            arrival.sent_by,
        )
        assert {StepStatus.WAITING} == {await only_step_status(store, task_id) for task_id in other}

    async def test_a_wait_receives_broadcasts_sent_since_its_task_was_created(
        self, store: Store, subject: StoreUnderTest
    ) -> None:
        """Each is received once and in order."""
        await store.send_broadcast(make_broadcast("rate", "eur", "before"), "bank")
        await subject.advance(timedelta(seconds=1))
        await register_and_create_task(store, one_step_template())
        claim = await (await ManualWorker.register(store)).claim_one()
        for number in range(2):
            await store.send_broadcast(make_broadcast("rate", "eur", number), "bank")

        received: list[object] = []
        after = 0
        while True:
            wait = make_arrival_wait(
                make_awaited_broadcast("rate", "eur", after=after), call=f"wait-{len(received)}"
            )
            call = await store.receive_arrival(claim, wait)
            if call is None:
                break
            arrival = decode_arrival(call.value)  # type: ignore[arg-type]
            received.append(arrival.payload)
            after = arrival.number

        assert [0, 1] == received

    async def test_two_broadcasts_with_the_same_id_are_one_broadcast(self, store: Store) -> None:
        sent = [
            await store.send_broadcast(make_broadcast("rate", "eur", 1, "e-1"), "bank")
            for _ in range(2)
        ]

        assert [True, False] == [each.created for each in sent]

    async def test_an_interrupted_broadcast_is_completed(
        self, store: Store, subject: StoreUnderTest, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Either a repeated broadcast or a janitor completes it."""
        from tasker.store.operations.waits import Waits

        async def raise_connection_error(*_: object) -> int:
            raise ConnectionError("killed")

        for repeated in (True, False):
            task_id = await create_waiting_task(
                store, make_awaited_broadcast("rate", str(repeated))
            )
            with monkeypatch.context() as patch:
                patch.setattr(Waits, "_deliver_broadcast", raise_connection_error)
                with pytest.raises(ConnectionError):
                    await store.send_broadcast(
                        make_broadcast("rate", str(repeated), 1, "e-1"), "bank"
                    )
            if repeated:
                await store.send_broadcast(make_broadcast("rate", str(repeated), 1, "e-1"), "bank")
            else:
                assert 0 == await store.complete_interrupted_broadcasts(10)
                await subject.advance(timedelta(seconds=10))
                assert 1 == await store.complete_interrupted_broadcasts(10)
                assert 0 == await store.complete_interrupted_broadcasts(10)

            claim = await (await ManualWorker.register(store)).claim_one()
            assert task_id == claim.task_id

    async def test_broadcasts_are_kept_for_a_week(
        self, store: Store, subject: StoreUnderTest
    ) -> None:
        await store.send_broadcast(make_broadcast("rate", "eur", 1, "e-1"), "bank")
        await subject.advance(DAY * 6)
        assert 0 == await store.prune_broadcasts(10)
        await subject.advance(DAY * 2)

        assert 1 == await store.prune_broadcasts(10)

        assert (await store.send_broadcast(make_broadcast("rate", "eur", 1, "e-1"), "bank")).created

    async def test_broadcasts_beyond_the_limit_are_rejected(
        self, store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The limit applies to each name and key."""
        monkeypatch.setattr("tasker.store.operations.waits.BROADCASTS", 3)
        for _ in range(3):
            await store.send_broadcast(make_broadcast("rate", "eur"), "bank")

        with pytest.raises(TooManyBroadcasts, match="1,000 broadcasts 'rate' with the key 'eur'"):
            await store.send_broadcast(make_broadcast("rate", "eur"), "bank")

        await store.send_broadcast(make_broadcast("rate", "usd"), "bank")

    async def test_a_wait_never_misses_a_concurrent_broadcast(self, stores: list[Store]) -> None:
        template = await register_template(stores[0], one_step_template())
        worker = await ManualWorker.register(stores[0])
        for number in range(10):
            for _ in range(3):
                await create_task(stores[0], template)
            claims = await worker.claim()
            awaited = make_awaited_broadcast("rate", str(number))

            await asyncio.gather(
                *(
                    store.park_for_arrival(claim, make_arrival_wait(awaited))
                    for store, claim in zip(stores, claims, strict=True)
                ),
                stores[1].send_broadcast(make_broadcast("rate", str(number)), "bank"),
            )

            again = await worker.claim()
            assert {claim.task_id for claim in claims} == {claim.task_id for claim in again}
            await worker.complete(*again)
