-- Let a step receive its signals again. :task_id text, :no int
update signal set taken_by = null where task_id = :task_id and taken_by = :no
