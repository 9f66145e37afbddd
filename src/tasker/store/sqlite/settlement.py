"""Settling outcomes within a transaction."""

import sqlite3
from collections.abc import Sequence, Set

from tasker.model import (
    TASK_NODE,
    Claim,
    Code,
    JsonText,
    NewEvent,
    Outcome,
    OutcomeCode,
    Settled,
    TaskEnd,
    TaskId,
    TaskStatus,
    WorkerId,
)
from tasker.store.sqlite.statements import STATEMENTS, execute, fetch, fetch_one, json_text

_WITHOUT_SUCCESS = frozenset({OutcomeCode.ERROR, OutcomeCode.SKIPPED})
_FOR_OTHERS = frozenset({OutcomeCode.LOST, OutcomeCode.RELEASED})  #: any worker may claim these


def settle(
    on: sqlite3.Connection,
    worker: WorkerId | None,
    outcomes: Sequence[Outcome],
    given: JsonText,
    claim_up_to: int,
    now: float,
    events: Sequence[NewEvent] = (),
) -> tuple[Settled, bool]:
    """Settle `outcomes`, which are also `given` as text, and store their `events`.

    Returns:
        The settlement, and whether steps are left for other workers.
    """
    on.execute("delete from temp.settled")
    on.execute("delete from temp.child")
    accepted = execute(on, "settle", outcomes=given).rowcount
    execute(on, "settle_history", now=now)
    execute(on, "settle_steps", now=now)
    kinds = {outcome.outcome for outcome in outcomes}
    if _arrive_as_success(outcomes, kinds):
        execute(on, "settle_children")
    else:
        execute(on, "settle_arrivals")
        execute(on, "settle_missed")
    if any(outcome.to_handler for outcome in outcomes):
        execute(on, "settle_to_handler")
    freed, ended = _free_children(on, worker, claim_up_to, now)
    if OutcomeCode.ERROR in kinds:
        execute(on, "settle_failures")
    if fetch_one(on, "any_failed_task")[0]:
        failing = json_text([row[0] for row in fetch(on, "settle_failed_tasks")])
        closed = fetch(on, "end_failed", tasks=failing, now=now)
        ended += (TaskEnd(row[0], TaskStatus.ERROR) for row in closed)
    left = not kinds.isdisjoint(_FOR_OTHERS) or any(row[2] == Code.ENQUEUED for row in freed)
    if ended:
        waiting = json_text([end.task_id for end in ended])
        left = execute(on, "wake_parents", ended=waiting, now=now).rowcount > 0 or left
    refused: Sequence[int] = ()
    if accepted < len(outcomes):
        refused = sorted({*range(len(outcomes))} - {row[0] for row in fetch(on, "settle_accepted")})
    if events:
        late = set(refused)
        _publish(on, outcomes, [event for event in events if event.outcome not in late], now)
    claims = [Claim(row[0], row[1], 1, 1) for row in freed if row[2] == Code.IN_PROGRESS]
    return Settled(refused, claims, ended), left


def _arrive_as_success(outcomes: Sequence[Outcome], kinds: Set[OutcomeCode]) -> bool:
    """Return whether all steps that end arrive at all of their children with success."""
    return kinds.isdisjoint(_WITHOUT_SUCCESS) and all(
        outcome.choice is None for outcome in outcomes
    )


def _publish(
    on: sqlite3.Connection, outcomes: Sequence[Outcome], events: Sequence[NewEvent], now: float
) -> None:
    """Store the events of accepted outcomes."""
    rows = []
    for event in events:
        outcome = outcomes[event.outcome]
        place = {"task_id": outcome.task_id, "no": outcome.no, "attempt": outcome.attempt}
        rows.append({**event._asdict(), **place, "outcome": int(outcome.outcome), "now": now})
    on.executemany(STATEMENTS["settle_events"], rows)


def _free_children(
    on: sqlite3.Connection,
    worker: WorkerId | None,
    claim_up_to: int,
    now: float,
) -> tuple[list[tuple[TaskId, int, int]], list[TaskEnd]]:
    """Free the children of settled steps, and end tasks.

    Returns:
        (task, step, state) of each child, and the ends.
    """
    least, greatest = fetch_one(on, "settle_nodes")
    freed, ended = [], []
    if greatest:
        freed = fetch(on, "settle_free", worker=worker, claim_up_to=claim_up_to, now=now)
    if least == TASK_NODE:
        for task_id, state in fetch(on, "settle_ends", now=now):
            if state == Code.COMPLETE:
                ended.append(TaskEnd(task_id, TaskStatus.COMPLETE))
    return freed, ended
