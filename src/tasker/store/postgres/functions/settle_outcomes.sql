-- Record outcomes and all that follows, in one transaction.
-- The steps that the outcomes of one worker free may be claimed for it, the first `p_claim` of them.
-- Outcomes of several workers have in `p_owner` their places in `p_workers`; `p_worker` is null then.
-- A freed step may be claimed for the owner of the outcome that freed it, within its `p_room`.
-- One row per thing to know: kind 0, an outcome was rejected (no = its index, from 1);
-- kind 1, a freed step was claimed (attempt = its owner); kind 2, a task ended (no = its state);
-- kind 3, the first step enqueued in a queue (attempt = the queue, at = its run_at in us).
-- Settlements cannot deadlock: each locks the attempts in progress, then the children, both in
-- the order (task, step), then all the tasks that it may write, in the order of their ids.
--
-- Its plans are made once per connection, perhaps while the tables are empty, and have to
-- be right for full ones too. So but one plan is left to choose: each row is looked up by
-- its primary key. Scans of other kinds are off, and `state::int` fits no partial index.
create or replace function settle_outcomes(
    p_worker bigint, p_task uuid[], p_no int[], p_attempt int[], p_outcome smallint[],
    p_result text[], p_error text[], p_delay float8[], p_choice text[],
    p_to_handler int[], p_claim int,
    p_owner int[] default null, p_workers bigint[] default null, p_room int[] default null
)
returns table (kind int, task_id uuid, no int, attempt int, at float8)
language plpgsql
set plan_cache_mode = force_generic_plan
set enable_hashjoin = off set enable_mergejoin = off set enable_seqscan = off set jit = off
set enable_indexscan = off set enable_indexonlyscan = off
as $$
#variable_conflict use_column
declare
    v_paused int[] := array({include paused_queues});
    v_accepted int[];
    v_failed uuid[];
    v_failed_tasks uuid[];                   -- tasks with a failed step, and others to lock with them
    v_child_task uuid[];
    v_child_no int[];
    v_parents int[];
    v_run_at timestamptz[];
    v_owner int[];                           -- who may claim a child, if there are several workers
    v_worker bigint[];                       -- of the settled attempts
    v_claimed_at timestamptz[];
    v_claimed_task uuid[];
    v_claimed_no int[];
    v_claimed_owner int[];
    v_queue int[];
    v_first_run_at timestamptz[];
    v_first_task uuid[];
    v_first_no int[];
    v_ended uuid[];
