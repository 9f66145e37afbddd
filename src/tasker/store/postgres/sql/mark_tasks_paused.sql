-- Record whether tasks are paused: whether their steps are out of their queues. :tasks uuid[], :paused boolean
update task
set paused = :paused, updated_at = greatest(clock_timestamp(), updated_at + interval '1 microsecond')
where id = any (:tasks::uuid[])
