-- One transaction of the ceiling: settle what the client claimed, then claim `p_many` more.
create function ceiling(p_client bigint, p_many int) returns int language plpgsql
set plan_cache_mode = force_generic_plan
set enable_hashjoin = off set enable_mergejoin = off set enable_seqscan = off set jit = off
as $$
declare
    v_tasks uuid[];
    v_nos int[];
    v_settled int;
begin
    delete from claim_batch where worker = p_client returning tasks, nos into v_tasks, v_nos;
    with settled as materialized (
        update step s set state = 4, settled_at = now(), result = '{"data": "RESULT"}'
        from unnest(v_tasks, v_nos) as c (task_id, no)
        where s.task_id = c.task_id and s.no = c.no
        returning s.task_id, s.children, s.run_at
    ), freed as (
        update step s set pending_parents = 0, state = 1, run_at = d.run_at, enqueued_at = now()
        from settled d
        where d.children[1] > 0 and s.task_id = d.task_id and s.no = d.children[1]
        returning s.task_id, s.no, s.run_at
    ), entries as (
        insert into due (queue_id, run_at, task_id, no) select 1, run_at, task_id, no from freed
    ), ended as (
        update task t set open_sinks = 0, state = 4, ended_at = now()
        from settled d
        where d.children[1] = 0 and t.id = d.task_id
    )
    select count(*) into v_settled from settled;

    with taken as materialized (
        delete from due
        where ctid = any (array(
            select ctid from due
            where queue_id = 1 and run_at <= now()
            order by queue_id, run_at, task_id, no
            limit p_many
            for update skip locked
        ))
        returning task_id, no
    ), claimed as (
        update step s set state = 2, worker = p_client, attempt = attempt + 1, claimed_at = now()
        from taken c
        where s.task_id = c.task_id and s.no = c.no
        returning s.task_id, s.no
    )
    insert into claim_batch (worker, claimed_at, open, tasks, nos)
    select p_client, now(), count(*), array_agg(task_id), array_agg(no) from claimed having count(*) > 0;
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

insert into due (queue_id, run_at, task_id, no)
select queue_id, run_at, task_id, no from step where no = 1;
