"""Figures about the tasks of a recent window of time."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from tasker import codec
from tasker.analytics.failures import FailureMute, FailureTriage, FailureTriageChange
from tasker.analytics.figures import MinuteFigures
from tasker.analytics.model import AnalysisWindow, Performance, RetryStatistics, UsualDurations
from tasker.errors import InvalidInput
from tasker.model import JsonText, TaskId, Template, TemplateId, failed_outcome, retry_outcome
from tasker.store.protocol import Store
from tasker.teams.model import NamespacePolicy
from tasker.testing.store_suite.factories import (
    ACT,
    ERROR,
    SECOND,
    ManualWorker,
    StoreTests,
    chain_template,
    create_task,
    diamond_template,
    make_template,
    one_step_template,
    register_template,
)
from tasker.testing.store_suite.subject import StoreUnderTest

HOUR = timedelta(hours=1)
DAY = AnalysisWindow()
GATEWAY = JsonText('{"type":"GatewayError","code":"GATEWAY_DOWN","message":"down"}')


async def put_policy_and_read_time(store: Store) -> datetime:
    """Store a policy, and return the time that the store's clock gave it."""
    stamp = await store.put_policy(NamespacePolicy(namespace="clock"), ACT)
    assert stamp.updated_at is not None
    return stamp.updated_at


async def create_task_in_the_past(
    store: Store, template: TemplateId, ago: timedelta = SECOND
) -> TaskId:
    """Create a task whose id says that it was created some time ago."""
    at = await put_policy_and_read_time(store) - ago
    random = codec.new_task_id()[14:]
    return await create_task(store, template, id=TaskId(codec.lowest_task_id_at(at)[:14] + random))


async def run_task_lasting(
    store: Store, subject: StoreUnderTest, template: Template, seconds: int, *, fail: bool = False
) -> None:
    """Run a task whose single step takes the given number of seconds."""
    await create_task_in_the_past(store, await register_template(store, template))
    worker = await ManualWorker.register(store)
    claim = await worker.claim_one()
    await subject.advance(timedelta(seconds=seconds))
    await (worker.fail(claim) if fail else worker.complete(claim))


def durations_in_minutes(performance: Performance) -> tuple[list[int], list[int]]:
    """Return durations of tasks and steps in whole minutes: average, p50, p95, p99."""
    tasks, steps = (
        [round(value / 60) for value in (each.average, each.p50, each.p95, each.p99)]
        for each in (performance.task_duration, performance.step_duration)
    )
    return tasks, steps


