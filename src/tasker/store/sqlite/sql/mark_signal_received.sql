-- Record that a step received a signal. :task_id text, :name text, :number int, :no int
update signal set taken_by = :no where task_id = :task_id and name = :name and number = :number
