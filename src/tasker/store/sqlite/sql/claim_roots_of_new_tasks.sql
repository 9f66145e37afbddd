-- Claim due roots of new tasks for the worker that creates them.
-- :worker int, :claim_up_to int, :now real, :tasks text: see create_tasks.sql
update step
set state = {IN_PROGRESS}, worker = :worker, attempt = attempt + 1, claimed_at = :now
where (task_id, no) in (
    select s.task_id, s.no
    from json_each(:tasks) as g
    join step s on s.task_id = json_extract(g.value, '$[0]')
    where s.state = {ENQUEUED} and {include is_run_at_reached run_at=s.run_at} and {include worker_serves_queue queue=s.queue_id}
    order by g.key, s.no
    limit :claim_up_to
)
returning task_id, no
