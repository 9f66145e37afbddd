"""Workers, their leases, and what happens to the claims of dead workers."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from tasker.errors import LeaseLost, NotFound
from tasker.model import (
    JsonText,
    RemoteWorker,
    StepSpec,
    WorkerId,
    WorkerRegistration,
    lost_outcome,
    retry_outcome,
)
from tasker.store.protocol import Store
from tasker.testing.store_suite.factories import (
    ACT,
    ERROR,
    LEASE,
    SECOND,
    ManualWorker,
    StoreTests,
    chain_template,
    create_task,
    make_new_task,
    make_template,
    one_step_template,
    register_and_create_task,
    register_template,
)
from tasker.testing.store_suite.subject import StoreUnderTest


class TestLeases(StoreTests):
    async def test_a_renewed_lease_stays_valid(self, store: Store, subject: StoreUnderTest) -> None:
        await register_and_create_task(store, one_step_template())
        worker = await ManualWorker.register(store)
        claim = await worker.claim_one()
        for _ in range(5):
            await subject.advance(SECOND * 20)
            assert [] == await store.renew_lease(worker.id, [claim], lease=LEASE)

        assert [] == await store.list_expired_attempts(10)
        assert [] == list((await worker.complete(claim)).rejected)

    async def test_an_expired_lease_cannot_be_renewed(
        self, store: Store, subject: StoreUnderTest
    ) -> None:
        """A worker that renews too late gets an error."""
        worker = await ManualWorker.register(store)
        await subject.advance(SECOND * 31)

        with pytest.raises(LeaseLost):
            await store.renew_lease(worker.id, [], lease=LEASE)

    async def test_leases_of_several_workers_are_renewed_together(
        self, store: Store, subject: StoreUnderTest
    ) -> None:
        """Each result lists revoked claims of its worker; expired workers get no result."""
        template = await register_template(store, one_step_template())
        for _ in range(2):
            await create_task(store, template)
        late = await ManualWorker.register(store)
        await subject.advance(SECOND * 20)
        worker, other, idle = [await ManualWorker.register(store) for _ in range(3)]
        mine, theirs = [(await each.claim(1))[0] for each in (worker, other)]
        await other.complete(theirs)
        await store.drain_worker(idle.id, ACT)
        await subject.advance(SECOND * 15)
        held = {worker.id: [mine], late.id: [mine], other.id: [theirs, mine], idle.id: []}

        renewed = await store.renew_leases(held, lease=LEASE)

        assert {
            worker.id: ([], False),
            other.id: ([theirs, mine], False),
            idle.id: ([], True),
        } == {worker_id: (list(each.revoked), each.quiet) for worker_id, each in renewed.items()}
        await subject.advance(SECOND * 20)
        assert {idle.id} == set(await store.renew_leases({idle.id: (), late.id: ()}, lease=LEASE))

    async def test_an_unknown_worker_has_no_lease(self, store: Store) -> None:
        """The database may have been recreated since the worker registered."""
        with pytest.raises(LeaseLost):
            await store.renew_lease(WorkerId(4711), [], lease=LEASE)

    async def test_a_remote_worker_is_read_as_it_was_registered(
        self, store: Store, subject: StoreUnderTest
    ) -> None:
        """A native worker is not found; all processes share the keys that sign tickets."""
        registered = JsonText('{"handlers":[]}')
        process = WorkerRegistration(principal="key of shop")
        remote = await store.register_worker(
            "w", lease=LEASE, slots=3, handlers=["pay"], process=process, registration=registered
        )
        native = await ManualWorker.register(store)

        await store.drain_worker(remote, ACT)
        assert RemoteWorker(
            remote, 3, "key of shop", registered, quiet=True, alive=True
        ) == await store.find_remote_worker(remote)
        assert await store.find_remote_worker(native.id) is None
        read = await asyncio.gather(*(store.find_or_add_ticket_signing_keys() for _ in range(8)))
        [key] = read[0]  # the first read makes it, once
        assert len(key) >= 32
        assert read == [[key]] * 8
        await subject.advance(SECOND * 31)
        with pytest.raises(NotFound):
            await store.drain_worker(remote, ACT)
        expired = await store.find_remote_worker(remote)
        assert expired is not None
        assert not expired.alive

    async def test_a_drained_worker_claims_nothing_and_keeps_what_runs(self, store: Store) -> None:
        """It claims neither due steps nor steps that it frees, not even from queues added later."""
        await register_and_create_task(store, chain_template())
        worker = await ManualWorker.register(store)
        claim = await worker.claim_one()
        await register_and_create_task(store, one_step_template())

        await store.drain_worker(worker.id, ACT)

        assert [claim] == await store.list_held_claims(worker.id)
        assert [] == list((await worker.complete(claim)).claims)
        await store.add_served_queues(
            worker.id, [queue.base for queue in await store.list_queues()]
        )
        assert [] == await worker.claim()
        assert 2 == len(await (await ManualWorker.register(store)).claim())
        audit = [event for event in await store.list_team_audit() if event.action == "drain_worker"]
        assert [("alice", f"worker {worker.id}")] == [(one.actor, one.subject) for one in audit]

    async def test_a_step_that_its_worker_claims_again_is_held_only_once(
        self, store: Store, subject: StoreUnderTest
    ) -> None:
        """Another step of the worker's first claim is still in progress."""
        template = await register_template(store, one_step_template())
        for _ in range(2):
            await create_task(store, template)
        worker = await ManualWorker.register(store)
        first, other = await worker.claim()
        await worker.fail_with_retry(first)
        again = await worker.claim_one()

        held = await store.list_held_claims(worker.id)
        (info,) = await store.list_workers()
        await subject.advance(SECOND * 31)
        expired = await store.list_expired_attempts(10)

        assert sorted([other.attempt_key, again.attempt_key]) == sorted(
            claim.attempt_key for claim in held
        )
        assert sorted([other.attempt_key, again.attempt_key]) == sorted(
            each.claim.attempt_key for each in expired
        )
        assert 2 == info.running

    async def test_the_steps_of_an_expired_worker_are_listed(
        self, store: Store, subject: StoreUnderTest
    ) -> None:
        """They are listed with the inputs of the retry decision: template, attempts, worker."""
        template = await register_template(store, one_step_template())
        task_id = await create_task(store, template)
        worker = await ManualWorker.register(store, "sleeper")
        await worker.fail_with_retry(await worker.claim_one())
        await worker.settle(lost_outcome(await worker.claim_one(), ERROR, timedelta(0)))
        claim = await worker.claim_one()
        await store.store_checkpoint(claim, JsonText("7"))
        healthy = await store.list_expired_attempts(10)
        await subject.advance(SECOND * 31)

        (expired,) = await store.list_expired_attempts(10)

        assert [] == healthy
        assert (task_id, 1, 3, 2) == expired.claim[:4]
        assert (template, "sleeper", 1, 1) == expired[1:]

    async def test_steps_of_live_workers_are_not_listed_as_expired(
        self, store: Store, subject: StoreUnderTest
    ) -> None:
        """The expiry of one worker does not affect the others."""
        await register_and_create_task(store, make_template("pair", a="", b=""))
        sleeper = await ManualWorker.register(store, "sleeper", handlers={"a"})
        awake = await ManualWorker.register(store, "awake", handlers={"b"}, lease=SECOND * 300)
        await sleeper.claim_one(), await awake.claim_one()
        await subject.advance(SECOND * 60)

        assert ["sleeper"] == [expired.worker for expired in await store.list_expired_attempts(10)]

    async def test_no_more_expired_attempts_are_listed_than_requested(
        self, store: Store, subject: StoreUnderTest
    ) -> None:
        """Janitors work in batches."""
        template = await register_template(store, one_step_template())
        await store.create_tasks([make_new_task(template) for _ in range(7)])
        await (await ManualWorker.register(store)).claim()
        await subject.advance(SECOND * 31)

        assert [5, 7] == [len(await store.list_expired_attempts(limit)) for limit in (5, 50)]

    async def test_attempts_that_expired_long_ago_are_listed(
        self, store: Store, subject: StoreUnderTest
    ) -> None:
        """Attempts of a long outage are retried, even months later."""
        task_id = await register_and_create_task(store, one_step_template())
        await (await ManualWorker.register(store)).claim_one()
        await subject.advance(timedelta(days=200))

        assert [task_id] == [
            expired.claim.task_id for expired in await store.list_expired_attempts(10)
        ]

    async def test_a_lost_lease_cannot_settle(self, store: Store, subject: StoreUnderTest) -> None:
        """Once another worker has claimed the step, a late outcome is rejected."""
        await register_and_create_task(store, one_step_template())
        slow = await ManualWorker.register(store, "slow")
        late = await slow.claim_one()
        await subject.advance(SECOND * 31)
        quick = await ManualWorker.register(store, "quick")
        (expired,) = await store.list_expired_attempts(10)
        await quick.settle(lost_outcome(expired.claim, ERROR, SECOND * 0))
        claim = await quick.claim_one()

        assert [0] == list((await slow.complete(late)).rejected)
        assert [] == await store.list_expired_attempts(10)
        assert [] == list((await quick.complete(claim)).rejected)
        assert late.attempt + 1 == claim.attempt

    async def test_concurrent_janitors_settle_a_lost_attempt_once(
        self, stores: list[Store], subject: StoreUnderTest
    ) -> None:
        """Every worker has a janitor; the fence accepts the outcome of one of them."""
        template = await register_template(stores[0], one_step_template())
        await stores[0].create_tasks([make_new_task(template) for _ in range(20)])
        await (await ManualWorker.register(stores[0])).claim()
        await subject.advance(SECOND * 31)
        workers = [await ManualWorker.register(store) for store in stores]

        async def settle_expired_attempts(worker: ManualWorker) -> int:
            expired = await worker.store.list_expired_attempts(100)
            settled = await worker.settle(
                *(lost_outcome(each.claim, ERROR, SECOND * 0) for each in expired)
            )
            return len(expired) - len(settled.rejected)

        assert 20 == sum(await asyncio.gather(*map(settle_expired_attempts, workers)))
        assert {2} == {claim.attempt for claim in await workers[0].claim()}

    async def test_claims_of_a_retired_worker_expire_at_once(self, store: Store) -> None:
        """They expire before the lease would have expired."""
        await register_and_create_task(store, one_step_template())
        worker = await ManualWorker.register(store, "leaver")
        claim = await worker.claim_one()

        await store.retire_worker(worker.id)

        assert [claim] == [expired.claim for expired in await store.list_expired_attempts(10)]
        with pytest.raises(LeaseLost):
            await store.renew_lease(worker.id, [claim], lease=LEASE)

    async def test_the_held_claims_of_a_worker_are_listed(self, store: Store) -> None:
        """A worker compares the list with its own after a lost reply."""
        template = await register_template(store, one_step_template())
        await store.create_tasks([make_new_task(template) for _ in range(3)])
        worker, other = await ManualWorker.register(store), await ManualWorker.register(store)
        first, second = await worker.claim(2)
        await other.claim_one()
        await store.store_checkpoint(second, JsonText("1"))

        held = await store.list_held_claims(worker.id)

        assert {first, second._replace(checkpoint=JsonText("1"))} == set(held)
        await worker.complete(first)
        assert [second[:3]] == [claim[:3] for claim in await store.list_held_claims(worker.id)]


