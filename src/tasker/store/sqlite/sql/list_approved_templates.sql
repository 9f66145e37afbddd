-- Approved templates. :namespace text or null, :name text or null
select *
from template
where replaced_at is null
  and status = 'approved'
  and (:namespace is null or namespace = :namespace)
  and (:name is null or name = :name)
order by namespace, name, id
