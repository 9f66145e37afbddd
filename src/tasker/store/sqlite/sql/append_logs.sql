-- Append log records; existing ones are not changed.
-- :records text (JSON list of objects with the names of the columns; at: seconds since 1970)
insert into step_log (task_id, no, attempt, number, at, level, source, message, fields)
select json_extract(value, '$.task_id'), json_extract(value, '$.no'), json_extract(value, '$.attempt'), json_extract(value, '$.number'), json_extract(value, '$.at'), json_extract(value, '$.level'), json_extract(value, '$.source'), json_extract(value, '$.message'), json_extract(value, '$.fields')
from json_each(:records)
where true
on conflict do nothing
