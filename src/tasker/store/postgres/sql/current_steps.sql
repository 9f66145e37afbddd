-- Of each task the step that says most about it: one that failed permanently, else one that waits for a
-- retry, runs, is parked, or is ready; of the steps up to the number :counted. :counted int, :ids uuid[]
select distinct on (s.task_id) s.task_id::text as task_id, s.name, s.state, s.attempt, s.run_at, s.error
from step s
where s.task_id = any (:ids::uuid[]) and s.state in ({ERROR}, {ENQUEUED}, {IN_PROGRESS}, {WAITING}) and s.no <= :counted
order by s.task_id,
         case s.state when {ERROR} then 0 when {IN_PROGRESS} then 2 when {WAITING} then 3 else case when s.error is not null then 1 else 4 end end,
         s.no
