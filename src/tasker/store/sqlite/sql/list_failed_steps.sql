-- Steps that failed permanently, of the newest tasks that failed or are open, and have not ended well since.
-- :templates text (JSON list) or null (all), :since text, :limit int (tasks of each kind)
with failed as (
    select * from (
        select id, template_id from task indexed by task_status
        where state = {ERROR} and id >= :since
          and (:templates is null or template_id in (select value from json_each(:templates)))
        order by id desc
        limit :limit
    )
    union all
    select * from (
        select id, template_id from task indexed by task_has_failed_step
        where has_failed_step = 1 and state = {OPEN} and id >= :since
          and (:templates is null or template_id in (select value from json_each(:templates)))
        order by id desc
        limit :limit
    )
)
select f.id as task_id, p.namespace, p.name, p.version, s.no, s.name as step, s.attempt, s.error, s.settled_at
from failed f
join template p on p.id = f.template_id
join step s on s.task_id = f.id and s.state = {ERROR} and s.error is not null
order by s.settled_at desc, f.id desc, s.no
