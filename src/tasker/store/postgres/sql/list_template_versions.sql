-- Template versions of every status. :namespace text or null, :name text or null
select * from template_version
where (:namespace::text is null or namespace = :namespace)
  and (:name::text is null or name = :name)
order by namespace, name, id
