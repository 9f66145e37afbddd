"""Reading tasks, steps and history, page by page."""

import asyncio
import re
from collections import Counter
from dataclasses import replace
from datetime import timedelta

import pytest

from tasker.errors import InvalidInput, NotFound
from tasker.model import (
    JsonText,
    StepCounts,
    StepStatus,
    Task,
    TaskFilter,
    TaskId,
    TaskStatus,
    TemplateName,
    failed_outcome,
    lost_outcome,
    retry_outcome,
)
from tasker.store.protocol import Store
from tasker.testing.store_suite.factories import (
    ACT,
    SECOND,
    UNKNOWN_TASK,
    ManualWorker,
    StoreTests,
    chain_template,
    create_and_run_task,
    create_task,
    make_new_task,
    make_template,
    one_step_template,
    register_and_create_task,
    register_template,
)
from tasker.testing.store_suite.subject import StoreUnderTest


async def list_matching_ids(store: Store, **fields: object) -> set[TaskId]:
    """Return the ids of the tasks that match a filter, and check that counting them agrees."""
    filter = TaskFilter(**fields)  # type: ignore[arg-type]
    results = await store.list_tasks(filter, limit=100)
    assert len(results) == len({task.id for task in results})
    if "status" not in fields:
        counted = await store.count_tasks(filter, most=100)
        assert Counter(task.status for task in results) == Counter(counted)
        assert max(counted.values()) >= max((await store.count_tasks(filter, most=1)).values())
    return {task.id for task in results}


