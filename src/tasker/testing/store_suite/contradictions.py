"""Finds rows in the tables of a PostgreSQL store that contradict each other."""

from collections.abc import Sequence
from typing import Any

from tasker.store.postgres.address import Connection
from tasker.store.statements import replace_code_names

_ENQUEUED = """
    select task_id, no, queue_id, run_at,
           greatest(enqueued_at, run_at) + queue_timeout * interval '1 s', gate_id, outer_gate_id
    from step where state = {ENQUEUED}
"""
_DUE = "select task_id, no, queue_id, run_at, latest_claim, gate_id, outer_gate_id from due"
_CLAIMED = """
    select worker, claimed_at, count(*)::int from step
    where state = {IN_PROGRESS} and worker is not null group by worker, claimed_at
"""
_BATCH = "select worker, claimed_at, open from claim_batch"

_CONTRADICTIONS = replace_code_names(f"""
    select 'an enqueued step without a row in table due' as what, c::text as row
    from ({_ENQUEUED} except {_DUE}) c
    union all
    select 'a row in table due whose step is not enqueued', c::text
    from ({_DUE} except {_ENQUEUED}) c
    union all
    select 'number of claimed steps differs from their claim batch', c::text
    from ({_CLAIMED} except {_BATCH}) c
    union all
    select 'number of steps in a claim batch differs from the claimed steps', c::text
    from ({_BATCH} except {_CLAIMED}) c
    union all
    select 'claimed but not listed in a claim batch', c::text
    from (select task_id, no, worker, claimed_at from step
          where state = {{IN_PROGRESS}} and worker is not null
          except
          select u.task_id, u.no, worker, claimed_at
          from claim_batch cross join unnest(tasks, nos) as u (task_id, no)) c
    union all
    select 'waiting without a wait, or a wait of a step that is not waiting', c::text
    from (select task_id, no, state, waits_for from step s
          where (state = {{WAITING}}) <> (waits_for is not null or exists (
              select from wait w where w.task_id = s.task_id and w.no = s.no))) c
    union all
    select 'a wait of a step that does not exist', c::text
    from (select task_id, no from wait except select task_id, no from step) c
    union all
    select 'more steps in progress than the concurrency allows', c::text
    from (select g.id, g.concurrency, count(*) from gate g
          join step s on s.state = {{IN_PROGRESS}} and (s.gate_id = g.id or s.outer_gate_id = g.id)
          join queue q on q.id = abs(s.queue_id) / 5 * 5 and q.gated
          group by g.id having count(*) > g.concurrency) c
    union all
    select 'claimed under a limit without a row in gate_claim', c::text
    from (select g.id, s.task_id, s.no, s.attempt from step s
          join queue q on q.id = abs(s.queue_id) / 5 * 5 and q.gated
          cross join lateral (values (s.gate_id), (s.outer_gate_id)) as g (id)
          where s.state = {{IN_PROGRESS}} and g.id > 0
          except
          select gate_id, task_id, no, attempt from gate_claim) c
    union all
    select 'failed without an error', c::text
    from (select task_id, no from step where state = {{ERROR}} and error is null) c
""")  # noqa: S608


async def find_contradictions(connection: Connection) -> Sequence[Any]:
    """Return the rows that contradict others, each with a description."""
    return list(await connection.fetch(_CONTRADICTIONS))
