-- Enqueue a step whose wait has ended; no row if it no longer waits. :task_id text, :no int, :now real
update step
set state = {ENQUEUED}, run_at = :now, enqueued_at = :now
where task_id = :task_id and no = :no and state = {WAITING} and waits_for is null
returning name, {include instance_path step=step} as instances
