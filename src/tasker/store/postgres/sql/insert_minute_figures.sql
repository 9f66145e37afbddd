-- Append figures. :rows text (JSON list of objects with the names of the columns)
insert into figure (minute, template_id, created, completed, failed, cancelled, steps, retries, seconds)
select minute, template_id, created, completed, failed, cancelled, steps, retries, seconds
from json_to_recordset(:rows::json) as r (minute int, template_id int, created int, completed int, failed int, cancelled int, steps int, retries int, seconds float8)
