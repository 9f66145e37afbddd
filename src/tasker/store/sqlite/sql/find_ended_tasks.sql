-- Tasks that have ended or do not exist. :ids text (JSON list)
select awaited.value as id
from json_each(:ids) awaited
where not exists (select 1 from task t where t.id = awaited.value and t.state = {OPEN})
