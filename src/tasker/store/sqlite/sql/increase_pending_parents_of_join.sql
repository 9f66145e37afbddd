-- Make a join wait for :parents more steps. :task_id text, :join_no int, :parents int
update step set pending_parents = pending_parents + :parents
where task_id = :task_id and no = :join_no
