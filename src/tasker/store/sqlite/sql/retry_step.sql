-- Enqueue a failed step anew. :task_id text, :no int, :tries int, :now real
update step
set state = 1, run_at = :now, enqueued_at = :now, free_tries = attempt - :tries
where task_id = :task_id and no = :no and state = 5
