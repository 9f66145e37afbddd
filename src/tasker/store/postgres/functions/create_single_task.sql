-- Store one task with all its steps: like create_tasks, for a single task. Starting plans over
-- arrays costs more than their work on one row. Rows are those of create_tasks; none if
-- create_tasks must decide: for a template that is unknown, not approved or paused, or whose tasks
-- publish their end, an unknown parent, a key that is taken. Then nothing is stored, and
-- create_tasks must be called.
create or replace function create_single_task(
    p_id uuid, p_template int, p_context text, p_correlation text, p_parent uuid,
    p_key text, p_digest text, p_unique_while text, p_created_by text, p_reason text, p_tags text,
    p_trace text, p_run_at timestamptz, p_deadline float8, p_priority smallint, p_title text,
    p_attributes text,
    p_worker bigint, p_claim int, p_lock_timeout text
)
returns table (kind int, task_id uuid, no int, found uuid)
language plpgsql
set plan_cache_mode = force_generic_plan
set enable_seqscan = off   -- each further setting costs 3 % of a creation
as $$
#variable_conflict use_column
declare
    v_paused int[] := array({include paused_queues});
    v_namespace text;
    v_sinks int;
    v_roots int := 1;                        -- at least
    v_claimed int[] := '{}';
begin
    select t.namespace, t.sinks into v_namespace, v_sinks
    from template t where t.id = p_template and t.status = 'approved' and not t.paused and t.end_events is null;
    if not found or p_parent is not null and not exists (select from task where id = p_parent) then
        return;
    end if;
    if p_key is not null then
        if p_lock_timeout is not null then
            perform set_config('lock_timeout', p_lock_timeout, true);
        end if;
        insert into task_key (namespace, key, task_id, digest, unique_while)
        values (v_namespace, p_key, p_id, p_digest, p_unique_while)
        on conflict do nothing;
        if not found then
            return;
        end if;
    end if;

    insert into task (id, template_id, priority, open_sinks, deadline, correlation_id, parent_id,
                      idempotency_key, created_by, reason, tags, trace, title, context)
    values (p_id, p_template, p_priority, v_sinks, now() + p_deadline * interval '1 s', p_correlation, p_parent,
            p_key, p_created_by, p_reason,
            case when p_tags is null then '{}' else array(select json_array_elements_text(p_tags::json)) end,
            p_trace, p_title, p_context::json);
    if p_attributes is not null then
        insert into task_attribute (namespace, name, value, task_id)
        select v_namespace, a.key, a.value, p_id from json_each_text(p_attributes::json) as a;
    end if;

    if p_claim > 0 then
        select count(*), coalesce((array_agg(s.no order by s.no) filter (
            where {include worker_serves_queue queue=s.queue_id worker=p_worker} and {include is_run_at_reached run_at=coalesce(p_run_at,now())}
        ))[:p_claim], '{}')
        into v_roots, v_claimed
        from template_step s
        where s.template_id = p_template and s.scope = 0 and s.pending_parents = 0;
        return query select 2, p_id, c, null::uuid from unnest(v_claimed) as c;
    end if;
    insert into step (task_id, no, name, queue_id, pending_parents, children, state, run_at, enqueued_at,
                      queue_timeout, attempt, worker, claimed_at, on_error)
    select p_id, s.no, s.name, s.queue_id + p_priority, s.pending_parents, s.children,
           case when s.no = any (v_claimed) then {IN_PROGRESS} when s.pending_parents = 0 then {ENQUEUED} else {PENDING} end,
           case when s.pending_parents = 0 then coalesce(p_run_at, now()) end,
           case when s.pending_parents = 0 then now() end,
           s.queue_timeout,
           (s.no = any (v_claimed))::int,
           case when s.no = any (v_claimed) then p_worker end,
           case when s.no = any (v_claimed) then now() end,
           s.on_error
    from template_step s
    where s.template_id = p_template and s.scope = 0;
    if v_claimed <> '{}' then
        {include record_claims at=now() tasks=array_fill(p_id,array[cardinality(v_claimed)]) nos=v_claimed};
    end if;
    if v_roots > cardinality(v_claimed) then
        insert into due (queue_id, run_at, task_id, no, latest_claim)
        select s.queue_id + p_priority, coalesce(p_run_at, now()), p_id, s.no,
               greatest(p_run_at, now()) + s.queue_timeout * interval '1 s'
        from template_step s
        where s.template_id = p_template and s.scope = 0 and s.pending_parents = 0 and s.no <> all (v_claimed);
        perform wake_workers_for_tasks(array[p_template]);
    end if;
    kind := 1;
    task_id := p_id;
    return next;
end $$;
