"""The outbox: events of accepted outcomes, their distribution, deliveries and webhooks."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from tasker import codec
from tasker.errors import InvalidInput, Misuse, NotFound, WebhookExists
from tasker.events import (
    ClaimedDelivery,
    DeliveryOutcome,
    DeliveryStatus,
    Event,
    EventFilter,
    EventNo,
    NewSubscription,
    NewWebhook,
    SubscriptionId,
    WebhookChange,
)
from tasker.model import (
    AttemptOutcome,
    EventCondition,
    EventSpec,
    JsonText,
    NewEvent,
    TaskEndEvent,
    TaskId,
    Template,
    TemplateId,
    completed_outcome,
    failed_outcome,
    retry_outcome,
)
from tasker.store.protocol import StepResolution, Store
from tasker.testing.store_suite.factories import (
    ACT,
    ERROR,
    SECOND,
    ManualWorker,
    StoreTests,
    chain_template,
    create_task,
    one_step_template,
    register_and_create_task,
    register_template,
)
from tasker.testing.store_suite.subject import StoreUnderTest

PAID = JsonText('{"cents":4200}')
MINUTE = timedelta(minutes=1)
AUDIT = NewSubscription(namespace="suite", name="audit", events=("payment.*",))
HOOK = NewWebhook(
    namespace="suite",
    name="crm",
    url="https://crm.example/tasker",
    events=("payment.*",),
    include=("result",),
    secret="s3cret",  # noqa: S106
)


def make_new_event(index: int = 0, name: str = "payment.charged", payload: str = PAID) -> NewEvent:
    """Make an event of the step `only` of template 1."""
    return NewEvent(index, TemplateId(1), "only", "c-1", name, JsonText(payload), 0.25)


class PublishingWorker:
    """A worker that settles each step with an event."""

    def __init__(self, store: Store, template: TemplateId, worker: ManualWorker) -> None:
        self.store, self.template, self.worker = store, template, worker

    @classmethod
    async def register(cls, store: Store, template: Template | None = None) -> "PublishingWorker":
        template_id = await register_template(store, template or one_step_template())
        return cls(store, template_id, await ManualWorker.register(store))

    def make_event(
        self, index: int, name: str = "payment.charged", payload: str = PAID
    ) -> NewEvent:
        return make_new_event(index, name, payload)._replace(template_id=self.template)

    async def run_task_with_events(self, *names: str, context: object = None) -> TaskId:
        """Create a task, and complete its only step with events of these names."""
        task_id = await create_task(self.store, self.template, context)
        (claim,) = [claim for claim in await self.worker.claim() if claim.task_id == task_id]
        events = [self.make_event(0, name) for name in names]
        await self.store.settle(self.worker.id, [completed_outcome(claim, PAID)], events=events)
        return task_id


async def list_events(store: Store, **filters: Any) -> list[Event]:
    """List events, oldest first."""
    return (await store.list_events(EventFilter(**filters)))[::-1]


async def list_event_names(store: Store, **filters: Any) -> list[str]:
    return [event.name for event in await list_events(store, **filters)]


class TestOutbox(StoreTests):
    async def test_an_event_names_its_task_step_and_attempt(self, store: Store) -> None:
        publisher = await PublishingWorker.register(store)

        task_id = await publisher.run_task_with_events("payment.charged", context={"order": 7})
        (event,) = await list_events(store)

        assert event == Event(
            no=event.no,
            name="payment.charged",
            namespace="suite",
            template="one",
            version="1.0.0",
            task_id=task_id,
            step="only",
            step_no=1,
            attempt=1,
            outcome=AttemptOutcome.COMPLETE,
            at=event.at,
            duration=0.25,
            correlation_id="c-1",
            payload={"cents": 4200},
        )
        assert f"{task_id}:1:1:payment.charged" == event.id

    async def test_a_rejected_outcome_publishes_nothing(self, store: Store) -> None:
        """Accepted outcomes of the same settlement publish theirs."""
        publisher = await PublishingWorker.register(store)
        ids = [await create_task(store, publisher.template) for _ in range(3)]
        claims = {claim.task_id: claim for claim in await publisher.worker.claim()}
        await publisher.worker.complete(claims[ids[1]])
        outcomes = [completed_outcome(claims[task_id], PAID) for task_id in ids]
        events = [publisher.make_event(index) for index in range(3)]

        first = await store.settle(publisher.worker.id, outcomes, events=events)
        again = await store.settle(publisher.worker.id, outcomes, events=events, relaxed=True)

        assert [1] == list(first.rejected)
        assert [0, 1, 2] == list(again.rejected)
        assert [ids[0], ids[2]] == [event.task_id for event in await list_events(store)]

    async def test_a_settlement_with_events_has_all_effects_of_one_without(
        self, store: Store
    ) -> None:
        """Children are freed and claimed, failures are retried, and tasks end."""
        publisher = await PublishingWorker.register(store, chain_template())
        task_id = await create_task(store, publisher.template)
        claim = await publisher.worker.claim_one()
        event = [publisher.make_event(0, "step.done")]
        for _ in range(2):
            settled = await store.settle(
                publisher.worker.id, [completed_outcome(claim, PAID)], claim_up_to=1, events=event
            )
            (claim,) = settled.claims
        await store.settle(
            publisher.worker.id, [retry_outcome(claim, ERROR, SECOND * 0)], events=event
        )
        again = await publisher.worker.claim_one()
        ended = await store.settle(
            publisher.worker.id, [failed_outcome(again, ERROR)], events=event
        )

        assert [task_id] == [end.task_id for end in ended.ended]
        assert [
            (1, 1, "complete"),
            (2, 1, "complete"),
            (3, 1, "retry"),
            (3, 2, "error"),
        ] == [
            (event.step_no, event.attempt, event.outcome.value)
            for event in await list_events(store)
        ]

    async def test_events_are_filtered_by_their_fields(self, store: Store) -> None:
        publisher = await PublishingWorker.register(store)
        first = await publisher.run_task_with_events(
            "payment.charged", "payment_other", "order.paid"
        )
        second = await publisher.run_task_with_events("payment.refused")

        everything = await store.list_events(EventFilter())
        assert [
            "payment.refused",
            "order.paid",
            "payment_other",
            "payment.charged",
        ] == [event.name for event in everything]
        assert ["payment.charged", "payment.refused"] == await list_event_names(
            store, name="payment.*"
        )
        assert ["order.paid"] == await list_event_names(store, name="order.paid")
        assert ["payment.refused"] == await list_event_names(store, task_id=second)
        assert [first] == [
            event.task_id for event in await list_events(store, task_id=first, name="order.*")
        ]
        assert [] == await list_event_names(store, namespace="other")
        assert [] == await list_event_names(store, visible=frozenset({"other"}))
        assert 4 == len(await list_event_names(store, visible=frozenset({"suite", "other"})))
        page = await store.list_events(EventFilter(), after=everything[1].no, limit=1)
        assert ["payment_other"] == [event.name for event in page]

    async def test_resolving_a_step_publishes_its_declared_events(self, store: Store) -> None:
        template = template_declaring_events(
            EventSpec("order.done"), EventSpec("order.failed", "failure")
        )
        task_id = await register_and_create_task(store, template)

        await store.resolve_step(task_id, 1, PAID, ACT, action=StepResolution.COMPLETE)

        (event,) = await list_events(store)
        assert ("order.done", {"cents": 4200}, None) == (event.name, event.payload, event.duration)

    async def test_the_result_of_a_resolved_step_must_fit_its_events(self, store: Store) -> None:
        template = template_declaring_events(EventSpec("order.done", schema={"type": "array"}))
        task_id = await register_and_create_task(store, template)

        with pytest.raises(InvalidInput, match="the event 'order"):
            await store.resolve_step(task_id, 1, PAID, ACT, action=StepResolution.COMPLETE)

        assert [] == await list_events(store)
        assert "enqueued" == (await store.list_steps(task_id))[0].status.value

    async def test_a_step_that_misses_its_queue_timeout_publishes_its_failure(
        self, store: Store, subject: StoreUnderTest
    ) -> None:
        template = template_declaring_events(
            EventSpec("order.failed", EventCondition.PERMANENT_FAILURE, payload="error.code")
        )
        template = replace(
            template, steps=(replace(template.steps[0], queue_timeout=timedelta(seconds=5)),)
        )
        await register_and_create_task(store, template)
        await subject.advance(timedelta(seconds=6))

        assert 1 == len((await store.fail_unclaimed_steps(10)).steps)

        (event,) = await list_events(store)
        assert ("order.failed", AttemptOutcome.ERROR) == (event.name, event.outcome)
        assert "queue_timeout" == event.payload

    async def test_events_outlive_their_task_and_are_pruned_by_age(
        self, store: Store, subject: StoreUnderTest
    ) -> None:
        publisher = await PublishingWorker.register(store)
        await publisher.run_task_with_events("payment.charged")
        await subject.advance(MINUTE * 10)
        await publisher.run_task_with_events("payment.refused")
        now = await read_newest_event_time(store)
        await store.prune_tasks(ended_before=now + MINUTE)

        assert 1 == await store.prune_events_and_deliveries(now - MINUTE, dead_before=now - MINUTE)
        assert ["payment.refused"] == await list_event_names(store)


def template_declaring_events(*events: EventSpec) -> Template:
    """Return a template with one step that publishes events."""
    template = one_step_template("declaring")
    return replace(template, steps=(replace(template.steps[0], events=events),))


async def read_newest_event_time(store: Store) -> datetime:
    """Return the time of the newest event, by the store's clock."""
    return (await store.list_events(EventFilter(), limit=1))[0].at


