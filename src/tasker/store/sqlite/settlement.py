"""Settling outcomes within a transaction."""

import sqlite3
from collections.abc import Sequence, Set

from tasker.model import (
    STEP_STATUSES,
    TASK_NODE,
    Claim,
    JsonText,
    NewEvent,
    Outcome,
    OutcomeCode,
    SettleResult,
    StatusCode,
    TaskEnd,
    TaskId,
    TaskStatus,
    WorkerId,
)
from tasker.store.sqlite.statements import STATEMENTS, execute, fetch, fetch_one, json_text

_WITHOUT_SUCCESS = frozenset({OutcomeCode.ERROR, OutcomeCode.SKIPPED})
_FOR_OTHERS = frozenset({OutcomeCode.LOST, OutcomeCode.RELEASED})  #: any worker may claim these


def settle_outcomes(
    on: sqlite3.Connection,
    worker: WorkerId | None,
    outcomes: Sequence[Outcome],
    given: JsonText,
    claim_up_to: int,
    now: float,
    events: Sequence[NewEvent] = (),
) -> tuple[SettleResult, bool]:
    """Settle `outcomes`, which are also `given` as text, and store their `events`.

    Returns:
        The settlement, and whether steps are left for other workers.
    """
    on.execute("delete from temp.settled")
    on.execute("delete from temp.child")
    accepted = execute(on, "match_outcomes_to_attempts", outcomes=given).rowcount
    rejected: Sequence[int] = ()
    if accepted < len(outcomes):
        rejected = sorted(
            {*range(len(outcomes))} - {row[0] for row in fetch(on, "accepted_outcomes")}
        )
    if events:  # before those of tasks, which a trigger stores
        late = set(rejected)
        _store_events(on, outcomes, [event for event in events if event.outcome not in late], now)
    execute(on, "store_attempt_history", now=now)
    execute(on, "store_step_outcomes", now=now)
    kinds = {outcome.outcome for outcome in outcomes}
    if _are_successes_for_all_children(outcomes, kinds):
        execute(on, "collect_children_of_successes")
    else:
        execute(on, "collect_children_of_outcomes")
        execute(on, "count_missed_parents_and_move_to_engine_queue")
    if any(outcome.to_handler for outcome in outcomes):
        execute(on, "return_steps_to_handler_queue")
    freed, ended = _free_children_and_end_tasks(on, worker, claim_up_to, now)
    if OutcomeCode.ERROR in kinds:
        execute(on, "mark_tasks_with_failed_step")
    left = not kinds.isdisjoint(_FOR_OTHERS) or any(row[2] == StatusCode.ENQUEUED for row in freed)
    if fetch_one(on, "any_open_task_with_failed_step")[0]:
        failed = [row[0] for row in fetch(on, "settled_tasks_with_failed_step")]
        execute(on, "lower_pending_parents_of_cancelled_children")
        left = _begin_compensation(on, failed, now) or left
        ended += _end_failed_tasks(on, failed, now)
    if ended:
        left = _wake_steps_waiting_for_tasks(on, ended, now) or left
    claims = [Claim(row[0], row[1], 1, 1) for row in freed if row[2] == StatusCode.IN_PROGRESS]
    return SettleResult(rejected, claims, ended), left


def end_failed_tasks(on: sqlite3.Connection, tasks: Sequence[TaskId], now: float) -> list[TaskEnd]:
    """End failed and cancelled tasks: see `tasker.store.session.Session.end_failed_tasks`."""
    _begin_compensation(on, tasks, now)
    ended = _end_failed_tasks(on, tasks, now)
    if ended:
        _wake_steps_waiting_for_tasks(on, ended, now)
    return ended


def _end_failed_tasks(on: sqlite3.Connection, tasks: Sequence[TaskId], now: float) -> list[TaskEnd]:
    return [
        TaskEnd(task_id, TaskStatus(STEP_STATUSES[state].value))
        for task_id, state in fetch(on, "end_failed_tasks", tasks=json_text(tasks), now=now)
    ]


def _begin_compensation(on: sqlite3.Connection, tasks: Sequence[TaskId], now: float) -> bool:
    """Start the compensation of tasks in which nothing can run; return whether any has started."""
    given = json_text(tasks)
    if not fetch_one(on, "any_compensable_task", tasks=given)[0]:
        return False
    dropped = {row[0] for row in fetch(on, "cancel_unstarted_steps", tasks=given, now=now)}
    if dropped:
        execute(on, "delete_waits_of_tasks", tasks=json_text(sorted(dropped)))
    begun = [row[0] for row in fetch(on, "begin_compensation", tasks=given)]
    execute(on, "add_compensation_planner", tasks=json_text(begun), now=now)
    return bool(begun)


def _wake_steps_waiting_for_tasks(
    on: sqlite3.Connection, ended: Sequence[TaskEnd], now: float
) -> bool:
    """Enqueue the steps that waited for tasks; return whether there are any."""
    waiting = json_text([end.task_id for end in ended])
    return execute(on, "wake_steps_waiting_for_tasks", ended=waiting, now=now).rowcount > 0


def _are_successes_for_all_children(outcomes: Sequence[Outcome], kinds: Set[OutcomeCode]) -> bool:
    """Return whether all steps that end arrive at all of their children with success."""
    return kinds.isdisjoint(_WITHOUT_SUCCESS) and all(
        outcome.choice is None for outcome in outcomes
    )


def _store_events(
    on: sqlite3.Connection, outcomes: Sequence[Outcome], events: Sequence[NewEvent], now: float
) -> None:
    """Store the events of accepted outcomes."""
    rows = []
    for event in events:
        outcome = outcomes[event.outcome]
        place = {"task_id": outcome.task_id, "no": outcome.no, "attempt": outcome.attempt}
        rows.append({**event._asdict(), **place, "outcome": int(outcome.outcome), "now": now})
    on.executemany(STATEMENTS["add_outbox_event"], rows)


def _free_children_and_end_tasks(
    on: sqlite3.Connection,
    worker: WorkerId | None,
    claim_up_to: int,
    now: float,
) -> tuple[list[tuple[TaskId, int, int]], list[TaskEnd]]:
    """Free the children of settled steps, and end tasks.

    Returns:
        (task, step, state) of each child, and the ends.
    """
    least, greatest = fetch_one(on, "range_of_child_numbers")
    freed, ended = [], []
    if greatest:
        freed = fetch(on, "free_children", worker=worker, claim_up_to=claim_up_to, now=now)
    if least == TASK_NODE:
        for task_id, state in fetch(on, "count_down_sinks_and_complete_tasks", now=now):
            if state == StatusCode.COMPLETE:
                ended.append(TaskEnd(task_id, TaskStatus.COMPLETE))
    return freed, ended
