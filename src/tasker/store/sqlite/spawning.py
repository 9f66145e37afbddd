"""Inserting steps at run time, within a transaction."""

import sqlite3

from tasker import limits
from tasker.errors import TooManyInstances
from tasker.model import Claim, NewInstances, SpawnedStepNumbers, StatusCode
from tasker.store.sqlite.statements import execute, fetch, fetch_one, json_text


def spawn_instances(
    on: sqlite3.Connection, claim: Claim, new: NewInstances, now: float
) -> tuple[SpawnedStepNumbers | None, bool]:
    """Insert instances: see `tasker.store.protocol.WorkerStore.spawn_instances`.

    Returns:
        The numbers of the spawn, or None if the claim is lost, and whether steps are enqueued.
    """
    task_id, no, attempt = claim.attempt_key
    holder = fetch_one(
        on,
        "load_spawn_body_if_claim_held",
        task_id=task_id,
        no=no,
        attempt=attempt,
        join_no=new.join_no,
        body=new.body,
    )
    if holder is None:
        return None, False
    _, first_node, size, first_instance, last_no = holder
    known = fetch_one(on, "find_spawn", task_id=task_id, no=no, key=new.key)
    if known is not None:
        spawned = SpawnedStepNumbers(*known)
    else:
        spawned = SpawnedStepNumbers(last_no + 1, first_instance, new.instances)
        if first_instance + new.instances > limits.INSTANCES:
            raise TooManyInstances(first_instance + new.instances, limits.INSTANCES)
        execute(
            on,
            "add_spawn",
            task_id=task_id,
            join_no=new.join_no,
            size=size,
            no=no,
            key=new.key,
            **spawned._asdict(),
        )
        execute(on, "set_greatest_step_no", task_id=task_id, last_no=last_no + new.instances * size)
    made = fetch(
        on,
        "insert_instances",
        task_id=task_id,
        join_no=new.join_no,
        spawner=new.spawner,
        body=new.body,
        first_node=first_node,
        size=size,
        first_no=spawned.first_no,
        first_instance=spawned.first_instance,
        begin=new.begin,
        delay=new.delay,
        items=json_text(new.items),
        now=now,
    )
    if parents := sum(row[0] for row in made):
        execute(
            on,
            "increase_pending_parents_of_join",
            task_id=task_id,
            join_no=new.join_no,
            parents=parents,
        )
    return spawned, any(row[1] == StatusCode.ENQUEUED for row in made)
