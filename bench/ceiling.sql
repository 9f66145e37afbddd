-- One transaction of the ceiling: settle what the client claimed, then claim `p_many` more.
create function ceiling(p_client bigint, p_many int) returns int language plpgsql
set plan_cache_mode = force_generic_plan
set enable_hashjoin = off set enable_mergejoin = off set enable_seqscan = off set jit = off
as $$
declare
    v_settled int;
begin
    with settled as materialized (
        update step set state = 4, settled_at = now(), result = '{"data": "RESULT"}'
        where worker = p_client and state = 2
        returning task_id, children, run_at
    ), freed as (
        update step s set pending_parents = 0, state = 1, run_at = d.run_at, enqueued_at = now()
        from settled d
        where d.children[1] > 0 and s.task_id = d.task_id and s.no = d.children[1]
    ), ended as (
        update task t set open_sinks = 0, state = 4, ended_at = now()
        from settled d
        where d.children[1] = 0 and t.id = d.task_id
    )
    select count(*) into v_settled from settled;

    update step set state = 2, worker = p_client, attempt = attempt + 1, claimed_at = now()
    where ctid = any (array(
        select ctid from step
        where queue_id = 1 and state = 1 and run_at <= now()
        order by run_at, task_id, no
        limit p_many
        for update skip locked
    ));
    return v_settled;
end $$;

-- TASKS chains of four steps, of which the first is due.
insert into task (id, template_id, open_sinks, correlation_id, created_by, reason, tags, context)
select lpad(to_hex(n), 32, '0')::uuid, 1, 1, '', '', '', '{}', '{}'
from generate_series(1, TASKS) n;

insert into step (task_id, no, state, queue_id, pending_parents, run_at, enqueued_at, name, children)
select lpad(to_hex(n), 32, '0')::uuid, no, (no = 1)::int, 1, (no > 1)::int,
       case when no = 1 then now() end, case when no = 1 then now() end, 's' || no,
       array[(no + 1) % 5]
from generate_series(1, TASKS) n cross join generate_series(1, 4) no;