begin
    with given as materialized (
        select * from unnest(p_task, p_no, p_attempt, p_outcome, p_result, p_error, p_delay)
        with ordinality as g (task_id, no, attempt, outcome, result, error, delay, ord)
        order by g.task_id, g.no
    ), settled as materialized (
        update step s
        set state = case g.outcome when {OUTCOME.COMPLETE} then {COMPLETE} when {OUTCOME.ERROR} then {ERROR}
                                   when {OUTCOME.RESOLVED_MANUALLY} then {RESOLVED_MANUALLY}
                                   when {OUTCOME.SKIPPED} then {SKIPPED} else {ENQUEUED} end,
            run_at = case when g.outcome in ({OUTCOME.RETRY}, {OUTCOME.LOST}, {OUTCOME.RELEASED}, {OUTCOME.PARKED}) then now() + coalesce(g.delay, 0) * interval '1 s' else s.run_at end,
            uncounted_attempts = s.uncounted_attempts + (g.outcome in ({OUTCOME.LOST}, {OUTCOME.RELEASED}, {OUTCOME.PARKED}))::int,
            lost_attempts = (s.lost_attempts + (g.outcome = {OUTCOME.LOST})::int) * (g.outcome <> {OUTCOME.PARKED})::int,
            settled_at = now(),
            result = g.result::json,
            error = g.error::json
        from given g
        where s.task_id = g.task_id
          and s.no = g.no
          and s.attempt = g.attempt          -- the fence
          and s.state::int = {IN_PROGRESS}
        returning s.task_id, s.no, s.attempt, s.children, s.run_at, s.worker, s.claimed_at,
                  s.enqueued_at, g.outcome, g.error, g.ord
    ), history as (
        insert into attempt (task_id, no, attempt, outcome, worker, enqueued_at, claimed_at, settled_at, error)
        select task_id, no, attempt, outcome, worker, enqueued_at, claimed_at, now(), error::json
        from settled
        where outcome <> {OUTCOME.COMPLETE} or attempt > 1   -- see attempt_history
    ), child as (
        select d.task_id, c.no, count(*)::int as parents, min(d.run_at) as run_at
        from settled d cross join lateral unnest(d.children) as c (no)
        where d.outcome in ({OUTCOME.COMPLETE}, {OUTCOME.RESOLVED_MANUALLY})
        group by d.task_id, c.no
        order by c.no = 0, d.task_id, c.no   -- tasks last: the first p_claim steps are the caller's
    )
    select d.*, c.*
    into v_accepted, v_failed, v_worker, v_claimed_at, v_child_task, v_child_no, v_parents, v_run_at
    from (
        select array_agg(ord), array_agg(task_id) filter (where outcome = {OUTCOME.ERROR}),
               array_agg(worker), array_agg(claimed_at)
        from settled
    ) d, (
        select array_agg(task_id), array_agg(no), array_agg(parents), array_agg(run_at) from child
    ) c;

    if p_owner is not null or p_choice is not null or p_outcome && array[{OUTCOME.ERROR}, {OUTCOME.SKIPPED}]::smallint[] then
        select * into v_failed, v_child_task, v_child_no, v_parents, v_run_at, v_owner
        from arrive_at_children(p_task, p_no, p_outcome, p_choice, v_accepted, p_owner, p_room);
    end if;
    if p_to_handler is not null then
        update step s
        set queue_id = (coalesce(b.own_queue_id, b.queue_id) + abs(s.queue_id) % 5) * sign(s.queue_id)::int
        from unnest(p_to_handler) as h (ord)
        join task t on t.id = p_task[h.ord]
        join template_step b on b.template_id = t.template_id
        where h.ord = any (v_accepted) and s.task_id = t.id and s.no = p_no[h.ord]
          and b.no = coalesce(s.template_node, s.no);
    end if;
    if p_outcome && array[{OUTCOME.RETRY}, {OUTCOME.LOST}, {OUTCOME.RELEASED}, {OUTCOME.PARKED}]::smallint[] then
        with again as materialized (
            select s.*
            from unnest(v_accepted) as a (ord)
            join step s on s.task_id = p_task[a.ord] and s.no = p_no[a.ord]
            where p_outcome[a.ord] in ({OUTCOME.RETRY}, {OUTCOME.LOST}, {OUTCOME.RELEASED}, {OUTCOME.PARKED})
        )
        {include insert_due_rows steps=again};
    end if;
    if 0 < any (v_child_no) then
        with freed as (
            update step s
            set pending_parents = s.pending_parents - c.parents,
                run_at = c.run_at,
                enqueued_at = now(),
                (state, attempt, worker, claimed_at) = (
                    select case when s.pending_parents > c.parents then {PENDING}
                                when f.for_caller then {IN_PROGRESS} else {ENQUEUED} end,
                           s.attempt + f.for_caller::int,
                           case when f.for_caller then coalesce(p_workers[c.owner], p_worker) end,
                           case when f.for_caller then now() end
                    from (select {include is_claimed_for_settling_worker worker=coalesce(p_workers[c.owner],p_worker)} as for_caller offset 0) f   -- asked once
                )
            from unnest(v_child_task, v_child_no, v_parents, v_run_at, v_owner)
                 with ordinality as c (task_id, no, parents, run_at, owner, rank)
            where c.no > 0 and s.task_id = c.task_id and s.no = c.no and s.state::int = {PENDING}
            returning s.task_id, s.no, s.state, s.queue_id, s.run_at, s.enqueued_at, s.queue_timeout,
                      s.gate_id, s.outer_gate_id, c.owner
        ), entries as (
            {include insert_due_rows steps=freed}
        ), enqueued as (
            select distinct on (queue_id) queue_id, run_at, task_id, no from freed
            where state = {ENQUEUED}
            order by queue_id, {include claim_order step=freed}
        )
        select c.*, e.*
        into v_claimed_task, v_claimed_no, v_claimed_owner, v_queue, v_first_run_at, v_first_task, v_first_no
        from (
            select array_agg(task_id), array_agg(no), array_agg(owner) from freed where state = {IN_PROGRESS}
        ) c, (
            select array_agg(queue_id), array_agg(run_at), array_agg(task_id), array_agg(no) from enqueued
        ) e;
    end if;

    if v_claimed_no is not null and p_owner is not null then
        {include record_claims_of_workers at=now() owners=v_claimed_owner tasks=v_claimed_task nos=v_claimed_no};
    elsif v_claimed_no is not null then
        {include record_claims at=now() tasks=v_claimed_task nos=v_claimed_no};
    end if;

    if v_failed is not null or exists (select from task where has_failed_step and state = {PENDING}) then
        v_failed_tasks := array(
            select t.id from task t
            where t.id = any (p_task) and t.state::int = {OPEN} and (
                t.has_failed_step or t.id = any (v_failed) or t.id in (
                    select c.task_id from unnest(v_child_task, v_child_no) as c (task_id, no) where c.no = 0
                )
            )
            order by t.id
            for update
        );
    end if;
    if cardinality(v_failed_tasks) > 0 then
        update step s                        -- cancelled: it waits for less if it runs after all
        set pending_parents = s.pending_parents - c.parents
        from unnest(v_child_task, v_child_no, v_parents) as c (task_id, no, parents)
        where c.no > 0 and c.task_id = any (v_failed_tasks)
          and s.task_id = c.task_id and s.no = c.no and s.state::int = {CANCELLED};
    end if;
    if 0 = any (v_child_no) then
        with sunk as (
            update task t
            set open_sinks = t.open_sinks - c.parents,
                state = case when t.open_sinks = c.parents then {COMPLETE} else t.state end,
                ended_at = case when t.open_sinks = c.parents then clock_timestamp() end   -- after all its attempts
            from unnest(v_child_task, v_child_no, v_parents) as c (task_id, no, parents)
            where c.no = 0 and t.id = c.task_id and t.state::int = {OPEN}
            returning t.id, t.state
        )
        select array_agg(k.id) filter (where k.state = {COMPLETE}) into v_ended from sunk k;
        if v_ended is not null then
            perform wake_steps_waiting_for_tasks(v_ended);
        end if;
    end if;

    if v_failed is not null then
        update task t set has_failed_step = true
        where t.id = any (v_failed) and t.state::int = {OPEN} and not t.has_failed_step;
    end if;
    if cardinality(v_failed_tasks) > 0 then
        return query
            select 2, e.id, e.state::int, 0, null::float8 from end_failed_tasks(v_failed_tasks) as e;
    end if;
    if v_worker is not null then
        perform decrement_claim_batches(v_worker, v_claimed_at);
    end if;
    if v_queue is not null or p_outcome && array[{OUTCOME.LOST}, {OUTCOME.RELEASED}]::smallint[] then   -- lost and released: for others
        perform wake_workers();
    end if;
    if coalesce(cardinality(v_accepted), 0) < cardinality(p_task) then
        return query
            select 0, p_task[i], i, 0, null::float8 from generate_subscripts(p_task, 1) as i
            where i <> all (coalesce(v_accepted, '{}'));
    end if;
    return query
        select 1, c.task_id, c.no, coalesce(c.owner, 1), null::float8
        from unnest(v_claimed_task, v_claimed_no, v_claimed_owner) as c (task_id, no, owner)
        union all
        select 2, e, {COMPLETE}, 0, null::float8 from unnest(v_ended) as e;
    if v_queue is not null then
        return query
            select 3, e.task_id, e.no, e.queue, (extract(epoch from e.run_at) * 1000000)::float8
            from unnest(v_queue, v_first_run_at, v_first_task, v_first_no) as e (queue, run_at, task_id, no);
    end if;
end $$;