class TestReadingTasks(StoreTests):
    async def test_an_unknown_task_is_not_found(self, store: Store) -> None:
        """This holds for all methods and for malformed ids; the error names the id."""
        for task_id in (UNKNOWN_TASK, TaskId("no such task"), TaskId("' or 1=1 --")):
            for read in (
                store.get_task,
                store.list_steps,
                store.list_attempts,
                store.list_audit_entries,
            ):
                with pytest.raises(NotFound, match=re.escape(task_id)):
                    await read(task_id)
        assert {UNKNOWN_TASK} == await store.find_ended_tasks([UNKNOWN_TASK])
        assert [] == await store.load_task_inputs([UNKNOWN_TASK])
        assert [] == await store.load_step_results({UNKNOWN_TASK: [1]})

    async def test_ended_tasks_are_selected_from_ids(self, store: Store) -> None:
        """Complete, failed, cancelled and unknown tasks are selected; open ones are not."""
        complete = (await create_and_run_task(store, one_step_template())).id
        broken = (await create_and_run_task(store, one_step_template(), failing=("only",))).id
        cancelled, still_open = (
            await register_and_create_task(store, one_step_template()),
            await register_and_create_task(store, one_step_template()),
        )
        await store.cancel_task(cancelled, ACT)
        ids = [complete, broken, cancelled, still_open, UNKNOWN_TASK]

        assert {complete, broken, cancelled, UNKNOWN_TASK} == await store.find_ended_tasks(ids)
        assert set() == await store.find_ended_tasks([])
        await store.retry_steps(broken, ACT)
        assert {complete, cancelled, UNKNOWN_TASK} == await store.find_ended_tasks(ids)

    async def test_etags_read_together_equal_those_read_one_by_one(self, store: Store) -> None:
        """Unknown ids are left out."""
        complete = (await create_and_run_task(store, one_step_template())).id
        broken = (await create_and_run_task(store, chain_template(), failing=("b",))).id
        still_open = await register_and_create_task(store, chain_template())
        ids = [complete, broken, still_open, UNKNOWN_TASK]

        before = await store.get_task_etags(ids)
        assert before == {id: (await store.get_task(id)).etag for id in ids[:3]}
        assert 3 == len({*before.values()})
        await store.cancel_task(still_open, ACT)
        after = await store.get_task_etags(ids)
        assert after == {id: (await store.get_task(id)).etag for id in ids[:3]}
        assert {still_open} == {id for id in ids[:3] if after[id] != before[id]}
        assert {} == await store.get_task_etags([])

    async def test_an_id_may_be_in_upper_or_lower_case(self, store: Store) -> None:
        """Users paste ids in either case."""
        task_id = await register_and_create_task(store, one_step_template())
        pasted = TaskId(task_id.upper())

        assert task_id == (await store.get_task(pasted)).id
        assert 1 == len(await store.list_steps(pasted))
        await store.cancel_task(pasted, ACT)
        assert 1 == len(await store.list_audit_entries(task_id))

    @pytest.mark.parametrize("text", ["a\0b", "half \ud800"])
    async def test_a_filter_with_values_that_no_database_accepts_is_rejected(
        self, store: Store, text: str
    ) -> None:
        """The error is the caller's, not the store's."""
        await register_template(store, one_step_template())
        for read in (
            store.list_approved_templates(name=text),
            store.list_approved_templates(namespace=text),
            store.list_template_versions(name=text),
            store.list_approved_versions("n", text),
            store.find_task_by_idempotency_key("n", text),
            store.list_tasks(TaskFilter(tag=text)),
            store.list_tasks(TaskFilter(name=text)),
            store.list_tasks(TaskFilter(attributes={"order": text})),
            store.list_team_audit(namespace=text),
            store.retire_template(TemplateName("n", text, "1.0.0"), ACT),
        ):
            with pytest.raises(InvalidInput, match="NUL character or an unpaired surrogate"):
                await read

    async def test_a_query_with_odd_values_does_not_affect_concurrent_ones(
        self, store: Store
    ) -> None:
        """The values are an unpaired surrogate, a NUL character and a very long text."""
        template = await register_template(store, one_step_template())
        news = [make_new_task(template) for _ in range(5)]
        for odd in ("\ud800", "a\0b", "x" * 1_000_000):
            results = await asyncio.gather(
                store.get_task(TaskId(odd)),
                store.find_task_by_idempotency_key("suite", odd),
                *(store.create_tasks([new]) for new in news),
                store.list_approved_templates(namespace=odd),
                store.list_tasks(TaskFilter(tag=odd, correlation_id=odd)),
                return_exceptions=True,
            )
            assert isinstance(results[0], NotFound)
            for new in news:
                assert new.id == (await store.get_task(new.id)).id
            news = [make_new_task(template) for _ in range(5)]

    async def test_counts_show_the_progress_of_a_task(
        self, store: Store, subject: StoreUnderTest
    ) -> None:
        """There is one count for each status, including `waiting_for_retry`."""
        task_id = await register_and_create_task(
            store, make_template("many", a="", b="", c="", d="", e="", f="a", g="b", h="")
        )
        worker = await ManualWorker.register(store)
        claims = {claim.no: claim for claim in await worker.claim(7)}
        order = sorted(claims)
        await worker.complete(claims[order[0]])
        await worker.fail(claims[order[1]])
        await worker.fail_with_retry(claims[order[2]], SECOND * 60)
        await store.resolve_step(task_id, order[3], None, ACT)

        counts = (await store.get_task(task_id)).counts

        assert 8 == counts.total
        assert 2 == counts.done
        assert (1, 1, 1, 1, 2) == (
            counts.complete,
            counts.error,
            counts.waiting_for_retry,
            counts.resolved_manually,
            counts.in_progress,
        )
        assert counts == (await store.list_tasks(TaskFilter()))[0].counts

    async def test_an_open_task_is_pending_until_its_first_claim(self, store: Store) -> None:
        """Then it is in progress, even if no step runs."""
        task_id = await register_and_create_task(store, chain_template())
        worker = await ManualWorker.register(store)
        before = (await store.get_task(task_id)).status
        await worker.complete(await worker.claim_one())

        assert (TaskStatus.PENDING, TaskStatus.IN_PROGRESS) == (
            before,
            (await store.get_task(task_id)).status,
        )


