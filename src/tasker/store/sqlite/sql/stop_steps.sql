-- End steps of a task, running ones included. :task_id text, :nos text (JSON list), :state int, :now real
update step set state = :state, settled_at = :now, waits_for = null
where task_id = :task_id and no in (select value from json_each(:nos))
