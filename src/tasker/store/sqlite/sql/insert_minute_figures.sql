-- Append figures. :rows text (JSON list of objects with the names of the columns)
insert into figure (minute, template_id, created, completed, failed, cancelled, steps, retries, seconds)
select json_extract(value, '$.minute'), json_extract(value, '$.template_id'), json_extract(value, '$.created'), json_extract(value, '$.completed'), json_extract(value, '$.failed'), json_extract(value, '$.cancelled'), json_extract(value, '$.steps'), json_extract(value, '$.retries'), json_extract(value, '$.seconds')
from json_each(:rows)
