-- What follows from outcomes that arrive at children otherwise than as a success (failures, skips,
-- choices), and from those of several workers. One row: the tasks that failed by them, and all children
-- of the accepted outcomes, as settle collects them of successes alone, with the owners that may claim
-- them: the first `p_room` children of each.
--
-- A child that is reached without success gets its parent counted in missed_parents, and moves to the
-- queue of the engine, which decides whether it runs. Children are locked in the order of settle, all
-- of them before the first is written.
create or replace function arrive_at_children(
    p_task uuid[], p_no int[], p_outcome smallint[], p_choice text[], p_accepted int[],
    p_owner int[], p_room int[],
    out v_failed uuid[], out v_child_task uuid[], out v_child_no int[], out v_parents int[],
    out v_run_at timestamptz[], out v_owner int[]
)
language plpgsql
set plan_cache_mode = force_generic_plan
set enable_hashjoin = off set enable_mergejoin = off set enable_seqscan = off set jit = off
set enable_indexscan = off set enable_indexonlyscan = off
as $$
declare
    v_missed int[];
begin
    with settled as materialized (
        select s.task_id, s.no, s.children, s.on_error, s.run_at, p_outcome[a.ord] as outcome,
               p_choice[a.ord]::int[] as choice, p_owner[a.ord] as owner
        from unnest(p_accepted) as a (ord)
        join step s on s.task_id = p_task[a.ord] and s.no = p_no[a.ord]
        where p_outcome[a.ord] in ({OUTCOME.COMPLETE}, {OUTCOME.ERROR}, {OUTCOME.RESOLVED_MANUALLY}, {OUTCOME.SKIPPED})
    ), edge as (
        select d.task_id, d.no as parent, c.no, min(d.run_at) as run_at, min(d.owner) as owner,
               d.outcome = {OUTCOME.ERROR} as failed,
               c.no > 0 and (d.outcome in ({OUTCOME.ERROR}, {OUTCOME.SKIPPED}) or c.no <> all (d.choice)) is true as missed,
               count(*)::int as times
        from settled d
        cross join lateral unnest(case when d.outcome = {OUTCOME.ERROR} then d.on_error else d.children end) as c (no)
        group by d.task_id, d.no, c.no, d.outcome, d.choice
    ), child as (
        select task_id, no, min(run_at) as run_at, min(owner) as owner, count(*) filter (where missed)::int as missed,
               sum(case when missed and not failed then 1 else times end)::int as parents   -- a skip frees no eager child
        from edge
        group by task_id, no
        order by no = 0, task_id, no   -- as in settle
    )
    select f.*, c.*
    into v_failed, v_child_task, v_child_no, v_parents, v_run_at, v_missed, v_owner
    from (
        select array_agg(task_id) from settled
        where outcome = {OUTCOME.ERROR} and {include is_failure_unhandled step=settled}
    ) f, (
        select array_agg(task_id), array_agg(no), array_agg(parents), array_agg(run_at), array_agg(missed), array_agg(owner) from child
    ) c;

    if p_owner is not null then
        select array_agg(case when o.rank <= p_room[o.owner] then o.owner end order by o.ord)
        into v_owner
        from (
            select c.owner, c.ord, row_number() over (partition by c.owner order by c.ord) as rank
            from unnest(v_owner) with ordinality as c (owner, ord)
        ) o;
    end if;

    if 0 < any (v_missed) then
        perform from unnest(v_child_task, v_child_no) as c (task_id, no)
        join step s on s.task_id = c.task_id and s.no = c.no
        order by s.task_id, s.no
        for update of s;

        update step s
        set missed_parents = coalesce(s.missed_parents, 0) + c.missed,
            queue_id = (
                select (e.id + abs(s.queue_id) % 5) * sign(s.queue_id)::int
                from queue q
                join queue e on e.namespace = q.namespace and e.handler = 'tasker.engine'
                     and e.requirement = '' and not e.gated
                where q.id = abs(s.queue_id) / 5 * 5
            )
        from unnest(v_child_task, v_child_no, v_missed) as c (task_id, no, missed)
        where c.missed > 0 and s.task_id = c.task_id and s.no = c.no and s.state::int in ({PENDING}, {CANCELLED})
          and s.undoes is null;   -- which runs all the same
    end if;
end $$;
