-- Append log records; existing ones are not changed.
-- :records text (JSON list of objects with the names of the columns; at: seconds since 1970)
insert into step_log (task_id, no, attempt, number, at, level, source, message, fields)
select task_id, no, attempt, number, to_timestamp(at), level, source, message, fields::json
from json_to_recordset(:records::json) as r (task_id uuid, no int, attempt int, number int, at float8, level smallint, source text, message text, fields text)
on conflict do nothing