def truncate_to_tens(seconds: float) -> int:
    """Round seconds down to a multiple of ten, because a busy machine makes durations longer."""
    return int(seconds // 10 * 10)


class TestPerformance(StoreTests):
    async def test_health_of_an_empty_store_is_good(self, store: Store) -> None:
        """All figures are zero, and the health score is 1."""
        figures = await store.performance(DAY)

        assert (0, 0, 0, 0, 0) == (
            figures.total_tasks,
            figures.active_tasks,
            figures.completed_tasks,
            figures.failed_tasks,
            figures.cancelled_tasks,
        )
        assert (0.0, 0.0, 0.0, 0.0, 1.0) == (
            figures.completion_rate,
            figures.error_rate,
            figures.tasks_per_hour,
            figures.steps_per_hour,
            figures.system_health_score,
        )
        assert ([0] * 4, [0] * 4) == durations_in_minutes(figures)
        assert timedelta(hours=24) == figures.calculated_at - figures.analysis_period_start

    async def test_tasks_are_counted_by_status(self, store: Store) -> None:
        """Rates are percentages of all tasks, and throughput is per hour."""
        template = await register_template(store, one_step_template())
        worker = await ManualWorker.register(store)
        for _ in range(3):
            await create_task_in_the_past(store, template)
        await worker.complete(*await worker.claim())
        await create_task_in_the_past(store, template)
        await worker.fail(*await worker.claim())
        await store.cancel_task(await create_task_in_the_past(store, template), ACT)
        await create_task_in_the_past(store, template)

        figures = await store.performance(AnalysisWindow(hours=2))

        assert (6, 1, 3, 1, 1) == (
            figures.total_tasks,
            figures.active_tasks,
            figures.completed_tasks,
            figures.failed_tasks,
            figures.cancelled_tasks,
        )
        assert (50.0, 16.67, 0.75) == (
            figures.completion_rate,
            figures.error_rate,
            figures.system_health_score,
        )
        assert (3.0, 1.5) == (figures.tasks_per_hour, figures.steps_per_hour)
        assert (1, 1) == (figures.total_namespaces, figures.unique_task_types)

    async def test_resolved_tasks_count_as_complete(self, store: Store) -> None:
        """They do not count towards durations."""
        task_id = await create_task_in_the_past(
            store, await register_template(store, one_step_template())
        )
        worker = await ManualWorker.register(store)
        await worker.fail(*await worker.claim())
        await store.resolve_task(task_id, ACT)

        figures = await store.performance(DAY)

        assert (1, 0) == (figures.completed_tasks, figures.failed_tasks)
        assert ([0] * 4, [0] * 4) == durations_in_minutes(figures)

    async def test_durations_include_only_completed_steps(
        self, store: Store, subject: StoreUnderTest
    ) -> None:
        """Each percentile is a duration that occurred."""
        for minutes in (1, 2, 3, 30):
            await run_task_lasting(store, subject, one_step_template(), minutes * 60)
        await run_task_lasting(store, subject, one_step_template(), 100 * 60, fail=True)

        figures = await store.performance(DAY)

        assert ([9, 2, 30, 30], [9, 2, 30, 30]) == durations_in_minutes(figures)

    async def test_a_window_selects_tasks_created_in_its_hours(self, store: Store) -> None:
        """A task belongs to the window in which it was created."""
        template = await register_template(store, one_step_template())
        for ago in (0.5, 1.5, 2.5, 30):
            await create_task_in_the_past(store, template, timedelta(hours=ago))

        counts = [
            (await store.performance(AnalysisWindow(hours=hours))).total_tasks
            for hours in (1, 2, 24, 48)
        ]

        assert [1, 2, 3, 4] == counts

    async def test_a_window_may_be_limited_to_one_template(self, store: Store) -> None:
        """A window may also be limited to a namespace or to a name alone."""
        for template in (
            one_step_template(),
            replace(one_step_template(), version="2.0.0"),
            make_template("two", a=""),
            replace(one_step_template(), namespace="other"),
        ):
            await create_task_in_the_past(store, await register_template(store, template))
        await (await ManualWorker.register(store)).complete_all_due()

        windows = [
            AnalysisWindow(namespace="suite"),
            AnalysisWindow(namespace="suite", name="one"),
            AnalysisWindow(namespace="suite", name="one", version="2.0.0"),
            AnalysisWindow(name="one"),
            AnalysisWindow(namespace="nowhere"),
            AnalysisWindow(visible=frozenset({"suite"})),
            AnalysisWindow(visible=frozenset({"suite"}), namespace="other"),
            AnalysisWindow(visible=frozenset()),
        ]
        figures = [await store.performance(window) for window in windows]

        expected = [3, 2, 1, 3, 0, 3, 0, 0]
        assert expected == [each.total_tasks for each in figures]
        assert expected == [round(each.steps_per_hour * 24) for each in figures]

    @pytest.mark.parametrize("hours", [0, -1, 8761, float("nan"), float("inf")])
    async def test_a_window_of_impossible_length_is_rejected(self, hours: float) -> None:
        """A window has a finite length, from more than 0 hours to a year."""
        with pytest.raises(InvalidInput) as rejection:
            AnalysisWindow(hours=hours)

        assert "$.hours" == rejection.value.path


class TestUsualDurations(StoreTests):
    async def test_a_version_without_complete_tasks_has_no_usual_durations(
        self, store: Store
    ) -> None:
        stored = (await store.register_template(chain_template(), registered_by="suite")).stored
        await create_task(store, stored.id)

        assert UsualDurations(task=None, steps={}) == await store.usual_durations(stored)

    async def test_usual_durations_cover_complete_tasks_of_a_version(
        self, store: Store, subject: StoreUnderTest
    ) -> None:
        """Steps are measured from claim to end, tasks from creation to end."""
        stored = (await store.register_template(chain_template(), registered_by="suite")).stored
        other = await register_template(store, one_step_template())
        worker = await ManualWorker.register(store)
        for seconds in (1, 2, 20):
            for template in (stored.id, other):
                await create_task(store, template)
            for _ in "abc":
                claims = await worker.claim()
                await subject.advance(seconds * SECOND)
                await worker.complete(*claims)
        await create_task(store, stored.id)

        usual = await store.usual_durations(stored)

        assert usual.task is not None
        assert ["a", "b", "c"] == list(usual.steps)
        for measured, factor in ((usual.task, 3), *((step, 1) for step in usual.steps.values())):
            assert 3 == measured.runs
            assert 2 * factor <= measured.median < measured.p95
            assert 20 * factor <= measured.p95


class TestFailedSteps(StoreTests):
    async def test_triage_of_a_failure_cause_is_stored_and_audited(self, store: Store) -> None:
        """A change replaces the fields that it names and keeps the others."""
        until = datetime(2027, 1, 2, 3, 4, 5, tzinfo=UTC)
        key = "0123456789abcdef"
        expected = FailureTriage(
            fingerprint=key,
            namespace="suite",
            assignee="ann",
            muted_until=until,
            muted_below="1.2.0",
        )
        changes = [
            FailureTriageChange(assignee="ann", mute=FailureMute(until=until, below="1.2.0")),
            FailureTriageChange(note="the gateway is down"),
            FailureTriageChange(assignee="", mute=FailureMute()),
        ]

        stored = [await store.change_failure_triage("suite", key, one, ACT) for one in changes]

        assert [
            expected,
            replace(expected, note="the gateway is down"),
            FailureTriage(fingerprint=key, namespace="suite", note="the gateway is down"),
        ] == [replace(one, updated_by="", updated_at=None) for one in stored]
        assert [stored[-1]] == await store.list_failure_triage([key, "fedcba9876543210"])
        newest, second, first = await store.list_team_audit(namespace="suite", limit=10)
        assert ("change_failure_triage", ACT.actor) == (newest.action, newest.actor)
        assert (None, first.after, second.after) == (first.before, second.before, newest.before)

    async def test_permanently_failed_steps_are_listed_until_their_task_is_retried_or_resolved(
        self, store: Store
    ) -> None:
        """Failed steps of both failed and open tasks are listed, newest first."""
        refund = await register_template(store, make_template("refund", pay=""))
        half = await register_template(store, make_template("half", pay="", ship=""))
        first, second, open_one = [
            await create_task_in_the_past(store, template) for template in (refund, refund, half)
        ]
        worker = await ManualWorker.register(store)
        for claim in await worker.claim():
            if claim.task_id != open_one or claim.no == 1:
                await store.settle(worker.id, [failed_outcome(claim, GATEWAY)])

        listed = await store.list_failed_steps(DAY)

        assert {first, second, open_one} == {step.task_id for step in listed}
        (newest,) = [step for step in listed if step.task_id == first]
        assert ("refund", "pay", 1, "GATEWAY_DOWN") == (
            newest.name,
            newest.step,
            newest.attempts,
            newest.error["code"],
        )
        times = [step.settled_at for step in listed]
        assert sorted(times, reverse=True) == times
        assert [] == await store.list_failed_steps(AnalysisWindow(visible=frozenset({"other"})))
        assert 2 == len(await store.list_failed_steps(DAY, limit=1))

        await store.cancel_task(open_one, ACT)
        await store.retry_steps(first, ACT)

        assert [second] == [step.task_id for step in await store.list_failed_steps(DAY)]


class TestBottlenecks(StoreTests):
    async def test_an_empty_store_has_no_bottlenecks(self, store: Store) -> None:
        """All lists are empty, and there is no advice."""
        figures = await store.bottlenecks(DAY)

        assert ((), (), (), (), (), (), ()) == (
            figures.slow_steps,
            figures.failing_steps,
            figures.retried_steps,
            figures.slow_tasks,
            figures.error_patterns,
            figures.blocking_steps,
            figures.recommendations,
        )
        assert (0, 0, 0.0) == (figures.total_tasks, figures.total_errors, figures.recent_error_rate)
        assert RetryStatistics() == figures.retries

    async def test_the_slowest_steps_come_first(
        self, store: Store, subject: StoreUnderTest
    ) -> None:
        """The same holds for tasks; steps and tasks with too few executions are left out."""
        for name, seconds in (("quick", 1), ("slow", 41), ("quick", 3), ("slow", 21), ("once", 99)):
            await run_task_lasting(
                store, subject, make_template(name, **{f"{name}_step": ""}), seconds
            )

        figures = await store.bottlenecks(DAY, min_executions=2)

        assert [("slow", "slow_step", 30, 40, 2, 0), ("quick", "quick_step", 0, 0, 2, 0)] == [
            (
                each.name,
                each.step,
                truncate_to_tens(each.average_duration_seconds),
                truncate_to_tens(each.max_duration_seconds),
                each.execution_count,
                each.error_count,
            )
            for each in figures.slow_steps
        ]
        assert [
            ("suite", "slow", "1.0.0", 30, 40, 2, 1.0),
            ("suite", "quick", "1.0.0", 0, 0, 2, 1.0),
        ] == [
            (
                each.namespace,
                each.name,
                each.version,
                truncate_to_tens(each.average_duration_seconds),
                truncate_to_tens(each.max_duration_seconds),
                each.execution_count,
                each.average_step_count,
            )
            for each in figures.slow_tasks
        ]
        assert {"0-10s": 2, "10-30s": 1, "30s+": 2} == figures.distribution
        assert {
            "active": 0,
            "complete": 5,
            "error": 0,
            "cancelled": 0,
            "resolved_manually": 0,
        } == figures.tasks_by_status
        assert 1 == len((await store.bottlenecks(DAY, min_executions=1, limit=1)).slow_steps)

    async def test_parked_time_of_steps_is_reported(
        self, store: Store, subject: StoreUnderTest
    ) -> None:
        """This includes a step that still waits and has never completed."""
        template = await register_template(store, make_template("child", only=""))
        child, other = (
            await create_task_in_the_past(store, template),
            await create_task_in_the_past(store, template),
        )
        waiting = [
            await create_task_in_the_past(
                store, await register_template(store, make_template(name, step=""))
            )
            for name in ("done", "open")
        ]
        worker = await ManualWorker.register(store)
        claims = {claim.task_id: claim for claim in await worker.claim()}
        assert await store.park_until_task_ends(claims[waiting[0]], child)
        await subject.advance(SECOND * 100)
        await worker.complete(claims[child])
        await worker.complete(await worker.claim_one())
        assert await store.park_until_task_ends(claims[waiting[1]], other)
        await subject.advance(SECOND * 10)

        slow = (await store.bottlenecks(DAY)).slow_steps

        assert [("done", 1), ("open", 0)] == [
            (each.name, each.execution_count) for each in slow if each.step == "step"
        ]
        done, still = (each for each in slow if each.step == "step")
        assert 100 <= done.average_parked_seconds < 160
        assert 10 <= still.average_parked_seconds < 70

    async def test_errors_are_grouped_by_type_and_code(self, store: Store) -> None:
        """The most frequent errors come first; an error without a type is `unknown`."""
        template = await register_template(store, one_step_template())
        worker = await ManualWorker.register(store)
        for _ in range(2):
            await create_task_in_the_past(store, template)
        for claim in await worker.claim():
            await worker.settle(retry_outcome(claim, GATEWAY, timedelta(0)))
        first, second = await worker.claim()
        await worker.settle(failed_outcome(first, GATEWAY), failed_outcome(second, ERROR))

        figures = await store.bottlenecks(DAY)

        assert [("GatewayError", "GATEWAY_DOWN", 3, 1), ("unknown", None, 1, 1)] == [
            (each.error_type, each.error_code, each.count, each.final_count)
            for each in figures.error_patterns
        ]
        assert (4, 1.0) == (figures.total_errors, figures.recent_error_rate)

    async def test_retries_are_reported_by_outcome(self, store: Store) -> None:
        """Retried steps are counted, not attempts; steps in progress are left out."""
        template = await register_template(store, one_step_template())
        worker = await ManualWorker.register(store)
        for _ in range(4):
            await create_task_in_the_past(store, template)
        claims = await worker.claim()
        for claim in claims[:3]:
            await worker.fail_with_retry(claim)
        await worker.complete(claims[3])
        good, bad, _ = await worker.claim()
        await worker.fail_with_retry(good)
        await worker.fail(bad)
        await worker.complete(await worker.claim_one())

        figures = await store.bottlenecks(DAY)

        assert RetryStatistics(retried_steps=3, succeeded=1, failed=1) == figures.retries
        assert 0.5 == figures.retries.success_rate
        assert [("only", 4)] == [(each.step, each.retry_count) for each in figures.retried_steps]
        assert [(7, 5, 0.7143)] == [
            (each.execution_count, each.error_count, each.error_rate)
            for each in figures.failing_steps
        ]

    async def test_steps_that_others_wait_for_are_reported(
        self, store: Store, subject: StoreUnderTest
    ) -> None:
        """Steps of open tasks are sorted by the number of steps that wait for them."""
        task_id = await create_task_in_the_past(
            store, await register_template(store, chain_template())
        )
        for _ in range(2):
            await create_task_in_the_past(store, await register_template(store, diamond_template()))
        worker = await ManualWorker.register(store)
        await worker.complete(*[each for each in await worker.claim() if each.task_id == task_id])
        await subject.advance(timedelta(seconds=11))

        figures = await store.bottlenecks(DAY)

        assert [("diamond", "a", 2, 0, 4, 10), ("chain", "b", 1, 0, 1, 10)] == [
            (
                each.name,
                each.step,
                each.tasks,
                each.failed_tasks,
                each.waiting_steps,
                truncate_to_tens(each.average_wait_seconds),
            )
            for each in figures.blocking_steps
        ]
        assert (1, 0, 2) == (
            figures.utilization.due_steps,
            figures.utilization.scheduled_steps,
            figures.utilization.running_steps,
        )

    async def test_recommendations_name_the_failing_and_the_slow_step(
        self, store: Store, subject: StoreUnderTest
    ) -> None:
        """Each recommendation names its step and the template."""
        template = make_template("refund", slow="", flaky="")
        worker = None
        for _ in range(3):
            await create_task_in_the_past(store, await register_template(store, template))
            worker = worker or await ManualWorker.register(store)
            names = {1: "slow", 2: "flaky"}
            by_name = {names[claim.no]: claim for claim in await worker.claim()}
            await worker.settle(failed_outcome(by_name["flaky"], GATEWAY))
            await subject.advance(timedelta(hours=3))
            await worker.complete(by_name["slow"])

        advice = (await store.bottlenecks(DAY)).recommendations

        assert [
            "step flaky of suite.refund@1.0.0 fails in 100% of its attempts (3 of 3):"
            " check its errors first",
            "step slow of suite.refund@1.0.0 takes 3 h on average:"
            " split it into several steps, so that independent parts run in parallel",
        ] == list(advice)

    async def test_the_backlog_can_be_reported_alone(self, store: Store) -> None:
        """It equals the backlog in the complete figures."""
        template = await register_template(store, one_step_template())
        await create_task(store, template)
        worker = await ManualWorker.register(store)
        await worker.claim_one()
        await create_task(store, template)
        await create_task(store, template)
        await create_task(store, template, run_at=await put_policy_and_read_time(store) + HOUR)

        backlog = await store.count_backlog()

        assert (2, 1, 1) == (backlog.due_steps, backlog.scheduled_steps, backlog.running_steps)
        utilization = (await store.bottlenecks(DAY)).utilization
        assert (2, 1, 1) == (
            utilization.due_steps,
            utilization.scheduled_steps,
            utilization.running_steps,
        )

    async def test_the_backlog_is_counted_by_namespace_and_handler(self, store: Store) -> None:
        """Each kind of worker can then be scaled by the number of steps that it can run."""
        template = await register_template(store, one_step_template())
        await create_task(store, template)
        worker = await ManualWorker.register(store)
        await worker.claim_one()
        await create_task(store, template)
        await create_task(store, template)
        await create_task(store, template, run_at=await put_policy_and_read_time(store) + HOUR)
        await create_task(
            store, await register_template(store, replace(one_step_template(), namespace="other"))
        )
        handler = one_step_template().steps[0].handler

        backlog = await store.count_backlog_by_queue()

        assert [("other", handler, 1, 0, 0), ("suite", handler, 2, 1, 1)] == [
            (row.namespace, row.handler, row.due, row.scheduled, row.running) for row in backlog
        ]

    async def test_bottlenecks_may_be_limited_to_one_namespace(self, store: Store) -> None:
        await create_task_in_the_past(
            store, await register_template(store, replace(chain_template(), namespace="theirs"))
        )
        worker = await ManualWorker.register(store)
        await worker.fail(*await worker.claim())
        await create_task_in_the_past(store, await register_template(store, chain_template()))
        mine = await store.bottlenecks(AnalysisWindow(namespace="suite"), min_executions=1)
        theirs = await store.bottlenecks(AnalysisWindow(namespace="theirs"), min_executions=1)

        assert (1, 0, ["a"]) == (
            mine.total_tasks,
            mine.total_errors,
            [each.step for each in mine.blocking_steps],
        )
        assert (1, 1, []) == (
            theirs.total_tasks,
            theirs.total_errors,
            [each.step for each in theirs.blocking_steps],
        )

    async def test_minute_figures_are_summed_by_time_and_template(self, store: Store) -> None:
        """Figures of several workers are added up; each created task is counted once."""
        template = await register_template(store, one_step_template("figured"))
        minute = int((await put_policy_and_read_time(store)).timestamp()) // 60
        for _ in range(3):
            await create_task_in_the_past(store, template, timedelta(minutes=5))
        await store.insert_minute_figures(
            [MinuteFigures(minute - 10, 0)]
        )  # the last minute that was counted
        for age in (0, 1, 7, 7):
            figures = MinuteFigures(minute - age, template, completed=1, steps=3, seconds=1.5)
            await store.insert_minute_figures([figures])
        for _ in range(2):
            await store.maintain_minute_figures()

        by_minute = await store.list_minute_figures(AnalysisWindow(hours=1), step_seconds=60)
        whole = await store.list_minute_figures(
            AnalysisWindow(hours=1, name="figured"), step_seconds=86_400
        )

        assert 3 == sum(row.created for row in by_minute)
        assert [2] == [row.completed for row in by_minute if row.point == minute - 7]
        assert (4, 4, 12, 6.0) == (
            sum(row.completed for row in whole),
            sum(row.ended_tasks for row in whole),
            sum(row.steps for row in whole),
            sum(row.seconds for row in whole),
        )
        assert [] == await store.list_minute_figures(
            AnalysisWindow(hours=1, name="other"), step_seconds=60
        )
