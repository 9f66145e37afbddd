-- Insert steps at run time: consecutive instances of the body that the template's nodes with scope
-- `p_body` are. One row: the number of the first step of this spawn, the first of its instances,
-- and how many there are; none where the attempt does not hold its step.
--
-- The first call of a spawn (p_task, p_no, p_key) reserves the numbers of all its `p_instances`; each call
-- inserts those instances from `p_from` on that `p_items` describes. What exists already is left as
-- it is, so that a call can be repeated. The join, which cannot have started, as one of its parents is
-- in progress, gets the last steps of the new instances as parents.
-- Raises TK006 where the join would have more than `p_most` instances.
--
-- Locks as a settlement does: the attempt, then the join, then the task.
create or replace function spawn_instances(
    p_task uuid, p_no int, p_attempt int, p_key text, p_join int, p_spawner int, p_body int,
    p_instances int, p_from int, p_items text[], p_delay float8, p_most int
)
returns table (first_no int, first_instance int, instances int)
language plpgsql
set plan_cache_mode = force_generic_plan
set enable_hashjoin = off set enable_mergejoin = off set enable_seqscan = off set jit = off
as $$
#variable_conflict use_column
declare
    v_template int;
    v_priority int;
    v_sign int;
    v_body int;                              -- number of the body's first node
    v_size int;
    v_spawn spawn;
    v_parents int;                           -- new ones of the join
    v_enqueued int;
begin
    perform from step s
    where s.task_id = p_task and s.no = p_no and s.attempt = p_attempt and s.state::int = {IN_PROGRESS}
    for update;
    if not found then
        return;
    end if;
    select t.template_id, t.priority, case when t.paused then -1 else 1 end
    into v_template, v_priority, v_sign
    from task t where t.id = p_task;

    select * into v_spawn from spawn n where n.task_id = p_task and n.no = p_no and n.key = p_key;
    if not found then
        select min(b.no), count(*) into v_body, v_size
        from template_step b where b.template_id = v_template and b.scope = p_body;
        perform from step s where s.task_id = p_task and s.no = p_join for update;
        v_spawn := (p_task, p_join, coalesce((
            select n.first_instance + n.instances from spawn n
            where n.task_id = p_task and n.join_no = p_join
            order by n.first_instance desc limit 1
        ), 0), p_instances, 0, v_size, p_no, p_key);
        if v_spawn.first_instance + p_instances > p_most then
            raise exception '%', v_spawn.first_instance + p_instances using errcode = 'TK006';
        end if;
        update task t
        set last_no = coalesce(t.last_no, (
                select max(b.no) from template_step b where b.template_id = v_template
            )) + p_instances * v_size
        where t.id = p_task
        returning t.last_no - p_instances * v_size + 1 into v_spawn.first_no;
        insert into spawn values (v_spawn.*);
    else
        select min(b.no) into v_body from template_step b where b.template_id = v_template and b.scope = p_body;
    end if;

    with body as materialized (
        select b.*, n.gate_id, n.outer_gate_id
        from template_step b
        left join body_gate n on n.task_id = p_task and n.node = b.no
        where b.template_id = v_template and b.scope = p_body
    ), made as (
        insert into step (task_id, no, name, queue_id, pending_parents, children, state, run_at, enqueued_at,
                          queue_timeout, template_node, spawned_by, instance, on_error, item, gate_id, outer_gate_id)
        select p_task, g.offset_no + b.no, b.name, (b.queue_id + v_priority) * v_sign, b.pending_parents,
               array(select case when c >= v_body and c < v_body + v_spawn.size then g.offset_no + c else p_join end
                     from unnest(b.children) as c),
               case when b.pending_parents = 0 then {ENQUEUED} else {PENDING} end,
               case when b.pending_parents = 0 then now() + p_delay * interval '1 s' end,
               case when b.pending_parents = 0 then now() end,
               b.queue_timeout, b.no, p_spawner, v_spawn.first_instance + g.place,
               case when b.on_error is not null then
                   array(select case when c >= v_body and c < v_body + v_spawn.size then g.offset_no + c else p_join end
                         from unnest(b.on_error) as c)
               end,
               g.item::json, b.gate_id, b.outer_gate_id
        from (
            select p_from + ord::int - 1 as place, item,
                   v_spawn.first_no + (p_from + ord::int - 1) * v_spawn.size - v_body as offset_no
            from unnest(p_items) with ordinality as i (item, ord)
        ) g
        cross join body b
        on conflict do nothing
        returning *
    ), entries as (
        {include insert_due_rows steps=made}
        returning no
    )
    select (select count(*) from made where p_join = any (children)), (select count(*) from entries)
    into v_parents, v_enqueued;

    if v_parents > 0 then
        update step s set pending_parents = s.pending_parents + v_parents
        where s.task_id = p_task and s.no = p_join;
    end if;
    if v_enqueued > 0 then
        perform wake_workers();
    end if;
    return query select v_spawn.first_no, v_spawn.first_instance, v_spawn.instances;
end $$;
