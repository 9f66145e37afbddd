-- Claim up to `p_limit` due steps for a worker from the queues that it serves: first a share from
-- each handler's queue, then the rest from queues with more due steps. Rows that others lock are
-- skipped. For several workers that serve the same queues, `p_workers` contains `p_worker`: the
-- workers get one step each in turn, up to their number in `p_rooms`, whose sum is `p_limit`. In
-- the queues of `p_from_queue`, which is sorted, claims begin at (`p_from_run_at`, `p_from_task`,
-- `p_from_no`), with run_at in microseconds since 1970; see claim_cursor.py. Only queues with ids
-- greater than `p_after` are examined, by id, until enough of them have due steps. Kinds of rows:
--   attempt not null: a claim; `at` is the position of its worker in `p_workers`;
--   attempt null, task_id not null: the next claim from the queue `counted_attempts` begins at
--     (at, task_id, no);
--   task_id null, no not null: `no` is `p_after` of the next claim;
--   task_id and no null, only as the last row: `at` seconds until the next step is due, 0 if there
--     are queues that were not examined.
create or replace function claim_steps(
    p_worker bigint, p_limit int, p_after int,
    p_from_queue int[], p_from_run_at float8[], p_from_task uuid[], p_from_no int[],
    p_workers bigint[] default null, p_rooms int[] default null
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
    v_paused int[] := array({include paused_queues});
    v_most int := greatest(p_limit, 20);     -- the number of queues with due steps that one claim examines
    v_walked record;                         -- the queues that were examined
    v_after int := 0;
    v_queue int[];                           -- those with due steps, in the order of the claim
    v_base int[];                            -- the queue of priority 0 of each
    v_share int[];                           -- how many steps of all its priorities are claimed in the first round
    v_from_run_at timestamptz[];             -- where the claim from each begins
    v_from_task uuid[];
    v_from_no int[];
    v_more boolean[];                        -- whether it may have more due steps
    v_last_base int;
    v_share_left int;
    v_take int;
    v_found record;
    v_entries tid[] := '{}';                 -- the claimed rows of `due`
    v_steps tid[] := '{}';                   -- and those of `step`
    v_tasks uuid[] := '{}';
    v_nos int[] := '{}';
    v_left int := p_limit;
    v_all boolean;                           -- whether all served queues were examined
    v_owner int[];                           -- the position in p_workers of each step's worker
    v_now timestamptz;
begin
    -- Walk the served queues that have rows in `due`, with two index probes each. A queue in
    -- `p_from_queue`, at the index `place`, is read from its given position on, so that dead rows
    -- before it are not read.
    with recursive walk (queue, head, due, place, from_place) as (
        select p_after, null::timestamptz, 0,
               1 + (select count(*)::int from unnest(p_from_queue) as p (queue) where p.queue <= p_after), null::int
        union all
        select case when e.queue = w.queue or n.served then e.queue else e.queue / 5 * 5 + 4 end,
               case when n.served then e.head end,
               w.due + case when n.served and {include is_run_at_reached run_at=e.head} then 1 else 0 end,
               e.place,
               case when n.served then e.from_place end
        from walk w
        cross join lateral (
            select greatest(s.queue_id, w.queue + 1) as least_queue, p_from_queue[w.place] as placed
            from worker_queue s
            where s.worker = p_worker and s.queue_id > w.queue - 4
            order by s.queue_id
            limit 1
        ) s
        cross join lateral (
            (select w.queue, null::timestamptz, w.place + 1, null::int where s.placed < s.least_queue)
            union all
            (select d.queue_id, d.run_at, w.place, null::int from due d
             where d.queue_id >= s.least_queue and d.queue_id < coalesce(s.placed, 2147483647)
             order by d.queue_id, {include claim_order step=d}
             limit 1)
            union all
            (select s.placed, (
                 select d.run_at from due d
                 where d.queue_id = s.placed and ({include claim_order step=d}) >= (
                     timestamptz 'epoch' + p_from_run_at[w.place] * interval '1 us', p_from_task[w.place], p_from_no[w.place]
                 )
                 order by {include claim_order step=d}
                 limit 1
             ), w.place + 1, w.place
             where s.placed is not null)
            limit 1
        ) e (queue, head, place, from_place)
        cross join lateral (
            select e.queue > w.queue and {include worker_serves_queue queue=e.queue worker=p_worker} as served
        ) n
        where w.due < v_most
    )
    select array_agg(queue) as queue, array_agg(head) as head, array_agg(from_place) as from_place,
           max(due) as due, max(queue) as last
    into v_walked
    from walk;
    if v_walked.due >= v_most then
        v_after := v_walked.last;            -- there may be more of them
    end if;

    if v_walked.due > 0 then
        with base as materialized (
            select q.id, q.weight, -ln(1 - random()) / q.weight as draw,
                   count(*) over () as bases, sum(q.weight) over () as weights
            from (
                select distinct w.queue / 5 * 5 as id from unnest(v_walked.queue, v_walked.head) as w (queue, head)
                where {include is_run_at_reached run_at=w.head}
            ) b
            join queue q on q.id = b.id
        ), ordered as (
            select w.queue, base.id as base, w.place,
                   greatest(1, floor(p_limit * case when base.bases <= 5 then base.weight / base.weights else 0.2 end + random()))::int as share
            from unnest(v_walked.queue, v_walked.head, v_walked.from_place) as w (queue, head, place)
            join base on base.id = w.queue / 5 * 5
            where {include is_run_at_reached run_at=w.head}
            order by base.draw, w.head - (w.queue % 5) * interval '1 min'
        )
        select array_agg(queue), array_agg(base), array_agg(share),
               array_agg(coalesce(timestamptz 'epoch' + p_from_run_at[place] * interval '1 us', '-infinity')),
               array_agg(coalesce(p_from_task[place], '00000000-0000-0000-0000-000000000000')),
               array_agg(coalesce(p_from_no[place], 0)), array_agg(true)
        into v_queue, v_base, v_share, v_from_run_at, v_from_task, v_from_no, v_more
        from ordered;
    end if;

    -- In the first round, claim each queue's share; in the second, the rest.
    for v_round in 1 .. 2 loop
        for v_at in 1 .. coalesce(cardinality(v_queue), 0) loop
            exit when v_left <= 0;
            continue when not v_more[v_at];
            if v_round = 1 and v_last_base is distinct from v_base[v_at] then
                v_last_base := v_base[v_at];
                v_share_left := v_share[v_at];
            end if;
            v_take := case v_round when 1 then least(v_left, v_share_left) else v_left end;
            continue when v_take <= 0;
            select array_agg(c.entry) as entries, array_agg(c.step) as steps, count(*)::int as steps_found,
                   array_agg(c.run_at) as run_at, array_agg(c.task_id) as tasks, array_agg(c.no) as nos
            into v_found
            from (
                select d.*, s.ctid as step
                from (
                    select e.*, e.ctid as entry from due e
                    where e.queue_id = v_queue[v_at] and {include is_run_at_reached run_at=e.run_at}
                      and ({include claim_order step=e}) >= (v_from_run_at[v_at], v_from_task[v_at], v_from_no[v_at])
                    order by {include claim_order step=e}
                ) d
                cross join lateral (
                    select s.ctid from step s
                    where {include due_row_matches_step entry=d step=s}
                    for update skip locked
                ) s
                limit v_take
            ) c;
            v_more[v_at] := v_found.steps_found = v_take;
            continue when v_found.steps_found = 0;
            v_entries := v_entries || v_found.entries;
            v_steps := v_steps || v_found.steps;
            v_tasks := v_tasks || v_found.tasks;
            v_nos := v_nos || v_found.nos;
            v_left := v_left - v_found.steps_found;
            v_share_left := v_share_left - v_found.steps_found;
            v_from_run_at[v_at] := v_found.run_at[v_found.steps_found];
            v_from_task[v_at] := v_found.tasks[v_found.steps_found];
            v_from_no[v_at] := v_found.nos[v_found.steps_found] + 1;
            task_id := v_found.tasks[v_found.steps_found];
            no := v_found.nos[v_found.steps_found];
            counted_attempts := v_queue[v_at];
            at := extract(epoch from least(v_from_run_at[v_at], now() - interval '50 ms')) * 1000000;
            return next;
        end loop;
    end loop;

    if cardinality(v_steps) > 0 then
        v_now := clock_timestamp();           -- some may have been freed since this transaction began
        if p_workers is null then
            return query
                with claimed as (
                    delete from due where ctid = any (v_entries)
                ), held as (
                    {include record_claims at=v_now tasks=v_tasks nos=v_nos}
                )
                {include mark_claimed worker=p_worker};
        else
            v_owner := array(
                select w.owner from unnest(p_rooms) with ordinality as w (room, owner)
                cross join lateral generate_series(1, w.room) as turn
                order by turn, w.owner
                limit cardinality(v_steps)
            );
            return query
                with claimed as (
                    delete from due where ctid = any (v_entries)
                ), held as (
                    {include record_claims_of_workers at=v_now owners=v_owner tasks=v_tasks nos=v_nos}
                )
                {include mark_claimed worker=p_workers[c.owner]};
        end if;
    end if;

    v_all := p_after = 0 and v_after = 0;
    if p_workers is null then
        update worker w set idle = v_left > 0 and v_all
        where w.id = p_worker and w.idle <> (v_left > 0 and v_all);
    else
        update worker w set idle = v_left > 0 and v_all
        from (
            select id from worker
            where id = any (p_workers) and idle <> (v_left > 0 and v_all)
            order by id
            for update
        ) as changed
        where w.id = changed.id;
    end if;
    if v_after <> p_after then
        return query
            select null::uuid, v_after, null::int, null::int, null::text, null::float8, null::float8, null::float8;
    end if;
    if v_left > 0 then
        return query
            select null::uuid, null::int, null::int, null::int, null::text, null::float8, null::float8,
                   case when v_all then extract(epoch from min(head.run_at) - now())::float8 else 0 end
            from unnest(v_walked.queue, v_walked.head, v_walked.from_place) as w (queue, head, place)
            cross join lateral (
                select d.run_at from due d
                where d.queue_id = w.queue and d.run_at > now()
                order by d.run_at
                limit 1
            ) as head
            where w.head is not null or w.place is not null;
    end if;
end $$;
