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
as $$
#variable_conflict use_column
declare
    v_from record;
    v_steps tid[];
    v_left int := p_limit;
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
            select s.run_at from step s
            where s.queue_id = q.id and s.state = {ENQUEUED} and ({include claim_order step=s}) >= (q.run_at, q.task_id, q.no)
            order by {include claim_order step=s}
            limit 1
        ) as head
        where {include claimable run_at=head.run_at}
        order by head.run_at - (q.id % 5) * interval '1 min'
    loop
        v_steps := array(
            select d.ctid from step d
            where d.queue_id = v_from.queue and d.state = {ENQUEUED} and {include claimable run_at=d.run_at}
              and ({include claim_order step=d}) >= (v_from.run_at, v_from.task_id, v_from.no)
            order by {include claim_order step=d}
            limit v_left
            for update skip locked
        );
        continue when cardinality(v_steps) = 0;
        return query
            select s.task_id, s.no, null::int, v_from.queue, null::text, null::float8, null::float8,
                   (extract(epoch from least(s.run_at, now() - interval '50 ms')) * 1000000)::float8
            from step s where s.ctid = v_steps[cardinality(v_steps)];
        return query
            update step s
            set state = {IN_PROGRESS}, worker = p_worker, attempt = s.attempt + 1,
                claimed_at = greatest(now(), s.enqueued_at),      -- freed since this transaction began
                enqueued_at = greatest(s.enqueued_at, s.run_at)   -- of a retry: when it was due
            where s.ctid = any (v_steps)
            returning s.task_id, s.no, s.attempt, s.attempt - s.uncounted_attempts,
                      s.checkpoint::text,
                      {include waited step=s},
                      null::float8;
        v_left := v_left - cardinality(v_steps);
        exit when v_left <= 0;
    end loop;

    update worker w set idle = v_left > 0
    where w.id = p_worker and w.idle <> (v_left > 0);
    if v_left > 0 then
        return query
            select null::uuid, null::int, null::int, null::int, null::text, null::float8, null::float8,
                   extract(epoch from min(head.run_at) - now())::float8
            from unnest(p_queues) as q (id)
            cross join lateral (
                select s.run_at from step s
                where s.queue_id = q.id and s.state = {ENQUEUED} and s.run_at > now()
                order by s.run_at
                limit 1
            ) as head;
    end if;
end $$;
