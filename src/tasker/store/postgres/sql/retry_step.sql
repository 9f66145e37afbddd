-- Enqueue a failed step anew. :task_id uuid, :no int, :tries int
update step
set state = 1, run_at = now(), enqueued_at = now(), free_tries = attempt - :tries::int
where task_id = :task_id::uuid and no = :no and state = 5