class EventReceiver:
    """A process that receives the events of one subscription."""

    def __init__(self, store: Store, subscription: SubscriptionId) -> None:
        self.store, self.subscription = store, subscription

    @classmethod
    async def subscribe(cls, store: Store, new: NewSubscription = AUDIT) -> "EventReceiver":
        (subscription,) = await store.subscribe([new], "suite")
        return cls(store, subscription)

    async def distribute_and_claim(
        self, limit: int = 100, lease: timedelta = MINUTE
    ) -> list[ClaimedDelivery]:
        await self.store.distribute_events()
        return await self.store.claim_deliveries([self.subscription], limit, lease=lease)

    async def deliver_all_due(self, limit: int = 100) -> list[Event]:
        """Claim and deliver all due events, and return them; none is delivered twice."""
        events: list[Event] = []
        while claimed := await self.distribute_and_claim(limit):
            events += [pending.event for pending in claimed]
            assert len({event.no for event in events}) == len(events)  # or this would never end
            await self.store.settle_deliveries([delivered_outcome(pending) for pending in claimed])
        return events

    async def deliver_all_and_list_names(self) -> list[str]:
        """Claim and deliver all due events, and return their names."""
        return [event.name for event in await self.deliver_all_due()]


def delivered_outcome(pending: ClaimedDelivery) -> DeliveryOutcome:
    return DeliveryOutcome(pending.id, pending.attempt, DeliveryStatus.DELIVERED, 0.0, 0.5, 204, "")


