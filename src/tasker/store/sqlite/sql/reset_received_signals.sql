-- Let the signals that steps have received be received again. :task_id text, :nos text (JSON list)
update signal set taken_by = null where task_id = :task_id and taken_by in (select value from json_each(:nos))
