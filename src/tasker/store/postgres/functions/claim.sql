-- Lease up to `p_limit` due steps to a worker: queue by queue, that with the oldest
-- step first, and within a queue the oldest first. Rows that others lock are skipped.
-- One row per claim, then one row without a task with the time until the next step is due.
create or replace function claim(p_worker bigint, p_queues int[], p_limit int)
returns table (task_id uuid, no int, attempt int, counted_attempts int, checkpoint text,
               queued float8, parked float8, next_due float8)
language plpgsql
set plan_cache_mode = force_generic_plan
set enable_hashjoin = off set enable_mergejoin = off set enable_seqscan = off set jit = off
as $$
#variable_conflict use_column
declare
    v_queue int;
    v_left int := p_limit;
    v_found int;
begin
    for v_queue in
        select q.id
        from unnest(p_queues) as q (id)
        cross join lateral (
            select s.run_at from step s
            where s.queue_id = q.id and s.state = {ENQUEUED}
            order by {include claim_order step=s}
            limit 1
        ) as head
        where {include claimable run_at=head.run_at}
        order by head.run_at - (q.id % 5) * interval '1 min'
    loop
        return query
            update step s
            set state = {IN_PROGRESS}, worker = p_worker, attempt = s.attempt + 1,
                claimed_at = greatest(now(), s.enqueued_at),      -- freed since this transaction began
                enqueued_at = greatest(s.enqueued_at, s.run_at)   -- of a retry: when it was due
            where s.ctid = any (array(
                select d.ctid from step d
                where d.queue_id = v_queue and d.state = {ENQUEUED} and {include claimable run_at=d.run_at}
                order by {include claim_order step=d}
                limit v_left
                for update skip locked
            ))
            returning s.task_id, s.no, s.attempt, s.attempt - s.uncounted_attempts,
                      s.checkpoint::text,
                      {include waited step=s},
                      null::float8;
        get diagnostics v_found = row_count;
        v_left := v_left - v_found;
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