class TestRevokedClaims(StoreTests):
    async def test_cancelling_a_task_revokes_its_claims(self, store: Store) -> None:
        """A renewal returns the revoked claims and keeps the others."""
        template = await register_template(store, one_step_template())
        cancelled, kept = await create_task(store, template), await create_task(store, template)
        worker = await ManualWorker.register(store)
        claims = {claim.task_id: claim for claim in await worker.claim()}
        held = list(claims.values())
        await store.cancel_task(cancelled, ACT)

        gone = await store.renew_lease(worker.id, held, lease=LEASE)

        assert [claims[cancelled]] == gone
        assert [claims[kept]] == await store.list_held_claims(worker.id)

    async def test_resolving_a_step_revokes_its_claim(self, store: Store) -> None:
        task_id = await register_and_create_task(store, one_step_template())
        worker = await ManualWorker.register(store)
        claim = await worker.claim_one()
        await store.resolve_step(task_id, 1, None, ACT)

        assert [claim] == await store.renew_lease(worker.id, [claim], lease=LEASE)

    async def test_renewal_returns_claims_that_are_settled_or_held_by_others(
        self, store: Store, subject: StoreUnderTest
    ) -> None:
        """A worker holds the attempt that it claimed, not later attempts of the step."""
        await register_and_create_task(store, chain_template())
        worker, other = await ManualWorker.register(store), await ManualWorker.register(store)
        claim = await worker.claim_one()
        await worker.fail_with_retry(claim)
        theirs = await other.claim_one()

        assert [claim] == await store.renew_lease(worker.id, [claim], lease=LEASE)
        assert [theirs] == await store.renew_lease(worker.id, [theirs], lease=LEASE)
        assert [] == await store.renew_lease(other.id, [theirs], lease=LEASE)
        assert [] == await store.renew_lease(worker.id, [], lease=LEASE)
        await other.fail_with_retry(theirs)
        again = await other.claim_one()
        assert [theirs] == await store.renew_lease(other.id, [theirs, again], lease=LEASE)


