-- All that stands under the name of a template, oldest first.
-- :namespace text, :name text, :version text
select * from template_version
where namespace = :namespace and name = :name and version = :version
order by id
