-- Record one success and its consequences: like settle, for a single success. Starting plans over
-- arrays costs more than their work on one row; here each statement finds one row by its primary
-- key. Rows and the order of locks are those of settle.
create or replace function settle_success(
    p_worker bigint, p_task uuid, p_no int, p_attempt int, p_result text, p_claim int
)
returns table (kind int, task_id uuid, no int, attempt int, at float8)
language plpgsql
set plan_cache_mode = force_generic_plan
set enable_seqscan = off set enable_bitmapscan = off set jit = off
as $$
#variable_conflict use_column
declare
    v_paused int[] := array({include paused_queues});
    v_children int[];
    v_run_at timestamptz;
    v_worker bigint;
    v_enqueued_at timestamptz;
    v_claimed_at timestamptz;
    v_child int;
    v_rank int := 0;
    v_state smallint;
    v_queue int;
    v_claimed_no int[] := '{}';
    v_left_no int[] := '{}';
    v_left_queue int[] := '{}';
begin
    update step s
    set state = {COMPLETE}, settled_at = now(), result = p_result::json, error = null
    where s.task_id = p_task
      and s.no = p_no
      and s.attempt = p_attempt          -- the fence
      and s.state::int = {IN_PROGRESS}
    returning s.children, s.run_at, s.worker, s.enqueued_at, s.claimed_at
    into v_children, v_run_at, v_worker, v_enqueued_at, v_claimed_at;
    if not found then
        return query select 0, p_task, 1, 0, null::float8;
        return;
    end if;
    if p_attempt > 1 then   -- see attempt_history
        insert into attempt (task_id, no, attempt, outcome, worker, enqueued_at, claimed_at, settled_at)
        values (p_task, p_no, p_attempt, {OUTCOME.COMPLETE}, v_worker, v_enqueued_at, v_claimed_at, now());
    end if;

    if v_children[1] = 0 then
        if cardinality(v_children) > 1 then   -- it has an eager child: see settle
            raise exception 'more than one child' using errcode = 'TK007';
        end if;
        update task t
        set open_sinks = t.open_sinks - 1,
            state = case when t.open_sinks = 1 then {COMPLETE} else t.state end,
            ended_at = case when t.open_sinks = 1 then clock_timestamp() end   -- after all its attempts
        where t.id = p_task and t.state::int = {OPEN}
        returning t.state into v_state;
        if v_state = {COMPLETE} then
            if exists (select from step where waits_for = p_task) then
                perform wake_steps_waiting_for_tasks(array[p_task]);
            end if;
            return query select 2, p_task, {COMPLETE}, 0, null::float8;
        end if;
    else
        foreach v_child in array v_children loop
            v_rank := v_rank + 1;
            update step s
            set pending_parents = s.pending_parents - 1,
                run_at = v_run_at,
                enqueued_at = now(),
                (state, attempt, worker, claimed_at) = (
                    select case when s.pending_parents > 1 then {PENDING}
                                when f.for_caller then {IN_PROGRESS} else {ENQUEUED} end,
                           s.attempt + f.for_caller::int,
                           case when f.for_caller then p_worker end,
                           case when f.for_caller then now() end
                    from (select {include is_claimed_for_settling_worker worker=p_worker} as for_caller offset 0) f   -- asked once
                )
            from (select 1 as parents, v_rank as rank, v_run_at as run_at) c
            where s.task_id = p_task and s.no = v_child and s.state::int = {PENDING}
            returning s.state, s.queue_id into v_state, v_queue;
            if v_state = {IN_PROGRESS} then
                v_claimed_no := v_claimed_no || v_child;
                return query select 1, p_task, v_child, 1, null::float8;
            elsif v_state = {ENQUEUED} then
                v_left_no := v_left_no || v_child;
                v_left_queue := v_left_queue || v_queue;
            end if;
        end loop;
        if v_claimed_no <> '{}' then
            {include record_claims at=now() tasks=array_fill(p_task,array[cardinality(v_claimed_no)]) nos=v_claimed_no};
        end if;
    end if;

    if exists (select from task where id = p_task and has_failed_step and state = {OPEN}) then
        update step s                        -- see settle
        set pending_parents = s.pending_parents - cardinality(array_positions(v_children, s.no))
        where s.task_id = p_task and s.no = any (v_children) and s.state::int = {CANCELLED};
        return query
            select 2, e.id, e.state::int, 0, null::float8 from end_failed_tasks(array[p_task]) as e;
    end if;
    delete from claim_batch b
    where b.worker = v_worker and b.claimed_at = v_claimed_at and b.open = 1;
    if not found then
        perform decrement_claim_batches(array[v_worker], array[v_claimed_at]);
    end if;
    if v_left_no <> '{}' then
        {include insert_due_rows steps=step} and task_id = p_task and no = any (v_left_no);
        perform wake_workers();
        return query
            select 3, p_task, e.no, e.queue, (extract(epoch from v_run_at) * 1000000)::float8
            from unnest(v_left_no, v_left_queue) as e (no, queue);
    end if;
end $$;
