-- What the result or the failure of a task is made of: its last steps, and those that failed.
-- :task_id uuid
select s.name, {include instances_of step=s} as instances, s.state, s.result, s.error, s.settled_at, s.children = '{0}' as is_last
from step s
where s.task_id = :task_id::uuid and (s.children = '{0}' or s.state = {ERROR} and {include unhandled step=s})
order by s.no
