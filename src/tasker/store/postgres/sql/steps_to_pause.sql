-- The next steps of tasks that may run and are in their queues, or with not :paused, out of them.
-- None is put back of a task whose failed steps are still being retried. :tasks uuid[], :last_no, :until, :limit int, :paused boolean
select s.task_id::text as task_id, s.no
from unnest(:tasks::uuid[]) as t (id)
cross join lateral (
    select task_id, no from step
    where task_id = t.id and no > :last_no::int and no <= :until::int and state <> {COMPLETE} and (queue_id > 0) = :paused::boolean
    order by no
    limit :limit::int
) s
where :paused::boolean or not exists (select from paged_action g where g.task_id = t.id and g.kind = 'retry')
order by s.task_id, s.no
limit :limit::int
