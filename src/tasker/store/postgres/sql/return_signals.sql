-- Let a step receive its signals again. :task_id uuid, :no int
update signal set taken_by = null where task_id = :task_id::uuid and taken_by = :no::int
