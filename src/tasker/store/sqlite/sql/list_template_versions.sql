-- Template versions of every status. :namespace text or null, :name text or null
select * from template_version
where (:namespace is null or namespace = :namespace)
  and (:name is null or name = :name)
order by namespace, name, id
