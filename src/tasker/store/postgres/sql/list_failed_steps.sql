-- Steps that failed permanently, of the newest tasks that failed or are open, and have not ended well since.
-- :templates int[] or null (all), :since uuid, :limit int (tasks of each kind)
with failed as (
    (
        select id, template_id from task
        where state = {ERROR} and id >= :since::uuid
          and (:templates::int[] is null or template_id = any (:templates))
        order by id desc
        limit :limit::int
    )
    union all
    (
        select id, template_id from task
        where has_failed_step and state = {OPEN} and id >= :since::uuid
          and (:templates::int[] is null or template_id = any (:templates))
        order by id desc
        limit :limit::int
    )
)
select f.id::text as task_id, p.namespace, p.name, p.version, s.no, s.name as step, s.attempt, s.error, s.settled_at
from failed f
join template p on p.id = f.template_id
join step s on s.task_id = f.id and s.state = {ERROR} and s.error is not null
order by s.settled_at desc, f.id desc, s.no
