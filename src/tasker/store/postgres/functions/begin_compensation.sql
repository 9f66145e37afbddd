-- Of locked open tasks that fail or are cancelled, begin to undo what those have done in which no further step can run:
-- enqueue the step that plans how. A cancelled task has `ending` already; what is enqueued or waits in it, as
-- the attempt of a step that was in progress has ended without success, does not run any more. One whose steps are
-- still being ended waits for the last page of these.
create or replace function begin_compensation(p_tasks uuid[]) returns void language plpgsql
set plan_cache_mode = force_generic_plan
set enable_hashjoin = off set enable_mergejoin = off set enable_seqscan = off set jit = off
set enable_indexscan = off set enable_indexonlyscan = off
as $$
declare
    v_cancelled uuid[] := array(
        select t.id from task t
        where t.id = any (p_tasks) and t.state::int = {OPEN} and t.ending is not null
          and not exists (select from step c where c.task_id = t.id and c.undoes = 0)
          and not exists (select from paged_action g where g.task_id = t.id and g.kind <> 'pause')
    );
begin
    if cardinality(v_cancelled) > 0 then
        delete from wait w where w.task_id = any (v_cancelled);
        with entries as (
            delete from due d using step s
            where s.task_id = any (v_cancelled) and {include due_row_matches_step entry=d step=s}
        )
        update step s set state = {CANCELLED}, settled_at = clock_timestamp(), waits_for = null
        where s.task_id = any (v_cancelled) and s.state::int in ({ENQUEUED}, {WAITING});
    end if;

    with beginning as (
        update task t set ending = coalesce(t.ending, {ERROR})
        from template p
        where t.id = any (p_tasks) and t.state::int = {OPEN} and t.has_failed_step
          and p.id = t.template_id and p.compensation_node is not null
          and (t.ending is not null or {ERROR} = any (p.compensates_on))
          and not exists (
              select from step s
              where s.task_id = t.id and (s.state in ({ENQUEUED}, {IN_PROGRESS}, {WAITING}) or s.undoes = 0)
          )
          and not exists (select from paged_action g where g.task_id = t.id and g.kind <> 'pause')
          and {include has_steps_to_compensate task=t}
        returning t.id, t.template_id, t.priority, t.paused, p.compensation_node, p.compensation_hold
    ), planner as (
        insert into step (task_id, no, name, queue_id, pending_parents, children, state, run_at, enqueued_at, undoes)
        select b.id, n.no, n.name, (n.queue_id + b.priority) * case when b.paused then -1 else 1 end, 0, '{}',
               {ENQUEUED}, now() + b.compensation_hold * interval '1 s', now(), 0
        from beginning b
        join template_step n on n.template_id = b.template_id and n.no = b.compensation_node
        returning *
    )
    {include insert_due_rows steps=planner};
    if found then
        perform wake_workers();
    end if;
end $$;