def failed_delivery_outcome(
    pending: ClaimedDelivery, delay: float = 10.0, *, dead: bool = False
) -> DeliveryOutcome:
    status = DeliveryStatus.DEAD if dead else DeliveryStatus.PENDING
    return DeliveryOutcome(pending.id, pending.attempt, status, delay, 0.5, None, "no answer")


class TestTaskEvents(StoreTests):
    async def test_a_task_end_is_an_event_if_the_template_declares_it(self, store: Store) -> None:
        """This holds for every outcome; the event contains the outcome and the duration."""
        template_id = await register_template(
            store, replace(one_step_template(), events=tuple(TaskEndEvent))
        )
        worker = await ManualWorker.register(store)
        tasks = [await create_task(store, template_id) for _ in range(4)]
        complete, cancelled, failing, resolved = sorted(await worker.claim())
        await worker.complete(complete)
        await store.cancel_task(cancelled.task_id, ACT)
        await worker.fail(failing, resolved)
        await store.resolve_task(resolved.task_id, ACT)

        ends = [
            [
                (event.name, event.outcome.value, event.step_no)
                for event in await list_events(store, task_id=each)
            ]
            for each in sorted(tasks)
        ]
        assert [
            [("tasker.task.completed", "complete", 0)],
            [("tasker.task.cancelled", "cancelled", 0)],
            [("tasker.task.failed", "error", 0)],
            [
                ("tasker.task.failed", "error", 0),
                ("tasker.task.resolved", "resolved_manually", 0),
            ],
        ] == ends
        (failed_event,) = await list_events(store, task_id=failing.task_id)
        assert {"error": (await store.get_task(failing.task_id)).error} == failed_event.payload
        assert (failed_event.duration or 0) >= 0

    async def test_a_task_end_that_is_not_declared_is_no_event(self, store: Store) -> None:
        """This holds for undeclared ends and for other templates."""
        await register_template(store, replace(one_step_template(), events=(TaskEndEvent.FAILED,)))
        for template in (
            replace(one_step_template(), events=(TaskEndEvent.FAILED,)),
            one_step_template("plain"),
        ):
            await register_and_create_task(store, template)
        worker = await ManualWorker.register(store)

        await worker.complete(*await worker.claim())

        assert [] == await list_event_names(store)

    async def test_the_end_event_of_a_task_follows_the_events_of_its_last_step(
        self, store: Store
    ) -> None:
        publisher = await PublishingWorker.register(
            store, replace(one_step_template(), events=(TaskEndEvent.COMPLETED,))
        )

        await publisher.run_task_with_events("payment.charged")

        assert ["payment.charged", "tasker.task.completed"] == await list_event_names(store)

    async def test_each_end_of_a_reopened_task_is_an_event(self, store: Store) -> None:
        """The task is retried between its ends."""
        await register_and_create_task(
            store, replace(one_step_template(), events=tuple(TaskEndEvent))
        )
        worker = await ManualWorker.register(store)
        claim = await worker.claim_one()
        await worker.fail(claim)
        await store.retry_steps(claim.task_id, ACT)

        await worker.fail(await worker.claim_one())

        first, second = await list_events(store)
        assert f"{claim.task_id}:0:1:tasker.task.failed" == first.id
        assert f"{claim.task_id}:0:2:tasker.task.failed" == second.id


