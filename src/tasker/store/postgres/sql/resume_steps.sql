-- Undo pause_steps.sql: put locked steps back into their queues; a `queue_timeout` starts over. The `run_at` of
-- enqueued steps becomes a microsecond later. Otherwise, a concurrent claim that has read rows of `due` from before the
-- pause would match them with the resumed steps. :steps text (JSON list of [task, number])
with entries as (
    update due
    set queue_id = -due.queue_id, run_at = due.run_at + interval '1 us',
        latest_claim = greatest(now(), due.run_at) + e.queue_timeout * interval '1 s'
    from (
        select d.ctid, s.queue_timeout from {include step_rows_by_key}
        cross join lateral (select d.ctid from due d where {include due_row_matches_step entry=d step=s} offset 0) d
    ) e
    where due.ctid = e.ctid
)
update step
set queue_id = -queue_id,
    run_at = case when state = {ENQUEUED} then run_at + interval '1 us' else run_at end,
    enqueued_at = case when state = {ENQUEUED} then now() else enqueued_at end
where ctid = any (array(select s.ctid from {include step_rows_by_key}))
