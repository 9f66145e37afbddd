-- The oldest signal with a name that no step of the task has taken. :task_id uuid, :name text
select number, payload::text as payload, sent_by, sent_at
from signal
where task_id = :task_id::uuid and name = :name and taken_by is null
order by number
limit 1