class TestListing(StoreTests):
    async def test_tasks_are_found_by_their_attributes(self, store: Store) -> None:
        """Several attributes must all match, and can be combined with other filters."""
        template = await register_template(store, one_step_template())
        foreign = await register_template(store, replace(one_step_template(), namespace="other"))
        first = await create_task(store, template, attributes={"order": "7", "customer": "ann"})
        second = await create_task(store, template, attributes={"order": "8", "customer": "ann"})
        theirs = await create_task(store, foreign, attributes={"order": "7"})
        await create_task(store, template)

        assert {first, theirs} == await list_matching_ids(store, attributes={"order": "7"})
        assert {first} == await list_matching_ids(
            store, attributes={"order": "7"}, namespace="suite"
        )
        assert {first, second} == await list_matching_ids(store, attributes={"customer": "ann"})
        assert {second} == await list_matching_ids(
            store, attributes={"customer": "ann", "order": "8"}
        )
        assert set() == await list_matching_ids(store, attributes={"customer": "ann", "order": "9"})
        assert set() == await list_matching_ids(store, attributes={"order": "ann"})
        assert set() == await list_matching_ids(store, attributes={"order": "7"}, tag="gift")
        assert {"order": "7", "customer": "ann"} == (await store.get_task(first)).attributes

    async def test_the_newest_tasks_come_first(self, store: Store) -> None:
        """Ids sort by time of creation; no more tasks are listed than requested."""
        template = await register_template(store, one_step_template())
        news = sorted((make_new_task(template) for _ in range(30)), key=lambda new: new.id)
        await store.create_tasks(news)

        listed = await store.list_tasks(TaskFilter())

        assert [new.id for new in reversed(news)][:25] == [task.id for task in listed]
        assert 7 == len(await store.list_tasks(TaskFilter(), limit=7))

    async def test_a_listed_task_equals_the_task_read_by_id(self, store: Store) -> None:
        """All fields are equal except `failure`, which lists omit."""
        first = await create_and_run_task(store, chain_template(), failing=("b",))
        second = await store.get_task(
            await register_and_create_task(
                store, one_step_template(), tags=("x",), deadline=SECOND * 60, idempotency_key="k"
            )
        )

        listed = await store.list_tasks(TaskFilter())
        first = replace(first, failure=None)
        assert {first.id: first, second.id: second} == {task.id: task for task in listed}

    async def test_pages_neither_repeat_nor_skip(self, store: Store) -> None:
        """Tasks may be created in the meantime."""
        template = await register_template(store, one_step_template())
        news = [make_new_task(template) for _ in range(23)]
        await store.create_tasks(news)
        seen: list[Task] = []
        while page := await store.list_tasks(
            TaskFilter(), after=seen[-1].id if seen else None, limit=5
        ):
            seen += page
            await store.create_tasks([make_new_task(template), make_new_task(template)])

        assert sorted((new.id for new in news), reverse=True) == [task.id for task in seen]

    async def test_tasks_are_found_by_their_template(self, store: Store) -> None:
        """Namespace, name and version can be combined; tasks of replaced templates are included."""
        first = await register_and_create_task(store, one_step_template())
        second = await register_and_create_task(store, make_template("one", "2.0.0", only=""))
        third = await register_and_create_task(store, chain_template())
        fourth = await register_and_create_task(
            store, replace(one_step_template(), namespace="other")
        )
        await store.register_template(
            make_template("one", "1.0.0", other=""), registered_by="suite", replace=True
        )
        fifth = await create_task(store, (await store.get_template(one_step_template().key)).id)

        assert {fifth, third, second, first} == await list_matching_ids(store, namespace="suite")
        assert {fifth, fourth, second, first} == await list_matching_ids(store, name="one")
        assert {fifth, second, first} == await list_matching_ids(
            store, namespace="suite", name="one"
        )
        assert {second} == await list_matching_ids(store, version="2.0.0")
        assert {fifth, first} == await list_matching_ids(
            store, namespace="suite", name="one", version="1.0.0"
        )
        assert set() == await list_matching_ids(store, namespace="nobody")

    async def test_a_list_shows_only_tasks_of_visible_namespaces(self, store: Store) -> None:
        """Pages are full even if tasks of other namespaces lie in between."""
        mine, others = (
            await register_template(store, one_step_template()),
            await register_template(store, replace(one_step_template(), namespace="other")),
        )
        news = [make_new_task(mine if no % 3 == 0 else others) for no in range(30)]
        await store.create_tasks(news)
        own = sorted((new.id for new in news if new.template_id == mine), reverse=True)

        page = await store.list_tasks(TaskFilter(visible=frozenset({"suite"})), limit=5)
        rest = await store.list_tasks(
            TaskFilter(visible=frozenset({"suite"})), after=page[-1].id, limit=10
        )
        assert own == [task.id for task in (*page, *rest)]
        assert set() == await list_matching_ids(store, visible=frozenset())
        assert set() == await list_matching_ids(
            store, visible=frozenset({"other"}), namespace="suite"
        )
        assert 30 == len(await list_matching_ids(store, visible=frozenset({"other", "suite"})))

    async def test_tasks_are_found_by_their_status(self, store: Store) -> None:
        complete = (await create_and_run_task(store, one_step_template())).id
        error = (await create_and_run_task(store, one_step_template(), failing=("only",))).id
        resolved = (await create_and_run_task(store, one_step_template(), failing=("only",))).id
        await store.resolve_task(resolved, ACT)
        cancelled = await register_and_create_task(store, one_step_template())
        await store.cancel_task(cancelled, ACT)
        running = await register_and_create_task(store, one_step_template())
        await (await ManualWorker.register(store)).claim_one()
        pending = await register_and_create_task(store, one_step_template())

        assert {
            "pending": {pending},
            "in_progress": {running},
            "complete": {complete},
            "error": {error},
            "cancelled": {cancelled},
            "resolved_manually": {resolved},
        } == {state.value: await list_matching_ids(store, status=state) for state in TaskStatus}

    async def test_tasks_are_found_by_correlation_parent_tag_and_creator(
        self, store: Store
    ) -> None:
        """A task must match all of the given filters."""
        template = await register_template(store, one_step_template())
        first = await create_task(
            store, template, correlation_id="c", created_by="bob", tags=("x", "y")
        )
        second = await create_task(store, template, correlation_id="c", parent_id=first)
        third = await create_task(store, template, created_by="bob", tags=("y z",))

        assert {second, first} == await list_matching_ids(store, correlation_id="c")
        assert {second} == await list_matching_ids(store, parent_id=first)
        assert {first} == await list_matching_ids(store, tag="y")
        assert {third} == await list_matching_ids(store, tag="y z")
        assert {third, first} == await list_matching_ids(store, created_by="bob")
        assert {first} == await list_matching_ids(store, created_by="bob", correlation_id="c")
        assert set() == await list_matching_ids(store, tag="z")
        with pytest.raises(NotFound):
            await list_matching_ids(store, parent_id="no such task")
        with pytest.raises(NotFound):
            await store.list_tasks(TaskFilter(), after=TaskId("no such task"))

    async def test_tasks_are_found_by_idempotency_key(self, store: Store) -> None:
        """The whole key must match, in any namespace."""
        mine, others = (
            await register_template(store, one_step_template()),
            await register_template(store, replace(one_step_template(), namespace="other")),
        )
        first = await create_task(store, mine, idempotency_key="order-7")
        second = await create_task(store, others, idempotency_key="order-7")
        await create_task(store, mine, idempotency_key="order-77")

        assert {first, second} == await list_matching_ids(store, idempotency_key="order-7")
        assert {second} == await list_matching_ids(
            store, idempotency_key="order-7", namespace="other"
        )

    async def test_tasks_are_found_by_the_step_that_failed_and_its_code(self, store: Store) -> None:
        """Only permanently failed steps match, neither retried nor resolved ones."""
        await register_template(store, chain_template())
        worker = await ManualWorker.register(store)

        async def fail_task(code: str, *, again: bool = False) -> TaskId:
            task_id = await register_and_create_task(store, chain_template())
            await worker.complete(await worker.claim_one())
            claim = await worker.claim_one()
            error = JsonText(f'{{"message":"it broke","code":"{code}"}}')
            await worker.settle(
                retry_outcome(claim, error, SECOND) if again else failed_outcome(claim, error)
            )
            return task_id

        gone, declined = await fail_task("GONE"), await fail_task("DECLINED")
        resolved = await fail_task("GONE")
        await store.resolve_task(resolved, ACT)
        await fail_task("GONE", again=True)

        assert {gone} == await list_matching_ids(store, error_code="GONE")
        assert {gone, declined} == await list_matching_ids(store, failed_step="b")
        assert {declined} == await list_matching_ids(store, failed_step="b", error_code="DECLINED")
        assert set() == await list_matching_ids(store, failed_step="a")

    async def test_tasks_are_found_by_when_they_were_created(
        self, store: Store, subject: StoreUnderTest
    ) -> None:
        """The lower bound is inclusive, the upper one exclusive."""
        template = await register_template(store, one_step_template())
        first = await create_task(store, template)
        await subject.advance(SECOND * 60)
        second = await create_task(store, template)
        at = (await store.get_task(second)).created_at

        assert {second} == await list_matching_ids(store, created_after=at)
        assert {first} == await list_matching_ids(store, created_before=at)
        assert {second, first} == await list_matching_ids(store, created_after=at - SECOND * 90)
        assert set() == await list_matching_ids(store, created_after=at, created_before=at)

    async def test_a_filter_applies_to_every_page(self, store: Store) -> None:
        """Each page is filled with matching tasks."""
        template = await register_template(store, one_step_template())
        news = [make_new_task(template, tags=("odd",) if n % 2 else ()) for n in range(20)]
        await store.create_tasks(news)
        odd = sorted((new.id for new in news if new.tags), reverse=True)

        first = await store.list_tasks(TaskFilter(tag="odd"), limit=6)
        second = await store.list_tasks(TaskFilter(tag="odd"), after=first[-1].id, limit=6)

        assert odd == [task.id for task in first + second]


