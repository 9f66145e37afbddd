-- Lease up to `p_limit` due steps that are under limits to a worker, from the queues that it serves.
-- The gates of the steps are visited in the order of their keys (outer_gate_id, gate_id), from the
-- one after (`p_after_outer`, `p_after`) on and around; each lets through as many steps as it has
-- room for, those due longest. Gates that another claim has locked are left out. Kinds of rows:
--   a claim;
--   task_id null, the last row: where the next claim begins, after (counted_attempts, no);
--   attempt 1 if gates remain that were not visited; `at` seconds until a step may be let through.
--
-- Two claims never let more steps through a gate than it has room for: the second locks the gate
-- when the first has committed, and counts in a later statement, which sees the steps of the first.
create or replace function claim_limited_steps(p_worker bigint, p_limit int, p_after_outer int, p_after int)
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
    v_last int := 2147483647;                -- greater than all ids
    v_most int := 500;                       -- queues of gates that one claim looks at
    v_walked record;
    v_outer int[] := '{}';                   -- the gates to visit, one element for each of their queues
    v_gate int[] := '{}';
    v_queue int[] := '{}';
    v_full int[] := '{}';                    -- gates with due steps and no room
    v_next timestamptz;                      -- when the first step is due of those that are not yet
    v_cut boolean := false;                  -- whether gates remain that were not looked at
    v_seen int := 0;                         -- queues that were looked at
    v_rooms int := 0;                        -- room of the gates to visit
    v_after_outer int := p_after_outer;
    v_after int := p_after;
    v_locked int[];
    v_room int[];                            -- of the locked gates
    v_taken int[];
    v_at_gate int;
    v_at_outer int;
    v_to int;
    v_found record;
    v_entries tid[] := '{}';                 -- claimed rows of `due`
    v_steps tid[] := '{}';                   -- and of `step`
    v_tasks uuid[] := '{}';
    v_nos int[] := '{}';
    v_left int := p_limit;
    v_now timestamptz;
    v_token_in float8;
