-- Record that a step received a signal. :task_id uuid, :name text, :number bigint, :no int
update signal set taken_by = :no::int where task_id = :task_id::uuid and name = :name and number = :number
