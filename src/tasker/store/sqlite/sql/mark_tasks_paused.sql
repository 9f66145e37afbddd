-- Record whether tasks are paused: whether their steps are out of their queues. :tasks text (JSON list), :now real,
-- :paused int
update task
set paused = :paused, updated_at = max(:now, coalesce(updated_at + 0.000001, 0))
where id in (select value from json_each(:tasks))
