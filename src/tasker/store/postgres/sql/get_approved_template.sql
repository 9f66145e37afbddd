-- The approved template of a name. :namespace text, :name text, :version text
select *
from template
where namespace = :namespace and name = :name and version = :version
  and replaced_at is null and status = 'approved'
