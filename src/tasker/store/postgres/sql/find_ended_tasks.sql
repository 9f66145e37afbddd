-- Tasks that have ended or do not exist. :ids uuid[]
select awaited.id::text as id
from unnest(:ids::uuid[]) as awaited (id)
where not exists (select from task t where t.id = awaited.id and t.state = {OPEN})