class TestCurrentSteps(StoreTests):
    async def test_a_task_is_summarized_by_its_most_significant_step(self, store: Store) -> None:
        """Failed steps come before retries, running and queued steps; ended tasks have none."""
        error = JsonText('{"type":"Down","code":"DOWN","message":"down"}')
        template = await register_template(store, make_template("wide", a="", b="", c=""))
        runs, waits, fails, ended = [await create_task(store, template) for _ in range(4)]
        worker = await ManualWorker.register(store)
        claims = {(claim.task_id, claim.no): claim for claim in await worker.claim()}
        for task in (waits, fails, ended):
            await store.settle(
                worker.id, [retry_outcome(claims[task, 2], error, timedelta(hours=1))]
            )
        await store.settle(worker.id, [failed_outcome(claims[fails, 3], error)])
        await store.cancel_task(ended, ACT)
        late = await create_task(store, template)

        current = await store.current_steps([runs, waits, fails, ended, late])

        assert {
            runs: ("a", StepStatus.IN_PROGRESS, 1, None),
            waits: ("b", StepStatus.WAITING_FOR_RETRY, 1, "DOWN"),
            fails: ("c", StepStatus.ERROR, 1, "DOWN"),
            late: ("a", StepStatus.ENQUEUED, 0, None),
        } == {
            task: (step.step, step.status, step.attempts, step.code)
            for task, step in current.items()
        }
        assert {} == await store.current_steps([])