class TestDeliveries(StoreTests):
    async def test_each_event_is_delivered_once_to_each_subscription_that_it_matches(
        self, store: Store
    ) -> None:
        publisher = await PublishingWorker.register(store)
        audit = await EventReceiver.subscribe(store)
        everywhere = NewSubscription(namespace="*", name="all", events=("*",))
        everything = await EventReceiver.subscribe(store, everywhere)
        elsewhere = NewSubscription(namespace="other", name="audit", events=("*",))
        other = await EventReceiver.subscribe(store, elsewhere)
        await publisher.run_task_with_events("payment.charged", "payments", "order.paid")

        assert ["payment.charged"] == await audit.deliver_all_and_list_names()
        assert {"payment.charged", "payments", "order.paid"} == set(
            await everything.deliver_all_and_list_names()
        )
        assert [] == await other.deliver_all_and_list_names()
        assert [] == await audit.deliver_all_and_list_names()

    async def test_a_delivery_contains_the_context_and_the_result(self, store: Store) -> None:
        publisher = await PublishingWorker.register(store)
        audit = await EventReceiver.subscribe(store)
        await publisher.run_task_with_events("payment.charged", context={"order": 7})

        (pending,) = await audit.distribute_and_claim()

        assert ({"order": 7}, {"cents": 4200}) == (
            pending.event.context,
            pending.event.result,
        )

    async def test_a_subscription_starts_at_its_creation(
        self, store: Store, subject: StoreUnderTest
    ) -> None:
        publisher = await PublishingWorker.register(store)
        await publisher.run_task_with_events("payment.before")
        await subject.advance(SECOND)
        audit = await EventReceiver.subscribe(store)
        await publisher.run_task_with_events("payment.after")

        assert ["payment.after"] == await audit.deliver_all_and_list_names()

    async def test_events_of_one_task_are_delivered_in_order(self, store: Store) -> None:
        """The second event waits for the delivery of the first; events of other tasks do not."""
        publisher = await PublishingWorker.register(store)
        audit = await EventReceiver.subscribe(store)
        await publisher.run_task_with_events("payment.a", "payment.b")
        await publisher.run_task_with_events("payment.c")

        claimed = await audit.distribute_and_claim()

        assert ["payment.a", "payment.c"] == [pending.event.name for pending in claimed]
        assert [] == await audit.distribute_and_claim()
        await store.settle_deliveries([delivered_outcome(pending) for pending in claimed])
        assert ["payment.b"] == await audit.deliver_all_and_list_names()

    async def test_a_failed_delivery_is_repeated_after_its_delay(
        self, store: Store, subject: StoreUnderTest
    ) -> None:
        publisher = await PublishingWorker.register(store)
        audit = await EventReceiver.subscribe(store)
        await publisher.run_task_with_events("payment.a", "payment.b")
        (pending,) = await audit.distribute_and_claim()
        await store.settle_deliveries([failed_delivery_outcome(pending, 10.0)])

        assert [] == await audit.distribute_and_claim()
        await subject.advance(SECOND * 11)
        (again,) = await audit.distribute_and_claim()

        assert (pending.id, 2) == (again.id, again.attempt)
        await store.settle_deliveries([failed_delivery_outcome(again, dead=True)])
        assert ["payment.b"] == await audit.deliver_all_and_list_names()
        (row,) = await store.list_deliveries("suite", "audit")
        assert (DeliveryStatus.DEAD, 2) == (row.status, len(row.log))
        assert "no answer" == row.log[0].error

    async def test_a_delivery_is_taken_over_from_a_dead_process(
        self, stores: Sequence[Store], subject: StoreUnderTest
    ) -> None:
        """A later report of the dead process is ignored."""
        publisher = await PublishingWorker.register(stores[0])
        first = await EventReceiver.subscribe(stores[0])
        second = await EventReceiver.subscribe(stores[1])
        await publisher.run_task_with_events("payment.charged")
        (late,) = await first.distribute_and_claim(lease=SECOND)
        await subject.advance(SECOND * 2)
        (again,) = await second.distribute_and_claim()

        await stores[0].settle_deliveries([failed_delivery_outcome(late, dead=True)])
        await stores[1].settle_deliveries([delivered_outcome(again)])

        assert (late.id, late.attempt + 1) == (again.id, again.attempt)
        assert [] == await stores[0].list_deliveries("suite", "audit")

    async def test_processes_that_share_a_subscription_deliver_each_event_once(
        self, stores: Sequence[Store]
    ) -> None:
        """Each event is delivered once, whatever the processes do concurrently."""
        publisher = await PublishingWorker.register(stores[0])
        receivers = [await EventReceiver.subscribe(store) for store in stores]
        ids = [await publisher.run_task_with_events("payment.charged") for _ in range(20)]

        got = await asyncio.gather(*(receiver.deliver_all_due(limit=3) for receiver in receivers))
        got.append(await receivers[0].deliver_all_due())  # what another process distributed last

        assert sorted(ids) == sorted(event.task_id for part in got for event in part)

    async def test_a_failing_webhook_is_suspended_for_a_while(
        self, store: Store, subject: StoreUnderTest
    ) -> None:
        publisher = await PublishingWorker.register(store)
        await store.add_webhook(HOOK, ACT)
        (endpoint,) = await store.list_webhook_endpoints()
        hook = EventReceiver(store, endpoint.id)
        await publisher.run_task_with_events("payment.a")
        (failing,) = await hook.distribute_and_claim()
        await publisher.run_task_with_events("payment.b")
        await store.settle_deliveries([failed_delivery_outcome(failing, 3600.0)])

        assert [] == await hook.distribute_and_claim()
        await subject.advance(SECOND * 301)

        assert ["payment.b"] == await hook.deliver_all_and_list_names()
        (webhook,) = await store.list_webhooks()
        assert (1, 0) == (webhook.pending, webhook.dead)

    async def test_an_unserved_subscription_is_deleted(
        self, store: Store, subject: StoreUnderTest
    ) -> None:
        publisher = await PublishingWorker.register(store)
        await EventReceiver.subscribe(store)
        await store.add_webhook(HOOK, ACT)
        await subject.advance(MINUTE * 10)
        await publisher.run_task_with_events("payment.charged")
        await store.distribute_events()
        now = await read_newest_event_time(store)

        await store.prune_events_and_deliveries(now - MINUTE, dead_before=now - MINUTE)

        assert ["crm"] == [subscription.name for subscription in await store.list_subscriptions()]

    async def test_undelivered_events_are_not_pruned(
        self, store: Store, subject: StoreUnderTest
    ) -> None:
        """Events are kept until they are distributed, and while a delivery is pending or dead."""
        publisher = await PublishingWorker.register(store)
        audit = await EventReceiver.subscribe(store)
        for name in ("payment.dead", "payment.pending", "payment.delivered"):
            await publisher.run_task_with_events(name)
        for pending in await audit.distribute_and_claim():
            if pending.event.name == "payment.dead":
                await store.settle_deliveries([failed_delivery_outcome(pending, dead=True)])
            if pending.event.name == "payment.delivered":
                await store.settle_deliveries([delivered_outcome(pending)])
        await publisher.run_task_with_events("payment.fresh")
        await subject.advance(MINUTE * 2)
        await EventReceiver.subscribe(store)
        before = await read_newest_event_time(store) + MINUTE

        assert 1 == await store.prune_events_and_deliveries(before, dead_before=before - MINUTE * 5)
        assert {"payment.dead", "payment.pending", "payment.fresh"} == set(
            await list_event_names(store)
        )

    async def test_recent_events_are_listed_after_a_number_or_a_time(
        self, store: Store, subject: StoreUnderTest
    ) -> None:
        publisher = await PublishingWorker.register(store)
        await publisher.run_task_with_events("payment.a")
        await subject.advance(MINUTE)
        await publisher.run_task_with_events("payment.b", context={"order": 1})
        newest = (await list_events(store))[-1]

        window = await store.list_recent_events(newest.no, newest.at - SECOND, 10)
        beyond = await store.list_recent_events(EventNo(0), newest.at + SECOND, 10)

        assert ["payment.b"] == [event.name for event in window]
        assert {"order": 1} == window[0].context
        assert ["payment.a", "payment.b"] == [event.name for event in beyond]

    async def test_a_subscriber_cannot_take_the_name_of_a_webhook(self, store: Store) -> None:
        await store.add_webhook(replace(HOOK, name="audit"), ACT)

        with pytest.raises(Misuse, match="audit"):
            await EventReceiver.subscribe(store)