class TestWorkerList(StoreTests):
    async def test_workers_are_listed_with_their_running_attempts(self, store: Store) -> None:
        """They are listed newest first."""
        await register_and_create_task(store, make_template("pair", a="", b=""))
        await ManualWorker.register(store, "first")
        worker = await store.register_worker("second", lease=LEASE, slots=7, handlers=["a", "b's"])
        await store.add_served_queues(worker, [queue.base for queue in await store.list_queues()])
        await store.claim(worker, 10)

        second, first = await store.list_workers()

        assert ("second", "first") == (second.name, first.name)
        assert (worker, True, 2, 7, ("a", "b's")) == (
            second.id,
            second.alive,
            second.running,
            second.slots,
            second.handlers,
        )
        assert LEASE == second.lease_until - second.started_at
        assert 0 == first.running

    async def test_a_worker_is_shown_with_what_it_runs_and_serves(self, store: Store) -> None:
        task_id = await register_and_create_task(store, make_template("pair", a="", b=""))
        worker = await ManualWorker.register(store, "first")
        other = await ManualWorker.register(store, "second", handlers=["a"])
        first, last = sorted(await worker.claim(), key=lambda claim: claim.no)
        await worker.complete(last)

        (running,) = await store.worker_steps(worker.id)

        assert (task_id, "suite", "pair", "1.0.0", "a", 1) == (
            *(running.task_id, running.namespace, running.name, running.version),
            *(running.step, running.attempt),
        )
        assert (first.no, []) == (1, await store.worker_steps(other.id))
        assert [("suite", "a", ""), ("suite", "b", "")] == [
            (queue.namespace, queue.handler, queue.requirement)
            for queue in await store.worker_queues(worker.id)
        ]
        assert ["a"] == [queue.handler for queue in await store.worker_queues(other.id)]

    async def test_the_attempts_of_a_worker_are_listed_newest_first(
        self, store: Store, subject: StoreUnderTest
    ) -> None:
        """Ended attempts of the requested namespaces are listed, successful first ones included."""
        pair = await register_and_create_task(store, make_template("pair", a="", b=""))
        worker, other = (
            await ManualWorker.register(store, "first"),
            await ManualWorker.register(store),
        )
        first, second = sorted(await worker.claim(), key=lambda claim: claim.no)
        await worker.complete(first)
        await subject.advance(SECOND)
        busy = JsonText('{"type":"Busy","message":"try again"}')
        await worker.settle(retry_outcome(second, busy, timedelta(0)))
        await other.complete(await other.claim_one())
        await register_and_create_task(store, make_template("pair", a="", b=""))
        await worker.claim()

        attempts = await store.worker_attempts(worker.id)

        assert [
            (pair, "suite", "pair", "1.0.0", "b", 1, "retry"),
            (pair, "suite", "pair", "1.0.0", "a", 1, "complete"),
        ] == [
            (
                *(each.task_id, each.namespace, each.name, each.version),
                *(each.step, each.attempt, each.outcome),
            )
            for each in attempts
        ]
        failed, complete = attempts
        assert ("Busy", None) == (failed.error, complete.error)
        assert complete.claimed_at is not None
        assert complete.claimed_at <= complete.settled_at
        assert [failed] == await store.worker_attempts(worker.id, limit=1)
        assert attempts == await store.worker_attempts(worker.id, namespaces=["suite"])
        assert [] == await store.worker_attempts(worker.id, namespaces=["other"])

    async def test_a_worker_is_listed_with_the_details_of_its_process(self, store: Store) -> None:
        """All details are optional."""
        process = WorkerRegistration(
            host="box-1",
            machine="8f3c",
            pid=4711,
            pid_started=1_234_567_890_123,
            labels={"gpu": "true"},
            build="2.1.0",
            sdk="ruby 0.3",
            principal="payments-worker",
        )
        await store.register_worker("described", lease=LEASE, slots=1, handlers=[], process=process)
        await ManualWorker.register(store)

        silent, described = await store.list_workers()

        assert (WorkerRegistration(), process) == (silent.process, described.process)

    async def test_workers_of_a_machine_are_listed_while_their_lease_is_valid(
        self, store: Store, subject: StoreUnderTest
    ) -> None:
        """Another worker on the machine can then check whether their processes exist."""
        ids = {}
        for name, machine, lease in (
            ("here", "m1", LEASE * 2),
            ("short", "m1", LEASE),
            ("retired", "m1", LEASE * 2),
            ("there", "m2", LEASE * 2),
            ("unknown", "", LEASE * 2),
        ):
            process = WorkerRegistration(machine=machine, pid=7, pid_started=99)
            ids[name] = await store.register_worker(
                name, lease=lease, slots=1, handlers=[], process=process
            )
        await store.retire_worker(ids["retired"])
        before = await store.list_workers_on_machine("m1")
        await subject.advance(LEASE * 1.5)

        assert ["here", "short"] == sorted(worker.name for worker in before)
        assert [(ids["here"], "here", 7, 99)] == await store.list_workers_on_machine("m1")

    async def test_dead_workers_are_listed_for_a_day(
        self, store: Store, subject: StoreUnderTest
    ) -> None:
        """They are listed as not alive."""
        await ManualWorker.register(store, "gone")
        await subject.advance(timedelta(hours=20))
        (gone,) = await store.list_workers()
        await subject.advance(timedelta(hours=5))

        assert not gone.alive
        assert [] == await store.list_workers()

    async def test_two_workers_may_have_the_same_name(self, store: Store) -> None:
        """Names are for people, and ids are not reused."""
        first = await store.register_worker("twin", lease=LEASE, slots=1, handlers=[])
        await store.retire_worker(first)
        second = await store.register_worker("twin", lease=LEASE, slots=1, handlers=[])

        assert first != second
        assert [True, False] == [worker.alive for worker in await store.list_workers()]

    async def test_a_due_step_has_no_worker_until_a_live_one_serves_its_queue(
        self, store: Store, subject: StoreUnderTest
    ) -> None:
        template = await register_template(store, one_step_template())
        task_id = await create_task(store, template)
        await register_template(store, make_template("other", solo=""))

        async def read_no_worker_flag_and_count() -> tuple[bool, int]:
            (step,) = await store.list_steps(task_id)
            return step.no_worker, (await store.get_task(task_id)).counts.no_worker

        worker = await ManualWorker.register(store, serves=False)
        await ManualWorker.register(store, handlers={"solo"})
        nobody = await read_no_worker_flag_and_count()
        await store.add_served_queues(worker.id, worker.queues)
        served = await read_no_worker_flag_and_count()
        await subject.advance(LEASE * 2)
        dead = await read_no_worker_flag_and_count()

        assert [(True, 1), (False, 0), (True, 1)] == [nobody, served, dead]

    async def test_the_no_worker_reason_names_what_live_workers_lack(self, store: Store) -> None:
        """It is the handler, a label, the handler's version, or the binding to the namespace."""
        spec = StepSpec(name="only", requires={"gpu": "true", "zone": "eu"}, handler_version="^2")
        demanding = replace(one_step_template("demanding"), steps=(spec,))
        task_id = await register_and_create_task(store, demanding)
        plain = await register_and_create_task(store, one_step_template())

        async def read_no_worker_reasons() -> list[str | None]:
            tasks = (task_id, plain)
            steps = [step for task in tasks for step in await store.list_steps(task)]
            return [step.no_worker_reason for step in steps]

        async def register_worker(name: str, handler: str, **labels: str) -> None:
            process = WorkerRegistration(labels=labels)
            await store.register_worker(
                name, lease=LEASE, slots=1, handlers=[handler], process=process
            )

        await register_worker("other", "another")
        without_handler = await read_no_worker_reasons()
        await register_worker("plain", "suite.only", zone="eu")
        without_label = await read_no_worker_reasons()
        await register_worker("labelled", "only", zone="eu", gpu="true", more="yes")
        without_version = await read_no_worker_reasons()
        await ManualWorker.register(store)

        unbound = "no live worker with handler 'only' binds it to namespace 'suite'"
        assert ["no live worker has handler 'only'"] * 2 == without_handler
        assert [
            "no live worker with handler 'only' has the required labels gpu=true, zone=eu",
            unbound,
        ] == without_label
        assert ["no live worker has handler 'only' at version ^2", unbound] == without_version
        assert [None, None] == await read_no_worker_reasons()

    async def test_unserved_queues_are_listed_with_the_longest_due_first(
        self, store: Store, subject: StoreUnderTest
    ) -> None:
        """All priorities are included; served queues and steps that became due recently are not."""
        minute = SECOND * 60
        await register_and_create_task(store, make_template("first", first=""), priority=0)
        await subject.advance(SECOND * 30)
        await register_and_create_task(store, make_template("second", second=""), priority=4)
        await register_and_create_task(store, make_template("served", served=""))
        await register_and_create_task(store, make_template("pending", served="", never="served"))
        await subject.advance(SECOND * 50)
        await register_and_create_task(store, make_template("young", young=""))
        await ManualWorker.register(store, handlers={"served"}, lease=minute * 60)
        early = await store.unserved_queues(minute, 10)
        await subject.advance(SECOND * 30)

        late = await store.unserved_queues(minute, 10)

        assert ["first"] == [unserved.queue.handler for unserved in early]
        assert ["first", "second"] == [unserved.queue.handler for unserved in late]
        assert [110, 80] == [round(unserved.seconds, -1) for unserved in late]
        assert "no live worker has handler 'first'" == late[0].reason
        assert late[0].queue in await store.list_queues()
        assert 1 == len(await store.unserved_queues(minute, 1))

    async def test_a_step_that_is_not_due_never_lacks_a_worker(self, store: Store) -> None:
        template = await register_template(store, one_step_template())
        now = (await store.get_task(await create_task(store, template))).created_at
        later = await create_task(store, template, run_at=now + SECOND * 600)

        (step,) = await store.list_steps(later)
        assert (0, False) == ((await store.get_task(later)).counts.no_worker, step.no_worker)

    async def test_open_tasks_are_counted_by_template(self, store: Store) -> None:
        """Ended tasks are not counted, and counting stops at the limit."""
        first, second = (
            await register_template(store, one_step_template()),
            await register_template(store, chain_template()),
        )
        for template in (first, first, second):
            await create_task(store, template)
        ended = await create_task(store, first)
        await store.cancel_task(ended, ACT)

        assert {first: 2, second: 1} == await store.count_open_tasks_by_template(100)
        assert 2 == sum((await store.count_open_tasks_by_template(2)).values())
