"""Waits of steps, and the signals and broadcasts that end them."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from tasker.approvals import NewApproval
from tasker.durable import DurableCall, DurableCallKind
from tasker.errors import WaitCycle
from tasker.limits import BROADCASTS, UNTAKEN_SIGNALS
from tasker.model import Claim, JsonText, TaskId, WaitKind
from tasker.store import operator_rules
from tasker.store.operations.auditing import add_audit_entry
from tasker.store.protocol import AuditNote
from tasker.store.rows import Row, step_name
from tasker.store.session import Session, TransactionalStore
from tasker.waits import (
    TIMED_OUT,
    AwaitedArrival,
    BroadcastSent,
    NewBroadcast,
    NewSignal,
    NewWait,
    SignalSent,
    TooManyBroadcasts,
    TooManySignals,
    encode_arrival,
)

PAGE = 100  #: steps that one transaction wakes
INTERRUPTED = 5.0  #: seconds after which an undelivered broadcast is delivered by a janitor
RETENTION = 7 * 86_400.0  #: seconds for which broadcasts are kept


class Waits(TransactionalStore):
    """Waits of steps, and the signals and broadcasts that end them."""

    async def park_until_task_ends(self, claim: Claim, waits_for: TaskId) -> bool:
        async def park_unless_task_ended(tx: Session) -> bool:
            child = await tx.fetch_one("lock_awaited_task", task_id=waits_for)
            over = child is None or bool(child["over"])
            if not over:
                for link in await tx.call_function(
                    "find_wait_cycle", task_id=claim.task_id, waits_for=waits_for
                ):
                    raise WaitCycle(claim.task_id, waits_for, link["id"])
            return await park_step(tx, claim, waits_for=waits_for, over=over)

        return await self._in_yielding_transaction(park_unless_task_ended)

    async def receive_arrival(self, claim: Claim, wait: NewWait) -> DurableCall | None:
        arrived = await self._in_read_transaction(
            lambda tx: _find_first_arrival(tx, claim, wait.awaited)
        )
        if arrived is None:
            return None

        async def record_arrival_if_claim_held(tx: Session) -> DurableCall | None:
            await tx.call_function(
                "lock_mailboxes", mailboxes=_list_mailboxes_of_wait(claim.task_id, wait.awaited)
            )
            if not await _lock_step_if_claim_held(tx, claim):
                return None
            return await _record_first_arrival(tx, claim, wait)

        return await self._in_yielding_transaction(record_arrival_if_claim_held)

    async def park_for_arrival(self, claim: Claim, wait: NewWait) -> bool:
        task_id, no = claim.task_id, claim.no

        async def park_unless_arrived(tx: Session) -> bool:
            await tx.call_function(
                "lock_mailboxes", mailboxes=_list_mailboxes_of_wait(task_id, wait.awaited)
            )
            if not await _lock_step_if_claim_held(tx, claim):
                return False
            over = await _record_first_arrival(tx, claim, wait) is not None
            over = over or await _is_externally_completed(tx, claim, wait)
            await tx.fetch_all("delete_waits_of_step", task_id=task_id, no=no)
            for awaited in () if over else wait.awaited:
                await tx.fetch_all(
                    "add_wait",
                    task_id=task_id,
                    no=no,
                    kind=awaited.kind.value,
                    namespace=awaited.namespace,
                    name=awaited.name,
                    key=awaited.key,
                    call=wait.call,
                    call_kind=wait.kind.value,
                    timeout=wait.timeout,
                    until=wait.until,
                )
            if wait.approval is not None and not over:
                await _add_open_approval(tx, claim, wait, wait.approval)
            await park_step(tx, claim, waits_for=None, over=over)
            return True

        return await self._in_yielding_transaction(park_unless_arrived)

    async def send_signal(self, signal: NewSignal, act: AuditNote) -> SignalSent:
        task_id = operator_rules.canonical_task_id(signal.task_id)

        async def store_and_deliver_signal(tx: Session) -> SignalSent:
            await tx.call_function(
                "lock_mailboxes", mailboxes=[_mailbox_of_signal(task_id, signal.name)]
            )
            row = await tx.fetch_one("task_state", task_id=task_id)
            if signal.id is not None and row is not None:
                known = await tx.fetch_one(
                    "signal_by_id", task_id=task_id, name=signal.name, id=signal.id
                )
                if known is not None:
                    return _make_signal_sent(signal, task_id, created=False, step=None)
            status = operator_rules.require_task_status(task_id, row, "signal", operator_rules.OPEN)
            untaken = await tx.fetch_one("count_unreceived_signals", task_id=task_id)
            if untaken is not None and untaken["signals"] >= UNTAKEN_SIGNALS:
                raise TooManySignals(task_id)
            (stored,) = await tx.fetch_all(
                "add_signal",
                task_id=task_id,
                name=signal.name,
                id=signal.id,
                payload=signal.payload,
                sent_by=act.actor,
            )
            received = await _deliver_signal(tx, task_id, signal, stored, act.actor)
            no = None if received is None else received.no
            note = AuditNote(actor=act.actor, reason=act.reason or signal.name)
            await add_audit_entry(tx, task_id, no, "signal", note, status, status)
            step = None if received is None else received.name
            return _make_signal_sent(signal, task_id, created=True, step=step)

        return await self._in_yielding_transaction(store_and_deliver_signal)

    async def send_broadcast(self, broadcast: NewBroadcast, sent_by: str) -> BroadcastSent:
        namespace, name, key, payload, id = broadcast
        place = {"namespace": namespace, "name": name, "key": key}

        async def store_broadcast(tx: Session) -> tuple[Row, bool]:
            await tx.call_function(
                "lock_mailboxes", mailboxes=[_mailbox_of_broadcast(namespace, name, key)]
            )
            known = None if id is None else await tx.fetch_one("find_broadcast", **place, id=id)
            if known is not None:
                return known, False
            kept = await tx.fetch_one("count_broadcasts", **place)
            if kept is not None and kept["broadcasts"] >= BROADCASTS:
                raise TooManyBroadcasts(name, key)
            (stored,) = await tx.fetch_all(
                "add_broadcast", **place, id=id, payload=payload, sent_by=sent_by
            )
            return stored, True

        stored, created = await self._in_yielding_transaction(store_broadcast)
        steps = await self._deliver_broadcast(namespace, name, key, stored)
        return BroadcastSent(
            namespace=namespace, name=name, key=key, id=id, created=created, steps=steps
        )

    async def complete_interrupted_broadcasts(self, limit: int) -> int:
        rows = await self._fetch_all("interrupted_broadcasts", older_than=INTERRUPTED, limit=limit)
        for row in rows:
            await self._deliver_broadcast(row["namespace"], row["name"], row["key"], row)
        return len(rows)

    async def prune_broadcasts(self, limit: int) -> int:
        return len(
            await self._execute_in_transaction(
                "prune_broadcasts", older_than=RETENTION, limit=limit
            )
        )

    async def end_timed_out_waits(self, limit: int) -> int:
        if await self._fetch_one("lock_steps_of_timed_out_waits", limit=1) is None:
            return 0

        async def wake_timed_out_steps(tx: Session) -> int:
            rows = await tx.fetch_all("lock_steps_of_timed_out_waits", limit=limit)
            for row in rows:
                await wake_step(tx, WaitingStep.of_row(row), TIMED_OUT)
            return len(rows)

        return await self._in_yielding_transaction(wake_timed_out_steps)

    async def _deliver_broadcast(self, namespace: str, name: str, key: str, stored: Row) -> int:
        """Wake the steps that wait for a broadcast, page by page; return how many."""
        text = await self._in_read_transaction(
            lambda tx: _broadcast_arrival_text(tx, name, key, stored)
        )
        place = {"namespace": namespace, "name": name, "key": key}

        async def wake_page_of_waiters(tx: Session) -> tuple[int, int]:
            waiters = await tx.fetch_all("lock_waiters_of_broadcast", **place, limit=PAGE)
            woken = 0
            for row in waiters:
                woken += await wake_step(tx, WaitingStep.of_row(row), text) is not None
            if len(waiters) < PAGE:
                await tx.fetch_all("mark_broadcast_delivered", **place, number=stored["number"])
            return len(waiters), woken

        steps, waiting = 0, PAGE
        while waiting == PAGE:
            waiting, woken = await self._in_yielding_transaction(wake_page_of_waiters)
            steps += woken
        return steps


class WaitingStep(NamedTuple):
    """A waiting step and its durable call, which stores the arrival."""

    task_id: TaskId
    no: int
    call: str
    kind: DurableCallKind

    @classmethod
    def of_row(cls, row: Row) -> "WaitingStep":
        return cls(
            TaskId(row["task_id"]), row["no"], row["call"], DurableCallKind(row["call_kind"])
        )


class _ReceivingStep(NamedTuple):
    no: int
    name: str  #: of the step


async def wake_step(tx: Session, waiter: WaitingStep, value: JsonText) -> str | None:
    """End the wait of a step: record the arrival and enqueue the step.

    Returns:
        The name of the step; None if it no longer waits.
    """
    task_id, no, call, kind = waiter
    woken = await tx.fetch_one("wake_step", task_id=task_id, no=no)
    await tx.fetch_all("delete_waits_of_step", task_id=task_id, no=no)
    if woken is None:
        return None
    await tx.fetch_all(
        "record_durable_call", task_id=task_id, no=no, name=call, kind=kind.value, content=value
    )
    await tx.call_function("wake_workers")
    return step_name(woken)


async def park_step(tx: Session, claim: Claim, *, waits_for: TaskId | None, over: bool) -> bool:
    """End an attempt whose step waits; return False if the claim is lost."""
    fence = {"task_id": claim.task_id, "no": claim.no, "attempt": claim.attempt}
    await tx.fetch_all("store_parked_attempt", **fence)
    parked = await tx.fetch_all("park_step", **fence, waits_for=waits_for, over=over)
    await tx.call_function("wake_workers")
    return bool(parked)


async def _is_externally_completed(tx: Session, claim: Claim, wait: NewWait) -> bool:
    """Return whether another system completed an external step during the attempt."""
    if wait.kind is not DurableCallKind.EXTERNAL:
        return False
    known = await tx.fetch_one(
        "find_external_completion", task_id=claim.task_id, no=claim.no, name=wait.call
    )
    return known is not None


async def _add_open_approval(tx: Session, claim: Claim, wait: NewWait, new: NewApproval) -> None:
    await tx.fetch_all(
        "add_approval",
        id=new.id,
        task_id=claim.task_id,
        no=claim.no,
        call=wait.call,
        form=new.form,
        assignees=list(new.assignees),
        escalate_to=list(new.escalate_to),
        escalate_after=new.escalate_after,
    )


async def _lock_step_if_claim_held(tx: Session, claim: Claim) -> bool:
    """Return whether an attempt is in progress, and keep it so until the transaction ends."""
    task_id, no, attempt = claim.attempt_key
    return bool(await tx.fetch_all("lock_running_step", task_id=task_id, no=no, attempt=attempt))


async def _deliver_signal(
    tx: Session, task_id: TaskId, signal: NewSignal, stored: Row, sent_by: str
) -> _ReceivingStep | None:
    """Wake the first step of the task that waits for a signal."""
    text = encode_arrival(
        signal.name, signal.payload, sent_by=sent_by, sent_at=tx.read.instant(stored["sent_at"])
    )
    for row in await tx.fetch_all("waiters_of_signal", task_id=task_id, name=signal.name):
        waiter = WaitingStep(task_id, row["no"], row["call"], DurableCallKind(row["call_kind"]))
        if (name := await wake_step(tx, waiter, text)) is not None:
            number = stored["number"]
            await tx.fetch_all(
                "mark_signal_received",
                task_id=task_id,
                name=signal.name,
                number=number,
                no=waiter.no,
            )
            return _ReceivingStep(waiter.no, name)
    return None


async def _record_first_arrival(tx: Session, claim: Claim, wait: NewWait) -> DurableCall | None:
    """Record and return the first arrival for a wait, or return None if nothing has arrived."""
    arrived = await _find_first_arrival(tx, claim, wait.awaited)
    if arrived is None:
        return None
    task_id, no = claim.task_id, claim.no
    if arrived.awaited.kind is WaitKind.SIGNAL:
        name, number = arrived.awaited.name, arrived.number
        await tx.fetch_all("mark_signal_received", task_id=task_id, name=name, number=number, no=no)
    call, kind, text = wait.call, wait.kind, arrived.text
    await tx.fetch_all(
        "record_durable_call", task_id=task_id, no=no, name=call, kind=kind.value, content=text
    )
    return DurableCall(call, kind, text)


class _Arrival(NamedTuple):
    sent_at: datetime
    number: int
    awaited: AwaitedArrival
    text: JsonText


async def _find_first_arrival(
    tx: Session, claim: Claim, all_awaited: Sequence[AwaitedArrival]
) -> _Arrival | None:
    """Return the earliest signal or broadcast that a wait can receive."""
    arrivals = []
    for awaited in all_awaited:
        name, key = awaited.name, None
        if awaited.kind is WaitKind.APPROVAL:  # decided only while its step waits
            continue
        if awaited.kind is WaitKind.EXTERNAL:
            continue
        if awaited.kind is WaitKind.SIGNAL:
            row = await tx.fetch_one("first_unreceived_signal", task_id=claim.task_id, name=name)
        else:
            key = awaited.key
            row = await tx.fetch_one(
                "first_receivable_broadcast",
                task_id=claim.task_id,
                namespace=awaited.namespace,
                name=name,
                key=key,
                after=awaited.after,
            )
        if row is not None:
            arrivals.append(_parse_arrival(tx, row, awaited, key))
    return min(arrivals, default=None)


def _parse_arrival(tx: Session, row: Row, awaited: AwaitedArrival, key: str | None) -> _Arrival:
    sent_at, number = tx.read.instant(row["sent_at"]), row["number"]
    text = encode_arrival(
        awaited.name,
        row["payload"],
        sent_by=row["sent_by"],
        sent_at=sent_at,
        key=key,
        number=0 if key is None else number,
    )
    return _Arrival(sent_at, number, awaited, text)


async def _broadcast_arrival_text(tx: Session, name: str, key: str, stored: Row) -> JsonText:
    return encode_arrival(
        name,
        stored["payload"],
        sent_by=stored["sent_by"],
        sent_at=tx.read.instant(stored["sent_at"]),
        key=key,
        number=stored["number"],
    )


def _make_signal_sent(
    signal: NewSignal, task_id: TaskId, *, created: bool, step: str | None
) -> SignalSent:
    return SignalSent(task_id=task_id, name=signal.name, id=signal.id, created=created, step=step)


def _list_mailboxes_of_wait(task_id: TaskId, all_awaited: Sequence[AwaitedArrival]) -> list[str]:
    """Return the mailboxes that a wait must lock."""
    return [
        _mailbox_of_broadcast(awaited.namespace, awaited.name, awaited.key)
        if awaited.kind is WaitKind.BROADCAST
        else _mailbox_of_signal(task_id, awaited.name)
        for awaited in all_awaited
        if awaited.kind not in (WaitKind.APPROVAL, WaitKind.EXTERNAL)
    ]


def _mailbox_of_signal(task_id: str, name: str) -> str:
    return f"{task_id} {name}"


def _mailbox_of_broadcast(namespace: str, name: str, key: str) -> str:
    return f"{namespace} {name} {key}"
