"""The outbox: events, their subscriptions and their deliveries."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from tasker import codec, limits
from tasker.codec import UNSTORABLE
from tasker.errors import InvalidInput, Misuse, NotFound, WebhookExists
from tasker.events import (
    ClaimedDelivery,
    Delivery,
    DeliveryAttempt,
    DeliveryId,
    DeliveryOutcome,
    DeliveryStatus,
    Event,
    EventFilter,
    EventNo,
    NewSubscription,
    NewWebhook,
    Subscription,
    SubscriptionId,
    Webhook,
    WebhookChange,
    WebhookEndpoint,
)
from tasker.model import ATTEMPT_OUTCOMES, JsonText, TaskId
from tasker.store import operator_rules
from tasker.store.operations.teams import add_team_audit_entry
from tasker.store.protocol import AuditNote
from tasker.store.rows import Row, RowReader
from tasker.store.session import Session, TransactionalStore

_PRUNED = 5_000  #: oldest rows that one call of `prune_events_and_deliveries` examines
_LONGEST_ERROR = 1_000  #: characters of an error in the log of a delivery


class Events(TransactionalStore):
    """Implements `tasker.store.protocol.EventStore`."""

    async def list_events(
        self, filter: EventFilter, *, after: EventNo | None = None, limit: int = 100
    ) -> list[Event]:
        name = filter.name
        prefix = name[:-1] if name and name.endswith("*") else None
        task_id = filter.task_id and operator_rules.canonical_task_id(filter.task_id)

        async def read_events(tx: Session) -> list[Event]:
            rows = await tx.fetch_all(
                "list_events",
                namespace=filter.namespace,
                name=None if prefix is not None else name,
                name_prefix=prefix,
                task_id=task_id,
                visible=None if filter.visible is None else sorted(filter.visible),
                after=after,
                limit=limit,
            )
            return [_parse_event(row, tx.read) for row in rows]

        return await self._in_read_transaction(read_events)

    async def list_recent_events(self, after: EventNo, since: datetime, limit: int) -> list[Event]:
        async def read_recent_events(tx: Session) -> list[Event]:
            rows = await tx.fetch_all("list_recent_events", after=after, since=since, limit=limit)
            return [_parse_event(row, tx.read) for row in rows]

        return await self._in_read_transaction(read_recent_events)

    async def subscribe(
        self, subscriptions: Sequence[NewSubscription], actor: str
    ) -> list[SubscriptionId]:
        async def put_subscribers(tx: Session) -> list[SubscriptionId]:
            ids = []
            for new in sorted(subscriptions, key=lambda new: (new.namespace, new.name)):
                row = await tx.fetch_one(
                    "put_subscriber",
                    namespace=new.namespace,
                    name=new.name,
                    patterns=list(new.events),
                    actor=actor,
                )
                if row is None:
                    raise Misuse(
                        f"the subscriber {new.name!r} has the same name as a webhook in namespace"
                        f" {new.namespace!r}; rename one of them"
                    )
                ids.append(((new.namespace, new.name), SubscriptionId(row["id"])))
            by_name = dict(ids)
            return [by_name[new.namespace, new.name] for new in subscriptions]

        return await self._in_write_transaction(put_subscribers)

    async def list_subscriptions(self) -> list[Subscription]:
        async def read_subscriptions(tx: Session) -> list[Subscription]:
            return [_parse_subscription(row, tx.read) for row in await _fetch_subscriptions(tx)]

        return await self._in_read_transaction(read_subscriptions)

    # -------------------------------------------------------------- deliveries

    async def distribute_events(self, limit: int = 1000) -> int:
        if await self._fetch_one("undistributed_events", limit=1) is None:
            return 0

        async def add_deliveries_of_new_events(tx: Session) -> int:
            if await tx.fetch_one("try_lock_event_distribution") is None:
                return 0
            fresh = [row["id"] for row in await tx.fetch_all("undistributed_events", limit=limit)]
            await tx.fetch_all("add_deliveries", events=fresh)
            await tx.fetch_all("mark_events_distributed", events=fresh)
            return len(fresh)

        return await self._in_write_transaction(add_deliveries_of_new_events)

    async def claim_deliveries(
        self, subscriptions: Sequence[SubscriptionId], limit: int, *, lease: timedelta
    ) -> list[ClaimedDelivery]:
        async def claim_due_deliveries(tx: Session) -> list[ClaimedDelivery]:
            rows = await tx.fetch_all(
                "claim_deliveries",
                subscriptions=list(subscriptions),
                limit=limit,
                lease=lease.total_seconds(),
            )
            if not rows:
                return []
            given = await tx.fetch_all(
                "load_events_to_deliver", events=[row["event_no"] for row in rows]
            )
            events = {row["id"]: _parse_event(row, tx.read) for row in given}
            return [
                ClaimedDelivery(
                    DeliveryId(row["id"]),
                    SubscriptionId(row["subscription_id"]),
                    row["attempts"],
                    tx.read.instant(row["since"]),
                    events[row["event_no"]],
                )
                for row in sorted(rows, key=lambda row: int(row["id"]))
            ]

        return await self._in_write_transaction(claim_due_deliveries)

    async def settle_deliveries(self, outcomes: Sequence[DeliveryOutcome]) -> None:
        async def record_delivery_outcomes(tx: Session) -> None:
            answered: dict[int, bool] = {}
            for outcome in sorted(outcomes):
                row = await tx.fetch_one(
                    "record_delivery_attempt",
                    id=outcome.id,
                    attempt=outcome.attempt,
                    status=outcome.status.value,
                    delay=outcome.delay,
                    entry=_delivery_log_entry(outcome, tx.now),
                )
                if row is not None:
                    subscription = row["subscription_id"]
                    answered[subscription] = (
                        answered.get(subscription, True) and outcome.is_endpoint_available
                    )
            for subscription, all_answered in sorted(answered.items()):
                await tx.fetch_all(
                    "update_endpoint_backoff", id=subscription, answered=all_answered
                )
            await tx.fetch_all(
                "delete_delivered_subscriber_deliveries", ids=[outcome.id for outcome in outcomes]
            )

        await self._in_write_transaction(record_delivery_outcomes)

    async def list_deliveries(
        self,
        namespace: str,
        name: str,
        *,
        status: DeliveryStatus | None = None,
        after: DeliveryId | None = None,
        limit: int = 100,
    ) -> list[Delivery]:
        async def read_deliveries(tx: Session) -> list[Delivery]:
            if await tx.fetch_one("get_subscription", namespace=namespace, name=name) is None:
                raise NotFound(f"subscription {name!r} of namespace {namespace!r}")
            rows = await tx.fetch_all(
                "list_deliveries",
                namespace=namespace,
                name=name,
                status=status and status.value,
                after=after,
                limit=limit,
            )
            return [_parse_delivery(row, tx.read) for row in rows]

        return await self._in_read_transaction(read_deliveries)

    async def resend_delivery(
        self, namespace: str, name: str, delivery: DeliveryId, act: AuditNote
    ) -> None:
        async def make_delivery_due(tx: Session) -> None:
            subscription = await _lock_subscription(tx, namespace, name)
            if (
                await tx.fetch_one("resend_delivery", subscription=subscription["id"], id=delivery)
                is None
            ):
                raise NotFound(f"delivery {delivery} of {namespace}.{name}")
            await _audit_webhook_change(
                tx, act, "send_again", namespace, name, None, {"delivery": delivery}
            )

        await self._in_write_transaction(make_delivery_due)

    # ---------------------------------------------------------------- webhooks

    async def list_webhook_endpoints(self) -> list[WebhookEndpoint]:
        async def read_webhook_endpoints(tx: Session) -> list[WebhookEndpoint]:
            return [
                WebhookEndpoint(
                    SubscriptionId(row["id"]),
                    row["name"],
                    row["url"],
                    row["secret"],
                    tx.read.strings(row["include"]),
                )
                for row in await tx.fetch_all("list_webhook_endpoints")
            ]

        return await self._in_read_transaction(read_webhook_endpoints)

    async def list_webhooks(
        self, *, namespace: str | None = None, visible: Collection[str] | None = None
    ) -> list[Webhook]:
        async def read_webhooks(tx: Session) -> list[Webhook]:
            rows = await _fetch_subscriptions(
                tx, namespace=namespace, visible=visible, webhooks=True
            )
            return [_parse_webhook(row, tx.read) for row in rows]

        return await self._in_read_transaction(read_webhooks)

    async def get_webhook(self, namespace: str, name: str) -> Webhook:
        return await self._in_read_transaction(lambda tx: _read_webhook(tx, namespace, name))

    async def add_webhook(self, new: NewWebhook, act: AuditNote) -> Webhook:
        async def add_and_audit_webhook(tx: Session) -> Webhook:
            (count,) = await tx.fetch_all("count_webhooks", namespace=new.namespace)
            if count["webhooks"] >= limits.WEBHOOKS:
                raise InvalidInput(
                    f"namespace {new.namespace!r} already has the maximum of {limits.WEBHOOKS}"
                    " webhooks"
                )
            row = await tx.fetch_one(
                "add_webhook",
                namespace=new.namespace,
                name=new.name,
                url=new.url,
                secret=new.secret,
                patterns=list(new.events),
                include=list(new.include),
                actor=act.actor,
            )
            if row is None:
                raise WebhookExists(
                    f"namespace {new.namespace!r} already has a webhook or a subscriber named"
                    f" {new.name!r}"
                )
            webhook = await _read_webhook(tx, new.namespace, new.name)
            facts = _webhook_audit_document(webhook)
            await _audit_webhook_change(
                tx, act, "create_webhook", new.namespace, new.name, None, facts
            )
            return webhook

        return await self._in_write_transaction(add_and_audit_webhook)

    async def update_webhook(
        self, namespace: str, name: str, change: WebhookChange, act: AuditNote
    ) -> Webhook:
        async def update_and_audit_webhook(tx: Session) -> Webhook:
            row = await _lock_subscription(tx, namespace, name, webhook=True)
            before = _webhook_audit_document(await _read_webhook(tx, namespace, name))
            await tx.fetch_all(
                "update_webhook",
                id=row["id"],
                url=change.url,
                secret=change.secret,
                patterns=None if change.events is None else list(change.events),
                include=None if change.include is None else list(change.include),
                paused=change.paused,
            )
            webhook = await _read_webhook(tx, namespace, name)
            after = _webhook_audit_document(webhook)
            action = "replace_webhook_secret" if change.secret else "update_webhook"
            await _audit_webhook_change(tx, act, action, namespace, name, before, after)
            return webhook

        return await self._in_write_transaction(update_and_audit_webhook)

    async def delete_webhook(self, namespace: str, name: str, act: AuditNote) -> None:
        async def delete_and_audit_webhook(tx: Session) -> None:
            row = await _lock_subscription(tx, namespace, name, webhook=True)
            before = _webhook_audit_document(await _read_webhook(tx, namespace, name))
            await tx.fetch_all("delete_deliveries_of_subscription", id=row["id"])
            await tx.fetch_all("delete_subscription", id=row["id"])
            await _audit_webhook_change(tx, act, "delete_webhook", namespace, name, before, None)

        await self._in_write_transaction(delete_and_audit_webhook)

    # ----------------------------------------------------------------- pruning

    async def prune_events_and_deliveries(self, before: datetime, *, dead_before: datetime) -> int:
        async def delete_old_events(tx: Session) -> int:
            for row in await tx.fetch_all("abandoned_subscriptions", before=before):
                await tx.fetch_all("delete_deliveries_of_subscription", id=row["id"])
                await tx.fetch_all("delete_subscription", id=row["id"])
            await tx.fetch_all(
                "prune_deliveries", delivered_before=before, dead_before=dead_before, limit=_PRUNED
            )
            return len(await tx.fetch_all("prune_events", before=before, limit=_PRUNED))

        return await self._in_write_transaction(delete_old_events)


async def _fetch_subscriptions(
    tx: Session,
    *,
    namespace: str | None = None,
    name: str | None = None,
    visible: Collection[str] | None = None,
    webhooks: bool | None = None,
) -> Sequence[Row]:
    return await tx.fetch_all(
        "list_subscriptions",
        namespace=namespace,
        name=name,
        visible=None if visible is None else sorted(visible),
        webhooks=webhooks,
    )


async def _lock_subscription(
    tx: Session, namespace: str, name: str, *, webhook: bool = False
) -> Row:
    """Lock a subscription, so that concurrent changes are audited one after the other, and return
    its id and URL. Raises NotFound."""
    row = await tx.fetch_one("lock_subscription", namespace=namespace, name=name)
    if row is None or (webhook and row["url"] is None):
        what = "webhook" if webhook else "subscription"
        raise NotFound(f"{what} {name!r} of namespace {namespace!r}")
    return row


async def _read_webhook(tx: Session, namespace: str, name: str) -> Webhook:
    rows = await _fetch_subscriptions(tx, namespace=namespace, name=name, webhooks=True)
    if not rows:
        raise NotFound(f"webhook {name!r} of namespace {namespace!r}")
    return _parse_webhook(rows[0], tx.read)


async def _audit_webhook_change(
    tx: Session,
    act: AuditNote,
    action: str,
    namespace: str,
    name: str,
    before: Mapping[str, Any] | None,
    after: Mapping[str, Any] | None,
) -> None:
    subject = f"webhook {namespace}.{name}"
    await add_team_audit_entry(tx, act, action, subject, before, after, namespace=namespace)


def _parse_event(row: Row, read: RowReader) -> Event:
    return Event(
        no=EventNo(row["id"]),
        name=row["name"],
        namespace=row["namespace"],
        template=row["template"],
        version=row["version"],
        task_id=TaskId(row["task_id"]),
        step=row["step"],
        step_no=row["no"],
        attempt=row["attempt"],
        outcome=ATTEMPT_OUTCOMES[row["outcome"]],
        at=read.instant(row["at"]),
        duration=row["duration"],
        correlation_id=row["correlation_id"],
        payload=codec.loads(row["payload"]),
        context=None if row["context"] is None else codec.loads(row["context"]),
        result=None if row["result"] is None else codec.loads(row["result"]),
    )


def _parse_subscription(row: Row, read: RowReader) -> Subscription:
    return Subscription(
        id=SubscriptionId(row["id"]),
        namespace=row["namespace"],
        name=row["name"],
        events=read.strings(row["patterns"]),
        url=row["url"],
        pending=row["pending"],
        dead=row["dead"],
        oldest_pending=None if row["oldest"] is None else read.instant(row["oldest"]),
        created_by=row["created_by"],
        created_at=read.instant(row["created_at"]),
        served_at=None if row["served_at"] is None else read.instant(row["served_at"]),
    )


def _parse_webhook(row: Row, read: RowReader) -> Webhook:
    return Webhook(
        namespace=row["namespace"],
        name=row["name"],
        url=row["url"],
        events=read.strings(row["patterns"]),
        include=read.strings(row["include"]),
        paused=bool(row["paused"]),
        pending=row["pending"],
        dead=row["dead"],
        created_by=row["created_by"],
        created_at=read.instant(row["created_at"]),
    )


def _webhook_audit_document(webhook: Webhook) -> Mapping[str, Any]:
    """Return the form in which the audit log stores a webhook, without its secret."""
    return {
        "url": webhook.url,
        "events": list(webhook.events),
        "include": list(webhook.include),
        "paused": webhook.paused,
    }


def _parse_delivery(row: Row, read: RowReader) -> Delivery:
    pending = row["status"] == DeliveryStatus.PENDING
    return Delivery(
        id=DeliveryId(row["id"]),
        subscription=row["subscription"],
        namespace=row["namespace"],
        status=DeliveryStatus(row["status"]),
        attempts=row["attempts"],
        created_at=read.instant(row["created_at"]),
        next_at=read.instant(row["next_at"]) if pending else None,
        settled_at=None if row["settled_at"] is None else read.instant(row["settled_at"]),
        event_id=f"{row['task_id']}:{row['no']}:{row['attempt']}:{row['event']}",
        event_name=row["event"],
        task_id=TaskId(row["task_id"]),
        log=tuple(
            DeliveryAttempt(**{**entry, "at": datetime.fromisoformat(entry["at"])})
            for entry in codec.loads(row["log"])
        ),
    )


def _delivery_log_entry(outcome: DeliveryOutcome, at: datetime) -> JsonText:
    entry = {
        "at": at.isoformat(),
        "duration": round(outcome.ran_for, 3),
        "response": outcome.response,
        "error": UNSTORABLE.sub("", outcome.error)[:_LONGEST_ERROR],
    }
    return codec.dumps(entry)
