-- All templates with a name, oldest first.
-- :namespace text, :name text, :version text
select * from template_version
where namespace = :namespace and name = :name and version = :version
order by id
