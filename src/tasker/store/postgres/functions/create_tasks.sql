-- Store tasks with all their steps, or none of them. Roots become enqueued; up to
-- `p_claim` of those that `p_worker` serves are claimed for it instead.
-- One row per task: kind 1, created; kind 0, its key is taken by `found`.
-- One row per claim: kind 2, step `no` of `task_id`.
-- Raises TK001 when a key was used with another digest, TK002 for an unknown template,
-- TK003 for one that is not approved, TK004 for an unknown parent, TK005 for a taken key that
-- is to be rejected; TK003 and TK004 not for tasks whose key is taken.
create or replace function create_tasks(
    p_id uuid[], p_template int[], p_context text[], p_correlation text[], p_parent uuid[],
    p_key text[], p_digest text[], p_unique_while text[], p_if_exists text[],
    p_created_by text[], p_reason text[], p_tags text[], p_trace text[], p_run_at timestamptz[],
    p_deadline float8[], p_priority smallint[], p_title text[], p_attributes text[],
    p_gates text[], p_attached boolean[],
    p_worker bigint, p_claim int, p_lock_timeout text
)
returns table (kind int, task_id uuid, no int, found uuid)
language plpgsql
set search_path from current
set plan_cache_mode = force_generic_plan
set enable_hashjoin = off set enable_mergejoin = off set enable_seqscan = off set jit = off
as $$
#variable_conflict use_column
declare
    v_taken uuid[] := '{}';                  -- ids whose key another task has
    v_keyed int := (select count(k) from unnest(p_key) as k);
    v_kept int;                              -- keys that are stored, for whichever task
    v_clash text;                            -- the key or the parent that is rejected
    v_holder uuid;                           -- the task that has it
    v_ended uuid[];                          -- tasks whose keys are free since they ended
    v_claimed_task uuid[];
    v_claimed_no int[];
    v_enqueued int;
    v_unapproved int;
    v_unusable int[];                        -- templates that are unknown (null) or not approved
    v_paused_templates int[];                -- whose tasks are born paused
    v_paused int[] := array({include paused_queues});
