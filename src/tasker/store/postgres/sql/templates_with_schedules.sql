-- Namespaces and names of templates that declared schedules. :namespaces text[]
select distinct namespace, template
from schedule
where namespace = any (:namespaces::text[]) and declared_by is not null