begin
    -- Walk the gates that have steps, by index probes: the first entry of each queue of each gate. The
    -- rest of a gate is left out when it has no room, and the rest of an outer gate likewise.
    for v_round in 1 .. 2 loop
        with recursive walk (outer_id, gate_id, queue_id, run_at, usable, room, from_outer, from_gate, from_queue, rooms, seen) as (
            select 0, 0, 0, null::timestamptz, false, 0,
                   case v_round when 1 then p_after_outer else 0 end, case v_round when 1 then p_after else 0 end, v_last,
                   v_rooms, v_seen
            union all
            select n.outer_gate_id, n.gate_id, n.queue_id, n.run_at, n.usable, r.room,
                   n.outer_gate_id,
                   case when n.usable and r.outer_room <= 0 then v_last else n.gate_id end,
                   case when n.usable and r.room <= 0 then v_last else n.queue_id end,
                   w.rooms + case when n.usable then greatest(r.room, 0) else 0 end,
                   w.seen + 1
            from walk w
            cross join lateral (
                select d.outer_gate_id, d.gate_id, d.queue_id,
                       case when {include worker_serves_limited_queue queue=d.queue_id} then d.run_at end as run_at,
                       {include is_run_at_reached run_at=d.run_at} and {include worker_serves_limited_queue queue=d.queue_id} as usable
                from due d
                where d.gate_id is not null
                  and (d.outer_gate_id, d.gate_id, d.queue_id) > (w.from_outer, w.from_gate, w.from_queue)
                order by d.outer_gate_id, d.gate_id, d.queue_id, {include claim_order step=d}
                limit 1
            ) n
            cross join lateral (
                select o.outer_room, case when o.outer_room > 0 then least(o.outer_room, coalesce(case when n.usable then (
                    select {include gate_capacity gate=g} from gate g where g.id = n.gate_id
                ) end, p_limit)) else 0 end as room
                from (
                    select coalesce(case when n.usable and n.outer_gate_id > 0 then (
                        select {include gate_capacity gate=g} from gate g where g.id = n.outer_gate_id
                    ) end, p_limit) as outer_room
                ) o
            ) r
            where (w.rooms < p_limit and w.seen < v_most or (n.outer_gate_id, n.gate_id) = (w.outer_id, w.gate_id))
              and (v_round = 1 or (n.outer_gate_id, n.gate_id) <= (p_after_outer, p_after))
        )
        select array_agg(outer_id) filter (where usable and room > 0) as outer_ids,
               array_agg(gate_id) filter (where usable and room > 0) as gate_ids,
               array_agg(queue_id) filter (where usable and room > 0) as queue_ids,
               array_agg(outer_id) filter (where usable and room <= 0)
                   || array_agg(gate_id) filter (where usable and room <= 0) as full_ids,
               min(run_at) filter (where not usable) as next,
               max(rooms) as rooms, max(seen) as seen,
               (array_agg(from_outer order by seen desc))[1] as outer_id,
               (array_agg(from_gate order by seen desc))[1] as gate_id
        into v_walked
        from walk;
        v_outer := v_outer || coalesce(v_walked.outer_ids, '{}');
        v_gate := v_gate || coalesce(v_walked.gate_ids, '{}');
        v_queue := v_queue || coalesce(v_walked.queue_ids, '{}');
        v_full := v_full || coalesce(v_walked.full_ids, '{}');
        v_next := least(v_next, v_walked.next);
        v_rooms := v_walked.rooms;
        v_seen := v_walked.seen;
        v_cut := v_rooms >= p_limit or v_seen >= v_most;
        if v_cut then
            v_after_outer := v_walked.outer_id;
            v_after := v_walked.gate_id;
        end if;
        exit when v_cut or p_after_outer = 0 and p_after = 0;
    end loop;

    if v_gate <> '{}' then
        v_locked := array(
            select g.id
            from (select distinct id from unnest(v_gate || v_outer) as id where id > 0) m
            cross join lateral (select g.id from gate g where g.id = m.id for no key update skip locked) g
        );
        delete from gate_claim c
        where c.gate_id = any (v_locked) and not exists (
            select from step s
            where s.task_id = c.task_id and s.no = c.no and s.attempt = c.attempt and s.state = {IN_PROGRESS}
        );
        v_now := clock_timestamp();
        -- What is left of a gate's rows is in progress: only claims that have locked the gate add any.
        select array_agg(g.id), array_agg(coalesce(least(
                   case when g.concurrency is not null then
                       g.concurrency - (select count(*) from gate_claim c where c.gate_id = g.id)
                   end,
                   floor({include gate_tokens gate=g}),
                   p_limit
               ), p_limit)::int), array_agg(0)
        into v_locked, v_room, v_taken
        from gate g
        where g.id = any (v_locked);
    end if;

    v_to := 0;
    for v_from in 1 .. cardinality(v_gate) loop
        continue when v_from <= v_to;
        v_to := v_from;                      -- the queues of a gate are elements v_from to v_to
        while v_gate[v_to + 1] = v_gate[v_from] and v_outer[v_to + 1] = v_outer[v_from] loop
            v_to := v_to + 1;
        end loop;
        if v_left <= 0 then
            v_cut := true;
            exit;
        end if;
        v_at_gate := array_position(v_locked, v_gate[v_from]);
        v_at_outer := array_position(v_locked, v_outer[v_from]);
        continue when v_at_gate is null or v_outer[v_from] > 0 and v_at_outer is null;
        continue when least(v_room[v_at_gate], v_room[v_at_outer]) <= 0;
        select array_agg(d.entry) as entries, array_agg(s.ctid) as steps, array_agg(d.task_id) as tasks,
               array_agg(d.no) as nos, count(*)::int as steps_found
        into v_found
        from (
            select e.*
            from unnest(v_queue[v_from:v_to]) as q (id)
            cross join lateral (
                select d.*, d.ctid as entry from due d
                where d.gate_id is not null and d.outer_gate_id = v_outer[v_from] and d.gate_id = v_gate[v_from]
                  and d.queue_id = q.id and {include is_run_at_reached run_at=d.run_at}
                order by {include claim_order step=d}
                limit least(v_left, v_room[v_at_gate], v_room[v_at_outer])
            ) e
            order by e.run_at - (e.queue_id % 5) * interval '1 min', e.task_id, e.no
            limit least(v_left, v_room[v_at_gate], v_room[v_at_outer])
        ) d
        cross join lateral (
            select s.ctid from step s
            where {include due_row_matches_step entry=d step=s}
            for update skip locked
        ) s;
        continue when v_found.steps_found = 0;
        v_after_outer := v_outer[v_from];
        v_after := v_gate[v_from];
        v_entries := v_entries || v_found.entries;
        v_steps := v_steps || v_found.steps;
        v_tasks := v_tasks || v_found.tasks;
        v_nos := v_nos || v_found.nos;
        v_left := v_left - v_found.steps_found;
        v_room[v_at_gate] := v_room[v_at_gate] - v_found.steps_found;
        v_taken[v_at_gate] := v_taken[v_at_gate] + v_found.steps_found;
        if v_at_outer is not null then
            v_room[v_at_outer] := v_room[v_at_outer] - v_found.steps_found;
            v_taken[v_at_outer] := v_taken[v_at_outer] + v_found.steps_found;
        end if;
    end loop;

    if cardinality(v_steps) > 0 then
        return query
            with claimed as (
                delete from due where ctid = any (v_entries)
            ), held as (
                {include record_claims at=v_now tasks=v_tasks nos=v_nos}
            ), started as (
                update step s
                set state = {IN_PROGRESS}, worker = p_worker, attempt = s.attempt + 1, claimed_at = v_now,
                    enqueued_at = greatest(s.enqueued_at, s.run_at)   -- of a retry: when it was due
                from unnest(v_steps) as c (step)
                where s.ctid = c.step
                returning s.*
            ), through as (
                insert into gate_claim (gate_id, task_id, no, attempt)
                select g.id, s.task_id, s.no, s.attempt
                from started s
                cross join lateral (values (s.gate_id), (s.outer_gate_id)) as g (id)
                where g.id > 0
            ), spent as (
                update gate g
                set tokens = {include gate_tokens gate=g} - t.taken, refilled_at = clock_timestamp()
                from unnest(v_locked, v_taken) as t (id, taken)
                where g.id = t.id and t.taken > 0 and g.rate is not null
            )
            select s.task_id, s.no, s.attempt, s.attempt - s.uncounted_attempts, s.checkpoint::text,
                   {include queued_and_parked_seconds step=s},
                   null::float8
            from started s;
    end if;

    if v_left > 0 and not v_cut then
        select extract(epoch from least(v_next, min(d.run_at)) - now())::float8 into at
        from unnest(v_outer, v_gate, v_queue) as w (outer_id, gate_id, queue_id)
        cross join lateral (
            select d.run_at from due d
            where d.gate_id is not null and d.outer_gate_id = w.outer_id and d.gate_id = w.gate_id
              and d.queue_id = w.queue_id and d.run_at > now()
            order by d.run_at
            limit 1
        ) d;
        select min((1 - {include gate_tokens gate=g}) / g.rate) into v_token_in
        from gate g
        where g.id = any (v_gate || v_outer || v_full) and g.rate is not null and {include gate_tokens gate=g} < 1;
        at := least(at, v_token_in);
    end if;
    task_id := null;
    no := v_after;
    counted_attempts := v_after_outer;
    attempt := v_cut::int;
    return next;
end $$;