begin
    if p_lock_timeout is not null then
        perform set_config('lock_timeout', p_lock_timeout, true);
    end if;
    select array_agg(t.id) filter (where t.id is null or t.status <> 'approved'),
           coalesce(array_agg(t.id) filter (where t.paused), '{}')
    into v_unusable, v_paused_templates
    from unnest(p_template) as g (id)
    left join template t on t.id = g.id
    where t.id is null or t.status <> 'approved' or t.paused;
    if array_position(v_unusable, null) is not null then
        raise exception 'unknown template' using errcode = 'TK002';
    end if;

    if v_keyed > 0 then
        loop
            insert into task_key (namespace, key, task_id, digest, unique_while)
            select distinct on (t.namespace, g.key)
                   t.namespace, g.key, g.id, g.digest, g.unique_while
            from unnest(p_id, p_template, p_key, p_digest, p_unique_while)
                 with ordinality as g (id, template_id, key, digest, unique_while, ord)
            join template t on t.id = g.template_id
            where g.key is not null
            order by t.namespace, g.key, g.ord
            on conflict do nothing;
            get diagnostics v_kept = row_count;
            exit when v_kept = v_keyed;

            select coalesce(array_agg(g.id) filter (where k.task_id <> g.id), '{}'), count(*)
            into v_taken, v_kept
            from unnest(p_id, p_template, p_key) as g (id, template_id, key)
            join template t on t.id = g.template_id
            join task_key k on k.namespace = t.namespace and k.key = g.key;
            continue when v_kept < v_keyed;          -- a holder was pruned meanwhile
            -- Locked before their keys, in the order of pruning.
            v_ended := array(
                select h.id from task h
                where h.state <> {OPEN} and h.id in (
                    select k.task_id
                    from unnest(p_id, p_template, p_key) as g (id, template_id, key)
                    join template t on t.id = g.template_id
                    join task_key k on k.namespace = t.namespace and k.key = g.key
                    where g.id = any (v_taken) and k.unique_while = 'open'
                )
                order by h.id
                for share
            );
            exit when cardinality(v_ended) = 0;
            with given as materialized (
                select distinct on (t.namespace, g.key)
                       t.namespace, g.key, g.id, g.digest, g.unique_while
                from unnest(p_id, p_template, p_key, p_digest, p_unique_while)
                     with ordinality as g (id, template_id, key, digest, unique_while, ord)
                join template t on t.id = g.template_id
                where g.id = any (v_taken)
                order by t.namespace, g.key, g.ord
            )
            update task_key k
            set task_id = g.id, digest = g.digest, unique_while = g.unique_while
            from given g
            where k.namespace = g.namespace and k.key = g.key and k.task_id = any (v_ended);
        end loop;

        if cardinality(v_taken) > 0 then
            select g.key, k.task_id into v_clash, v_holder
            from unnest(p_id, p_template, p_key, p_if_exists) as g (id, template_id, key, if_exists)
            join template t on t.id = g.template_id
            join task_key k on k.namespace = t.namespace and k.key = g.key
            where g.id = any (v_taken) and g.if_exists = 'reject'
            limit 1;
            if v_clash is not null then
                raise exception '% %', v_holder, v_clash using errcode = 'TK005';
            end if;

            select g.key, k.task_id into v_clash, v_holder
            from unnest(p_id, p_template, p_key, p_digest, p_if_exists)
                 as g (id, template_id, key, digest, if_exists)
            join template t on t.id = g.template_id
            join task_key k on k.namespace = t.namespace and k.key = g.key
            where g.id = any (v_taken) and k.digest <> g.digest
              and g.if_exists = 'return'
            limit 1;
            if v_clash is not null then
                raise exception '% %', v_holder, v_clash using errcode = 'TK001';
            end if;

            return query
                select 0, g.id, 0, k.task_id
                from unnest(p_id, p_template, p_key) as g (id, template_id, key)
                join template t on t.id = g.template_id
                join task_key k on k.namespace = t.namespace and k.key = g.key
                where g.id = any (v_taken);
        end if;
    end if;

    if v_unusable is not null then
        select g.template_id into v_unapproved
        from unnest(p_id, p_template) as g (id, template_id)
        where g.id <> all (v_taken) and g.template_id = any (v_unusable)
        limit 1;
        if v_unapproved is not null then
            raise exception '%', v_unapproved using errcode = 'TK003';
        end if;
    end if;

    if p_parent is not null then
        select g.parent_id into v_clash
        from unnest(p_id, p_parent) as g (id, parent_id)
        left join task t on t.id = g.parent_id
        where g.parent_id is not null and t.id is null
          and g.parent_id <> all (p_id) and g.id <> all (v_taken)
        limit 1;
        if v_clash is not null then
            raise exception '%', v_clash using errcode = 'TK004';
        end if;
    end if;

    insert into task (id, template_id, priority, paused, open_sinks, end_events, deadline, correlation_id, parent_id, attached,
                      idempotency_key, created_by, reason, tags, trace, title, context)
    select g.id, g.template_id, g.priority, g.template_id = any (v_paused_templates), t.sinks, t.end_events,
           now() + g.deadline * interval '1 s', g.correlation_id,
           g.parent_id, g.attached, g.key, g.created_by, g.reason,
           case when g.tags is null then '{}' else array(select json_array_elements_text(g.tags::json)) end,
           g.trace, g.title, g.context::json
    from unnest(p_id, p_template, p_context, p_correlation, p_parent, p_key, p_created_by,
                p_reason, p_tags, p_trace, p_deadline, p_priority, p_title, p_attached)
         as g (id, template_id, context, correlation_id, parent_id, key, created_by,
               reason, tags, trace, deadline, priority, title, attached)
    join template t on t.id = g.template_id
    where g.id <> all (v_taken);

    if p_attributes is not null then
        insert into task_attribute (namespace, name, value, task_id)
        select t.namespace, a.key, a.value, g.id
        from unnest(p_id, p_template, p_attributes) as g (id, template_id, attributes)
        join template t on t.id = g.template_id
        cross join lateral json_each_text(g.attributes::json) as a
        where g.id <> all (v_taken);
    end if;

    if p_claim > 0 then
        select array_agg(r.id), array_agg(r.no) into v_claimed_task, v_claimed_no
        from (
            select g.id, s.no
            from unnest(p_id, p_template, p_run_at, p_priority) as g (id, template_id, run_at, priority)
            join template_step s on s.template_id = g.template_id and s.scope = 0
            where s.pending_parents = 0 and g.id <> all (v_taken)
              and g.template_id <> all (v_paused_templates) and {include worker_serves_queue queue=s.queue_id worker=p_worker}
              and {include is_run_at_reached run_at=coalesce(g.run_at,now())}
            order by g.id, s.no
            limit p_claim
        ) r;
        insert into step (task_id, no, name, queue_id, pending_parents, children, state, run_at,
                          enqueued_at, queue_timeout, attempt, worker, claimed_at, on_error)
        select g.id, s.no, s.name, {include queue_of_new_step}, s.pending_parents, s.children,
               case when m.no is not null then {IN_PROGRESS} when s.pending_parents = 0 then {ENQUEUED} else {PENDING} end,
               case when s.pending_parents = 0 then coalesce(g.run_at, now()) end,
               case when s.pending_parents = 0 then now() end,
               s.queue_timeout,
               case when m.no is not null then 1 else 0 end,
               case when m.no is not null then p_worker end,
               case when m.no is not null then now() end,
               s.on_error
        from unnest(p_id, p_template, p_run_at, p_priority) as g (id, template_id, run_at, priority)
        join template_step s on s.template_id = g.template_id and s.scope = 0
        left join unnest(v_claimed_task, v_claimed_no) as m (id, no) on m.id = g.id and m.no = s.no
        where g.id <> all (v_taken);
        if v_claimed_no is not null then
            {include record_claims at=now() tasks=v_claimed_task nos=v_claimed_no};
            return query
                select 2, m.id, m.no, null::uuid
                from unnest(v_claimed_task, v_claimed_no) as m (id, no);
        end if;
    else
        insert into step (task_id, no, name, queue_id, pending_parents, children, state, run_at, enqueued_at,
                          queue_timeout, on_error)
        select g.id, s.no, s.name, {include queue_of_new_step}, s.pending_parents, s.children,
               case when s.pending_parents = 0 then {ENQUEUED} else {PENDING} end,
               case when s.pending_parents = 0 then coalesce(g.run_at, now()) end,
               case when s.pending_parents = 0 then now() end,
               s.queue_timeout, s.on_error
        from unnest(p_id, p_template, p_run_at, p_priority) as g (id, template_id, run_at, priority)
        join template_step s on s.template_id = g.template_id and s.scope = 0
        where g.id <> all (v_taken);
    end if;

    insert into due (queue_id, run_at, task_id, no, latest_claim)
    select {include queue_of_new_step}, coalesce(g.run_at, now()), g.id, s.no,
           greatest(g.run_at, now()) + s.queue_timeout * interval '1 s'
    from unnest(p_id, p_template, p_run_at, p_priority) as g (id, template_id, run_at, priority)
    join template_step s on s.template_id = g.template_id and s.scope = 0
    where s.pending_parents = 0 and g.id <> all (v_taken) and (v_claimed_no is null or exists (
        select from step c where c.task_id = g.id and c.no = s.no and c.state = {ENQUEUED}
    ));
    get diagnostics v_enqueued = row_count;
    if p_gates is not null then
        with gated as materialized (
            select g.id, (s.value ->> 0)::int as no, (s.value ->> 1)::int as outer_gate_id, (s.value ->> 2)::int as gate_id
            from unnest(p_id, p_gates) as g (id, gates)
            cross join lateral json_array_elements(g.gates::json) as s (value)
            where g.id <> all (v_taken)
        ), bodies as (
            insert into body_gate (task_id, node, gate_id, outer_gate_id)
            select g.id, g.no, g.gate_id, g.outer_gate_id
            from gated g
            join unnest(p_id, p_template) as t (id, template_id) on t.id = g.id
            join template_step b on b.template_id = t.template_id and b.no = g.no and b.scope > 0
        ), steps as (
            update step s set gate_id = g.gate_id, outer_gate_id = g.outer_gate_id
            from gated g
            where s.task_id = g.id and s.no = g.no
            returning s.task_id, s.no, s.queue_id, s.run_at, s.state, s.gate_id, s.outer_gate_id
        )
        update due d set gate_id = s.gate_id, outer_gate_id = s.outer_gate_id
        from steps s
        where {include due_row_matches_step entry=d step=s};
    end if;
    if v_enqueued > 0 then
        perform wake_workers_for_tasks(p_template);
    end if;
    return query select 1, n, 0, null::uuid from unnest(p_id) as n where n <> all (v_taken);
end $$;
