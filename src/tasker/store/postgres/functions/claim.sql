-- Lease up to `p_limit` due steps to a worker: queue by queue, that with the oldest
-- step first, and within a queue the oldest first. Rows that others lock are skipped.
-- In the queues of `p_from_queue`, claims begin at (`p_from_run_at`, `p_from_task`, `p_from_no`),
-- run_at in microseconds since 1970; see claim_cursor.py. Three kinds of rows:
--   a claim;
--   attempt null: where the next claim from queue `counted_attempts` begins, at (at, task_id, no);
--   task_id null, the last row: `at` seconds until the next step is due.
create or replace function claim(
    p_worker bigint, p_queues int[], p_limit int,
    p_from_queue int[], p_from_run_at float8[], p_from_task uuid[], p_from_no int[]
)
returns table (task_id uuid, no int, attempt int, counted_attempts int, checkpoint text,
               queued float8, parked float8, at float8)
language plpgsql
set plan_cache_mode = force_generic_plan
set enable_hashjoin = off set enable_mergejoin = off set enable_seqscan = off set jit = off
set enable_bitmapscan = off set enable_sort = off
as $$
#variable_conflict use_column
declare
    v_from record;
    v_found record;
    v_entries tid[] := '{}';                 -- claimed rows of `due`
    v_steps tid[] := '{}';                   -- and of `step`
    v_tasks uuid[] := '{}';
    v_nos int[] := '{}';
    v_left int := p_limit;
    v_now timestamptz;
begin
    {include without_paused_queues}
    for v_from in
        select q.id as queue, q.run_at, q.task_id, q.no
        from (
            select p.id, coalesce(f.run_at, '-infinity') as run_at,
                   coalesce(f.task_id, '00000000-0000-0000-0000-000000000000') as task_id,
                   coalesce(f.no, 0) as no
            from unnest(p_queues) as p (id)
            left join (
                select g.queue, timestamptz 'epoch' + g.run_at * interval '1 us' as run_at, g.task_id, g.no
                from unnest(p_from_queue, p_from_run_at, p_from_task, p_from_no)
                     as g (queue, run_at, task_id, no)
            ) f on f.queue = p.id
        ) q
        cross join lateral (
            select d.run_at from due d
            where d.queue_id = q.id and ({include claim_order step=d}) >= (q.run_at, q.task_id, q.no)
            order by {include claim_order step=d}
            limit 1
        ) as head
        where {include claimable run_at=head.run_at}
        order by head.run_at - (q.id % 5) * interval '1 min'
    loop
        select array_agg(c.entry) as entries, array_agg(c.step) as steps, count(*)::int as steps_found,
               array_agg(c.run_at) as run_at, array_agg(c.task_id) as tasks, array_agg(c.no) as nos
        into v_found
        from (
            select d.*, s.ctid as step
            from (
                select e.*, e.ctid as entry from due e
                where e.queue_id = v_from.queue and {include claimable run_at=e.run_at}
                  and ({include claim_order step=e}) >= (v_from.run_at, v_from.task_id, v_from.no)
                order by {include claim_order step=e}
            ) d
            cross join lateral (
                select s.ctid from step s
                where {include due_entry entry=d step=s}
                for update skip locked
            ) s
            limit v_left
        ) c;
        continue when v_found.steps_found = 0;
        v_entries := v_entries || v_found.entries;
        v_steps := v_steps || v_found.steps;
        v_tasks := v_tasks || v_found.tasks;
        v_nos := v_nos || v_found.nos;
        v_left := v_left - v_found.steps_found;
        task_id := v_found.tasks[v_found.steps_found];
        no := v_found.nos[v_found.steps_found];
        counted_attempts := v_from.queue;
        at := extract(epoch from least(v_found.run_at[v_found.steps_found], now() - interval '50 ms')) * 1000000;
        return next;
        exit when v_left <= 0;
    end loop;

    if cardinality(v_steps) > 0 then
        v_now := clock_timestamp();           -- some may have been freed since this transaction began
        return query
            with claimed as (
                delete from due where ctid = any (v_entries)
            ), held as (
                {include hold_claims at=v_now tasks=v_tasks nos=v_nos}
            )
            update step s
            set state = {IN_PROGRESS}, worker = p_worker, attempt = s.attempt + 1, claimed_at = v_now,
                enqueued_at = greatest(s.enqueued_at, s.run_at)   -- of a retry: when it was due
            from unnest(v_steps) as c (step)
            where s.ctid = c.step
            returning s.task_id, s.no, s.attempt, s.attempt - s.uncounted_attempts,
                      s.checkpoint::text,
                      {include waited step=s},
                      null::float8;
    end if;

    update worker w set idle = v_left > 0
    where w.id = p_worker and w.idle <> (v_left > 0);
    if v_left > 0 then
        return query
            select null::uuid, null::int, null::int, null::int, null::text, null::float8, null::float8,
                   extract(epoch from min(head.run_at) - now())::float8
            from unnest(p_queues) as q (id)
            cross join lateral (
                select d.run_at from due d
                where d.queue_id = q.id and d.run_at > now()
                order by d.run_at
                limit 1
            ) as head;
    end if;
end $$;