class TestWebhooks(StoreTests):
    async def test_a_webhook_is_read_as_it_was_created(self, store: Store) -> None:
        """The secret is read only for deliveries."""
        made = await store.add_webhook(HOOK, ACT)

        assert [made] == await store.list_webhooks(namespace="suite")
        assert made == await store.get_webhook("suite", "crm")
        assert [] == await store.list_webhooks(visible={"other"})
        assert (HOOK.url, ("payment.*",), ("result",), False, "alice") == (
            made.url,
            made.events,
            made.include,
            made.paused,
            made.created_by,
        )
        assert made.secret is None
        assert ["s3cret"] == [endpoint.secret for endpoint in await store.list_webhook_endpoints()]

    async def test_the_name_of_a_webhook_is_unique(self, store: Store) -> None:
        await store.add_webhook(HOOK, ACT)

        with pytest.raises(WebhookExists):
            await store.add_webhook(HOOK, ACT)

    async def test_changes_are_audited_without_the_secret(self, store: Store) -> None:
        await store.add_webhook(HOOK, ACT)
        change = WebhookChange(url="https://new.example", paused=True)
        changed = await store.update_webhook("suite", "crm", change, ACT)
        await store.update_webhook("suite", "crm", WebhookChange(secret=HOOK.secret), ACT)
        assert [] == await store.list_webhook_endpoints()
        await store.delete_webhook("suite", "crm", ACT)

        assert ("https://new.example", ("payment.*",), True) == (
            changed.url,
            changed.events,
            changed.paused,
        )
        audit = await store.list_team_audit(namespace="suite")
        assert [
            "delete_webhook",
            "replace_webhook_secret",
            "update_webhook",
            "create_webhook",
        ] == [entry.action for entry in audit]
        assert "s3cret" not in codec.dumps([[entry.before, entry.after] for entry in audit])
        assert [] == await store.list_webhooks()

    async def test_concurrent_changes_are_audited_one_after_the_other(self, store: Store) -> None:
        """Each entry begins with the state in which the previous change left the webhook."""
        await store.add_webhook(HOOK, ACT)
        changes = [WebhookChange(url=f"https://{n}.example") for n in range(10)]

        await asyncio.gather(*(store.update_webhook("suite", "crm", one, ACT) for one in changes))

        audit = await store.list_team_audit(namespace="suite")
        assert 11 == len(audit)
        assert [entry.before for entry in audit[:-1]] == [entry.after for entry in audit[1:]]

    async def test_a_webhook_that_does_not_exist_is_not_found(self, store: Store) -> None:
        """A subscriber with that name is not a webhook."""
        await EventReceiver.subscribe(store)
        for call in (
            store.get_webhook("suite", "audit"),
            store.update_webhook("suite", "audit", WebhookChange(paused=True), ACT),
            store.delete_webhook("suite", "audit", ACT),
            store.list_deliveries("suite", "crm"),
        ):
            with pytest.raises(NotFound):
                await call

    async def test_a_delivered_event_can_be_resent(self, store: Store) -> None:
        publisher = await PublishingWorker.register(store)
        await store.add_webhook(HOOK, ACT)
        (endpoint,) = await store.list_webhook_endpoints()
        hook = EventReceiver(store, endpoint.id)
        await publisher.run_task_with_events("payment.charged")
        assert ["payment.charged"] == await hook.deliver_all_and_list_names()
        (row,) = await store.list_deliveries("suite", "crm", status=DeliveryStatus.DELIVERED)
        assert (204, "") == (row.log[0].response, row.log[0].error)

        await store.resend_delivery("suite", "crm", row.id, ACT)

        assert ["payment.charged"] == await hook.deliver_all_and_list_names()
        (again,) = await store.list_deliveries("suite", "crm")
        assert (row.id, 2) == (again.id, again.attempts)
        with pytest.raises(NotFound):
            await store.resend_delivery("suite", "crm", again.id + 1, ACT)  # type: ignore[arg-type]