class TestReadingSteps(StoreTests):
    async def test_steps_are_listed_by_number_and_in_pages(self, store: Store) -> None:
        """They are listed in the template's order, after a number, up to a limit."""
        task_id = await register_and_create_task(
            store, make_template("order", z="", m="z", a="m", b="a")
        )

        assert ["z", "m", "a", "b"] == [step.name for step in await store.list_steps(task_id)]
        assert [2, 3] == [step.no for step in await store.list_steps(task_id, after=1, limit=2)]
        assert [] == await store.list_steps(task_id, after=4)

    async def test_the_history_has_every_attempt(
        self, store: Store, subject: StoreUnderTest
    ) -> None:
        """Attempts are listed oldest first, optionally those of one step, up to a limit."""
        task_id = await register_and_create_task(store, make_template("pair", a="", b="a"))
        worker = await ManualWorker.register(store)
        for _ in range(3):
            await worker.fail_with_retry(await worker.claim_one())
            await subject.advance(SECOND)
        await worker.complete(await worker.claim_one())
        await subject.advance(SECOND)
        await worker.complete(await worker.claim_one())

        rows = [(row.step, row.attempt) for row in await store.list_attempts(task_id)]

        assert [("a", 1), ("a", 2), ("a", 3), ("a", 4), ("b", 1)] == rows
        assert [("b", 1)] == [
            (row.step, row.attempt) for row in await store.list_attempts(task_id, no=2)
        ]
        assert 2 == len(await store.list_attempts(task_id, limit=2))
        assert [] == await store.list_attempts(task_id, no=99)

    async def test_a_step_counts_lost_attempts_separately(self, store: Store) -> None:
        """Only the failed attempt counts, neither the lost nor the parked one."""
        task_id = await register_and_create_task(store, one_step_template())
        worker = await ManualWorker.register(store)
        await worker.fail_with_retry(await worker.claim_one())
        await store.park_until_task_ends(await worker.claim_one(), UNKNOWN_TASK)
        await worker.settle(lost_outcome(await worker.claim_one(), JsonText("{}"), timedelta(0)))

        (step,) = await store.list_steps(task_id)

        assert (3, 1, 1) == (step.attempts, step.counted_attempts, step.lost_attempts)

    async def test_a_step_states_when_it_became_due(
        self, store: Store, subject: StoreUnderTest
    ) -> None:
        """It became due when its parent was done, but keeps the queue position of its parent."""
        task_id = await register_and_create_task(store, make_template("pair", a="", b="a"))
        worker = await ManualWorker.register(store)
        claim = await worker.claim_one()
        await subject.advance(SECOND)
        await worker.complete(claim)

        parent, child = await store.list_steps(task_id)

        assert parent.settled_at == child.enqueued_at
        assert parent.run_at == child.run_at != child.enqueued_at

    async def test_a_new_task_has_an_empty_history(self, store: Store) -> None:
        task_id = await register_and_create_task(store, one_step_template())

        assert ([], []) == (
            await store.list_attempts(task_id),
            await store.list_audit_entries(task_id),
        )

    async def test_a_step_that_never_ran_has_no_worker(self, store: Store) -> None:
        """It has no times of claim and end and no checkpoint either."""
        task_id = await register_and_create_task(store, one_step_template())

        (step,) = await store.list_steps(task_id)

        assert (None, None, None, None) == (
            step.worker,
            step.claimed_at,
            step.settled_at,
            step.checkpoint,
        )
        assert StepCounts(enqueued=1) == (await store.get_task(task_id)).counts
