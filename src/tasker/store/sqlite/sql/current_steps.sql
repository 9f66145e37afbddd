-- Of each task the step that says most about it: one that failed permanently, else one that waits for a
-- retry, runs, is parked, or is ready; of the steps up to the number :counted. :counted int, :ids text (JSON list)
select task_id, name, state, attempt, run_at, error
from (
    select s.task_id, s.name, s.state, s.attempt, s.run_at, s.error, row_number() over (
        partition by s.task_id
        order by case s.state when {ERROR} then 0 when {IN_PROGRESS} then 2 when {WAITING} then 3 else case when s.error is not null then 1 else 4 end end, s.no
    ) as place
    from step s
    where s.task_id in (select value from json_each(:ids)) and s.state in ({ERROR}, {ENQUEUED}, {IN_PROGRESS}, {WAITING}) and s.no <= :counted
)
where place = 1
