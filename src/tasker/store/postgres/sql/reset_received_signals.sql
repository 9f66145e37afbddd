-- Let the signals that steps have received be received again. :task_id uuid, :nos int[]
update signal set taken_by = null where task_id = :task_id::uuid and taken_by = any (:nos::int[])
