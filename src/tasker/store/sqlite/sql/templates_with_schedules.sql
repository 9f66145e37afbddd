-- Namespaces and names of templates that declared schedules. :namespaces text[]
select distinct namespace, template
from schedule
where namespace in (select value from json_each(:namespaces)) and declared_by is not null
