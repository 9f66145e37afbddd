-- The steps from which the result or the failure of a task is computed: its sinks and its failed steps,
-- up to the number :counted.
-- :task_id uuid, :counted int
select s.name, {include instance_path step=s} as instances, s.state, s.result, s.error, s.settled_at, s.children = '{0}' as is_last
from step s
where s.task_id = :task_id::uuid and (s.children = '{0}' or s.state = {ERROR} and {include is_failure_unhandled step=s})
  and s.no <= :counted
order by s.no
